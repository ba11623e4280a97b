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

/** A guard that the present keeper was asked for and has not answered yet. */
type AskedGuard = {
  readonly workloadUid: string;
  /** What was asked later decides whether the pod is guarded, and under which name. */
  isOvertaken: boolean;
  /** Indices under which the keeper has the pod no more by now. Its answer may name such an index: it answers once its disk has the guard. */
  readonly left: Set<number>;
  done: Promise<void>;
};

/** An older keeper does not know the request; another has nothing to release under that index any more. */
const withoutReleaseToGuard: readonly string[] = ["bad-request", "not-prepared"];

export class PodGuards {
  readonly #known: KnownPods;
  readonly #ports: Pick<NodeEnrollmentPorts, "keeper" | "log">;
  readonly #options: PodGuardsOptions;
  /** By UID, the workload under which the present keeper was asked to guard the pod. */
  readonly #guarded = new Map<string, string>();
  /** By UID, in the order in which they were asked for. */
  readonly #asked = new Map<string, Set<AskedGuard>>();
  /** By UID, the workload as which the present keeper knows the pod. */
  readonly #named = new Map<string, string>();
  /** By UID, the last request by which the present keeper is to learn a name, while it has not answered. */
  readonly #naming = new Map<string, object>();
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
    this.#naming.clear();
    this.#asked.clear();
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
    const { uid, podUid } = workload;
    const before = [...(this.#asked.get(podUid) ?? [])].find(({ isOvertaken }) => !isOvertaken);
    return before?.workloadUid === uid ? before.done : this.#awaits(workload, (asked) => this.#ask(workload, asked));
  }

  /** The keeper releases the pod and guards it: capture, listeners and addresses go, and it refuses from then on. */
  releaseTo(podIdx: number, workload: Workload): Promise<void> {
    this.forget(workload.podUid, podIdx);
    return this.#awaits(workload, (asked) => this.#askInstead(podIdx, workload, asked));
  }

  /** The next agent knows the pod by this name, whatever its mesh says of the pod's UID and addresses. */
  async name(podIdx: number, { uid, podUid }: Workload): Promise<void> {
    if (this.#named.get(podUid) === uid) return;
    const naming = {};
    this.#naming.set(podUid, naming);
    try {
      await this.#ports.keeper.name({ podIdx, uid: podUid }, uid);
    } catch (error) {
      // A keeper of an earlier release does not know the request.
      if (!isRefused(error)) throw error;
    }
    this.#hasName(podUid, uid, naming);
  }

  /**
   * Before the keeper releases the pod under this index: if the mesh wants it again meanwhile, its guard is asked for anew, and comes after.
   * What was asked before the release is answered later, perhaps, and says nothing about the pod any more.
   */
  forget(podUid: string, podIdx: number): void {
    this.#guarded.delete(podUid);
    this.#unname(podUid);
    for (const asked of this.#asked.get(podUid) ?? []) asked.isOvertaken = true;
    this.left(podUid, podIdx);
  }

  /** The keeper has said that the pod under this index has gone. It keeps the name of a pod that it guards in another namespace. */
  gone(podUid: string, podIdx: number): void {
    this.#unname(podUid);
    this.left(podUid, podIdx);
  }

  /** The keeper has the pod no more under this index. */
  left(podUid: string, podIdx: number): void {
    for (const { left } of this.#asked.get(podUid) ?? []) left.add(podIdx);
  }

  /** The keeper has taken the guard off: it has released the pod, or has captured it as a pod that may go direct. */
  ended(podUid: string): void {
    this.#guarded.delete(podUid);
  }

  #hasName(podUid: string, workloadUid: string, naming: object): void {
    if (this.#naming.get(podUid) !== naming) return;
    this.#naming.delete(podUid);
    this.#named.set(podUid, workloadUid);
  }

  #unname(podUid: string): void {
    this.#named.delete(podUid);
    this.#naming.delete(podUid);
  }

  #awaits({ uid: workloadUid, podUid }: Workload, ask: (asked: AskedGuard) => Promise<void>): Promise<void> {
    const others = this.#asked.get(podUid) ?? new Set();
    for (const other of others) other.isOvertaken = true;
    const asked: AskedGuard = { workloadUid, isOvertaken: false, left: new Set(), done: Promise.resolve() };
    this.#asked.set(podUid, others.add(asked));
    this.#naming.set(podUid, asked);
    asked.done = ask(asked).finally(() => {
      others.delete(asked);
      if (others.size === 0 && this.#asked.get(podUid) === others) this.#asked.delete(podUid);
    });
    return asked.done;
  }

  async #askInstead(podIdx: number, workload: Workload, asked: AskedGuard): Promise<void> {
    const { keeper } = this.#ports;
    const { uid, podUid, addresses } = workload;
    try {
      const guardedIdx = await keeper.releaseToGuard({ podIdx, uid: podUid }, uid);
      const isFound = !asked.left.has(guardedIdx);
      this.#answered(workload, asked, { podIdx: guardedIdx, known: { workloadUid: uid, addresses } }, isFound);
    } catch (error) {
      if (!isRefused(error) || !withoutReleaseToGuard.includes(error.reason)) throw error;
      // This release takes off what was asked for meanwhile, too. The keeper serves the guard right behind it.
      this.forget(podUid, podIdx);
      await Promise.all([keeper.release({ podIdx, uid: podUid }), this.guard(workload)]);
    }
  }

  /** A guard that the keeper refuses is said, and the pod is enrolled all the same if it can be. */
  async #ask(workload: Workload, asked: AskedGuard): Promise<void> {
    const { uid, podUid, addresses } = workload;
    const { keeper, log } = this.#ports;
    const { pods, found } = this.#known;
    try {
      const before = found.get(podUid);
      if (this.#beginning.has(podUid)) this.#begun.add(podUid);
      const podIdx = await keeper.guard(podUid, uid);
      const known = { workloadUid: uid, addresses };
      const guarded: UnservedPod = { podIdx, known: before === undefined ? known : undefined };
      // A pod that is just leaving, or whose namespace has gone, is guarded under another index.
      const now = found.get(podUid)?.podIdx;
      // The keeper may have said meanwhile under which index it guards the pod since.
      const isElsewhere = now !== undefined && now !== before?.podIdx && now !== podIdx;
      const isHeld = pods.get(podUid)?.podIdx === podIdx;
      this.#answered(workload, asked, guarded, !isElsewhere && !isHeld && !asked.left.has(podIdx));
      if (before === undefined) return;
      // An earlier agent may have captured it under other addresses than the mesh names: by these, too, it is known again.
      const { addresses: captured } = await keeper.knownOf({ podIdx, uid: podUid });
      if (found.get(podUid) !== guarded) return;
      found.set(podUid, { podIdx, known: { ...known, addresses: [...new Set([...captured, ...addresses])] } });
    } catch (error) {
      if (!isRefused(error)) {
        void this.#askAgain(workload);
        throw error;
      }
      log.warn("pod not guarded", { pod: podUid, why: error.message });
      if (this.#isCurrent(podUid, asked)) this.#guarded.set(podUid, uid);
    }
  }

  /** Nothing is awaited between the keeper's answer and this: what is known of a pod follows the order of the keeper's answers. */
  #answered({ uid, podUid }: Workload, asked: AskedGuard, guarded: UnservedPod, isFound: boolean): void {
    // A keeper that has gone meanwhile guards nothing.
    if (this.#asked.get(podUid)?.has(asked) !== true) return;
    if (isFound) this.#known.found.set(podUid, guarded);
    this.#hasName(podUid, uid, asked);
    if (!asked.isOvertaken) this.#guarded.set(podUid, uid);
  }

  #isCurrent(podUid: string, asked: AskedGuard): boolean {
    return !asked.isOvertaken && this.#asked.get(podUid)?.has(asked) === true;
  }

  /**
   * A keeper that did not answer in time may have acted all the same, and the pod may leave the mesh before the worker asks again: then nobody
   * would know of the guard. A keeper that has gone is no concern: the next names its guards.
   */
  async #askAgain(workload: Workload): Promise<void> {
    const { retryMs, closing, answeredLate } = this.#options;
    if (!this.#ports.keeper.connected) return;
    await sleep(retryMs, undefined, { ref: false });
    if (closing.aborted || this.#guarded.has(workload.podUid) || this.#asked.has(workload.podUid)) return;
    await this.guard(workload).then(answeredLate, () => undefined);
  }
}
