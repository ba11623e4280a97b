// main thread · the guards and names that this agent has asked the keeper to keep, and the pods that begin, which the mesh named without
// an address of theirs.
import { setTimeout as sleep } from "node:timers/promises";
import type { Workload } from "../mesh/workload.ts";
import type { DesiredPods } from "./desired-pods.ts";
import { guardsOf, type PlanQuestions, type UnservedPod } from "./enrollment-plan.ts";
import { isRefused, type NodeEnrollmentPorts } from "./enrollment-ports.ts";
import type { NodePods } from "./node-pods.ts";

export type KnownPods = {
  readonly pods: NodePods;
  /** By UID, pods for which the keeper holds something while this agent does not hold them. */
  readonly found: Map<string, UnservedPod>;
};

export type PodGuardsOptions = {
  /** How long a guard rests that the keeper did not answer, ms. */
  readonly retryMs: number;
  readonly closing: AbortSignal;
  /** The keeper has answered so late that nobody waits for it any more. */
  readonly answeredLate: () => void;
};

/** An older keeper does not know the request; another has nothing to release under that index any more. */
const withoutReleaseToGuard: readonly string[] = ["bad-request", "not-prepared"];

export class PodGuards {
  readonly #known: KnownPods;
  readonly #ports: Pick<NodeEnrollmentPorts, "keeper" | "log">;
  readonly #options: PodGuardsOptions;
  /** By UID, the workload under which the present keeper was asked to guard the pod. */
  readonly #guarded = new Map<string, string>();
  /** By UID, the guards that the present keeper has been asked for and has not answered yet. */
  readonly #guarding = new Map<string, { readonly workloadUid: string; readonly done: Promise<void> }>();
  /** By UID, the workload as which the present keeper knows the pod. */
  readonly #named = new Map<string, string>();
  /** UIDs of pods that the mesh named without an address, and that have not been captured since. */
  readonly #beginning = new Set<string>();
  /** Of those, and of pods that were captured since, for which a guard was asked for while they began. */
  readonly #begun = new Set<string>();

  constructor(known: KnownPods, ports: Pick<NodeEnrollmentPorts, "keeper" | "log">, options: PodGuardsOptions) {
    this.#known = known;
    this.#ports = ports;
    this.#options = options;
  }

  /** By UID, the workload under which the present keeper was asked to guard the pod. */
  get guarded(): ReadonlyMap<string, string> {
    return this.#guarded;
  }

  /** By UID, the workload as which the present keeper knows the pod. */
  get named(): ReadonlyMap<string, string> {
    return this.#named;
  }

  get beginning(): ReadonlySet<string> {
    return this.#beginning;
  }

  /** Another keeper has been asked for nothing. */
  keeperCame(): void {
    this.#guarded.clear();
    this.#named.clear();
    this.#guarding.clear();
  }

  noteBeginning(desired: ReadonlyMap<string, Workload>): void {
    for (const { podUid, addresses } of desired.values()) if (addresses.length === 0) this.#beginning.add(podUid);
    for (const podUid of this.#begun) if (!desired.has(podUid)) this.#begun.delete(podUid);
    for (const podUid of this.#beginning) {
      const isCaptured = this.#known.pods.get(podUid)?.state === "captured";
      if (!desired.has(podUid) || isCaptured) this.#beginning.delete(podUid);
    }
  }

  hasBegun(podUid: string): boolean {
    return this.#begun.has(podUid);
  }

  /** Workloads whose pods need a guard that the keeper has not been asked for. */
  missing(
    desired: DesiredPods,
    questions: Pick<PlanQuestions, "failDirect" | "refusesPlaintext">,
  ): readonly Workload[] {
    const present = { held: this.#known.pods.all(), guarded: this.#guarded, beginning: this.#beginning };
    return guardsOf(desired, present, questions);
  }

  /** The answer is shared while it is awaited: the worker may plan what a change of the mesh has asked for already. */
  guard(workload: Workload): Promise<void> {
    const before = this.#guarding.get(workload.podUid);
    return before?.workloadUid === workload.uid ? before.done : this.#awaits(workload, this.#ask(workload));
  }

  /** The keeper releases the pod and guards it: capture, listeners and addresses go, and it refuses from then on. */
  releaseTo(podIdx: number, workload: Workload): Promise<void> {
    this.forget(workload.podUid);
    return this.#awaits(workload, this.#askInstead(podIdx, workload));
  }

  /** The next agent knows the pod by this name, whatever its mesh says of the pod's UID and addresses. */
  async name(podIdx: number, { uid, podUid }: Workload): Promise<void> {
    if (this.#named.get(podUid) === uid) return;
    try {
      await this.#ports.keeper.name({ podIdx, uid: podUid }, uid);
    } catch (error) {
      // A keeper of an earlier release does not know the request.
      if (!isRefused(error)) throw error;
    }
    this.#named.set(podUid, uid);
  }

  /** Before the keeper releases the pod: if the mesh wants it again meanwhile, its guard is asked for anew, and comes after. */
  forget(podUid: string): void {
    this.#guarded.delete(podUid);
    this.#named.delete(podUid);
    this.#guarding.delete(podUid);
  }

  /** The keeper forgets a pod that passes plaintext once its namespace has gone. */
  gone(podUid: string): void {
    if (!this.#guarded.has(podUid)) this.#named.delete(podUid);
  }

  /** The keeper has taken the guard off: it has released the pod, or has captured it as a pod that may go direct. */
  ended(podUid: string): void {
    this.#guarded.delete(podUid);
  }

  #awaits({ uid: workloadUid, podUid }: Workload, asked: Promise<void>): Promise<void> {
    const done = asked.finally(() => {
      if (this.#guarding.get(podUid)?.done === done) this.#guarding.delete(podUid);
    });
    this.#guarding.set(podUid, { workloadUid, done });
    return done;
  }

  async #askInstead(podIdx: number, workload: Workload): Promise<void> {
    const { keeper } = this.#ports;
    const { uid, podUid, addresses } = workload;
    try {
      const guardedIdx = await keeper.releaseToGuard({ podIdx, uid: podUid }, uid);
      this.#known.found.set(podUid, { podIdx: guardedIdx, known: { workloadUid: uid, addresses } });
      this.#guarded.set(podUid, uid);
      this.#named.set(podUid, uid);
    } catch (error) {
      if (!isRefused(error) || !withoutReleaseToGuard.includes(error.reason)) throw error;
      // It serves the guard right behind the release.
      await Promise.all([keeper.release({ podIdx, uid: podUid }), this.#ask(workload)]);
    }
  }

  /** A guard that the keeper refuses is said, and the pod is enrolled all the same if it can be. */
  async #ask(workload: Workload): Promise<void> {
    const { uid, podUid, addresses } = workload;
    const { keeper, log } = this.#ports;
    const { pods, found } = this.#known;
    try {
      const before = found.get(podUid);
      if (this.#beginning.has(podUid)) this.#begun.add(podUid);
      const podIdx = await keeper.guard(podUid, uid);
      // An earlier agent may have captured it under other addresses than the mesh names: by these, too, it is known again.
      const { addresses: captured } =
        before !== undefined ? await keeper.knownOf({ podIdx, uid: podUid }) : { addresses: [] };
      const known = { workloadUid: uid, addresses: [...new Set([...captured, ...addresses])] };
      // A pod that is just leaving, or whose namespace has gone, is guarded under another index.
      const now = found.get(podUid);
      // The keeper may have said meanwhile that the pod has gone, and under which index it guards it since.
      const isOvertaken = now !== undefined && now.podIdx !== before?.podIdx && now.podIdx !== podIdx;
      if (!isOvertaken && pods.get(podUid)?.podIdx !== podIdx) found.set(podUid, { podIdx, known });
      this.#named.set(podUid, uid);
    } catch (error) {
      if (!isRefused(error)) {
        void this.#askAgain(workload);
        throw error;
      }
      log.warn("pod not guarded", { pod: podUid, why: error.message });
    }
    this.#guarded.set(podUid, uid);
  }
  /**
   * A keeper that did not answer in time may have acted all the same, and the pod may leave the mesh before the worker asks again: then nobody
   * would know of the guard. A keeper that has gone is no concern: the next names its guards.
   */
  async #askAgain(workload: Workload): Promise<void> {
    const { retryMs, closing, answeredLate } = this.#options;
    if (!this.#ports.keeper.connected) return;
    await sleep(retryMs, undefined, { ref: false });
    if (closing.aborted || this.#guarded.has(workload.podUid)) return;
    await this.guard(workload).then(answeredLate, () => undefined);
  }
}
