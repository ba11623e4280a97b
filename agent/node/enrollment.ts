// 3 · main thread · brings this node's pods into service and out of it: prepare, serve, write verdicts, capture; never in
// another order, so that no moment refuses what is allowed or lets through what is not. One turn at a time.
import { setTimeout as sleep } from "node:timers/promises";
import type { PodState } from "../admin/views.ts";
import type { KeeperClient, PreparedPod } from "../engine/keeper-client.ts";
import type { Certificates } from "../identity/certificates.ts";
import type { LocalPod } from "../kernel/pair-verdicts.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Logger } from "../observe/log.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import { type EnrolledPod, podChanges } from "./local-pods.ts";

export type EnrolmentDependencies = {
  readonly node: string;
  readonly mesh: Snapshot;
  readonly keeper: KeeperClient;
  readonly threads: DataThreads;
  readonly tables: KernelTables;
  readonly certificates: Pick<Certificates, "hold" | "release" | "ready">;
  readonly log: Logger;
  /** Pods came into service or left it, or what is known of them has changed. */
  readonly podsChanged: () => void;
};

type Served = EnrolledPod & { readonly identity: SpiffeId; failDirect: boolean };
/** Left behind by an earlier agent: captured, and nobody serves it. */
type Found = { readonly podIdx: number; readonly uid: string };

/** Capture waits this long for the pod's first certificate; later, connections wait for it themselves. */
const CERTIFICATE_MS = 5_000;
/** After capture is off, what waits at the listeners is accepted and gets its tunnel; on a busy machine that takes a while. */
const LINGER_MS = 500;
/** A pod that the keeper could not find or enter is asked for again. */
const RETRY_MS = 1_000;

export class Enrolment {
  readonly #with: EnrolmentDependencies;
  readonly #served = new Map<string, Served>();
  readonly #failed = new Map<string, { readonly workloadUid: string; readonly note: string }>();
  #found: readonly Found[] = [];
  #lost = false;
  #meshKnown = false;
  #wanted = false;
  #turning: Promise<void> | null = null;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #first = Promise.withResolvers<void>();

  constructor(dependencies: EnrolmentDependencies) {
    this.#with = dependencies;
  }

  /** Resolves when the mesh's pods have been brought into service for the first time, those that could be. */
  get firstTurn(): Promise<void> {
    return this.#first.promise;
  }

  /** The keeper greeted us, again perhaps: listeners of a keeper that died are gone with it. */
  keeperCame(found: readonly Found[]): Promise<void> {
    this.#found = found;
    this.#lost = this.#served.size > 0;
    return this.reconcile();
  }

  /** The mesh was read once: from now on its silence about a pod means that the pod is none of ours. */
  meshCame(): Promise<void> {
    this.#meshKnown = true;
    // At once: a turn may wait for a certificate, and what became STRICT must not stay open meanwhile.
    for (const pod of this.#served.values()) this.#setVerdicts(pod);
    return this.reconcile();
  }

  #setVerdicts(pod: EnrolledPod): void {
    const workload = this.#with.mesh.workload(pod.workloadUid);
    if (workload !== undefined && this.#with.tables.setPod(pod.podIdx, workload)) void this.#endPlaintext(pod);
  }

  /** Plaintext that the kernel let pass, and would not now: the keeper ends it; asked again until it has. */
  async #endPlaintext(pod: EnrolledPod): Promise<void> {
    const { keeper, log } = this.#with;
    while (!this.#closed && this.#served.get(pod.podUid)?.podIdx === pod.podIdx) {
      try {
        return await keeper.sever(pod.podIdx);
      } catch (error) {
        log.warn("plaintext that is no longer allowed could not be ended; trying again", { podIdx: pod.podIdx, error });
        await sleep(RETRY_MS);
      }
    }
  }

  /** Makes what is enrolled equal to what the mesh says, soon. Resolves when no turn is due any more. */
  reconcile(): Promise<void> {
    this.#wanted = true;
    this.#turning ??= this.#turns().finally(() => {
      this.#turning = null;
    });
    return this.#turning;
  }

  podGone(podIdx: number): void {
    for (const [uid, pod] of this.#served) {
      if (pod.podIdx === podIdx)
        void this.#with.threads.removePod(podIdx, true).then(() => {
          this.#forget(uid, pod);
          this.#with.podsChanged();
        });
    }
  }

  podOf(podIdx: number): EnrolledPod | undefined {
    return this.#served.values().find((pod) => pod.podIdx === podIdx);
  }

  /** Captured pods, with their workloads as the mesh says now. */
  localPods(): readonly LocalPod[] {
    return [...this.#served.values()].flatMap(({ podIdx, workloadUid }) => {
      const workload = this.#with.mesh.workload(workloadUid);
      return workload === undefined ? [] : [{ podIdx, workload }];
    });
  }

  states(): readonly PodState[] {
    const served = [...this.#served.values()].map(
      ({ workloadUid, podIdx }): PodState => ({ workloadUid, podIdx, state: "captured", note: "" }),
    );
    const failed = [...this.#failed.values()].map(
      ({ workloadUid, note }): PodState => ({ workloadUid, podIdx: null, state: "failed", note }),
    );
    return [...served, ...failed];
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#turning;
  }

  async #turns(): Promise<void> {
    while (this.#wanted && !this.#closed && this.#meshKnown && this.#with.keeper.connected) {
      this.#wanted = false;
      try {
        await this.#turn();
      } catch (error) {
        // Only the keeper's going away ends a turn; its coming back begins the next.
        this.#with.log.warn("enrolment interrupted", { error });
        this.#later();
        return;
      }
    }
  }

  async #turn(): Promise<void> {
    const { mesh, node, keeper, log } = this.#with;
    if (this.#lost) await this.#leaveLost();
    const { enrol, release, conflicts } = podChanges(mesh.workloadsOnNode(node), node, [...this.#served.values()]);
    this.#failed.clear();
    for (const workload of conflicts) {
      this.#failed.set(workload.podUid + workload.uid, {
        workloadUid: workload.uid,
        note: "another workload has this pod",
      });
    }
    await Promise.all(release.map((pod) => this.#release(pod)));
    const wanted = new Set([...enrol.map(({ podUid }) => podUid), ...this.#served.keys()]);
    for (const { podIdx, uid } of this.#found) if (!wanted.has(uid)) await keeper.release(podIdx);
    this.#found = [];
    for (const workload of enrol) {
      try {
        await this.#enrol(workload);
        log.info("pod captured", { pod: fullName(workload) });
      } catch (error) {
        if (!keeper.connected) throw error;
        const note = error instanceof Error ? error.message : String(error);
        this.#failed.set(workload.podUid, { workloadUid: workload.uid, note });
        log.warn("pod not captured", { pod: fullName(workload), why: note });
        this.#later();
      }
    }
    for (const pod of this.#served.values()) await this.#refresh(pod);
    this.#with.podsChanged();
    this.#first.resolve();
  }

  async #enrol(workload: Workload): Promise<void> {
    const { keeper, threads, tables, certificates } = this.#with;
    const prepared: PreparedPod = await keeper.prepare(workload.podUid, workload.addresses);
    const { podIdx } = prepared;
    certificates.hold(workload.identity);
    const pod: Served = {
      podIdx,
      podUid: workload.podUid,
      workloadUid: workload.uid,
      addresses: workload.addresses,
      identity: workload.identity,
      failDirect: tables.failDirect(workload),
    };
    this.#served.set(pod.podUid, pod);
    try {
      await certificates.ready(workload.identity, AbortSignal.timeout(CERTIFICATE_MS));
      await threads.servePod({
        op: "pod",
        podIdx,
        workloadUid: workload.uid,
        netnsCookie: prepared.netnsCookie,
        preservesSource: prepared.preservesSource,
        listeners: prepared.listeners,
      });
      // As the mesh is by now, not as it was when we began to wait.
      this.#setVerdicts(pod);
      await keeper.capture(podIdx, pod.failDirect);
    } catch (error) {
      await threads.removePod(podIdx, true);
      this.#forget(pod.podUid, pod);
      throw error;
    }
  }

  /** Labels, policies or the service account may have changed under an enrolled pod. */
  async #refresh(pod: Served): Promise<void> {
    const { mesh, tables, keeper, certificates } = this.#with;
    const workload = mesh.workload(pod.workloadUid);
    if (workload === undefined) return;
    this.#setVerdicts(pod);
    const failDirect = tables.failDirect(workload);
    if (failDirect !== pod.failDirect) {
      await keeper.capture(pod.podIdx, failDirect);
      pod.failDirect = failDirect;
    }
    if (workload.identity.text !== pod.identity.text) {
      certificates.hold(workload.identity);
      certificates.release(pod.identity);
      this.#served.set(pod.podUid, { ...pod, identity: workload.identity });
    }
  }

  /** Capture off first; what was captured goes on to its end. */
  async #release(pod: EnrolledPod): Promise<void> {
    const { keeper, threads } = this.#with;
    await keeper.release(pod.podIdx);
    await sleep(LINGER_MS);
    await threads.removePod(pod.podIdx, false);
    const served = this.#served.get(pod.podUid);
    if (served !== undefined) this.#forget(pod.podUid, served);
  }

  /** The new keeper opens its own listeners: ours, of the old one, must make room. Open connections stay. */
  async #leaveLost(): Promise<void> {
    this.#lost = false;
    for (const [uid, pod] of this.#served) {
      await this.#with.threads.removePod(pod.podIdx, false);
      this.#forget(uid, pod);
    }
  }

  #forget(podUid: string, pod: Served): void {
    if (!this.#served.delete(podUid)) return;
    this.#with.tables.removePod(pod.podIdx);
    this.#with.certificates.release(pod.identity);
  }

  #later(): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.reconcile(), RETRY_MS);
    this.#retry.unref();
  }
}
