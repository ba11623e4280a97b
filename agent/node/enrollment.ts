// 3 · main thread · carries out the enrollment plan: prepare, serve, write verdicts, capture; never in another order, so that
// at no moment the kernel refuses what policy allows or lets through what it does not. One worker, which plans anew after
// each step.
import { setTimeout as sleep } from "node:timers/promises";
import type { PodState } from "../admin/source.ts";
import type { CapturedPod, KeeperClient } from "../engine/keeper-client.ts";
import type { KeeperRefused } from "../engine/keeper-session.ts";
import type { Certificates } from "../identity/certificates.ts";
import type { LocalPod } from "../kernel/pair-verdicts.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { type Workload, withAddresses } from "../mesh/workload.ts";
import type { Logger } from "../observe/log.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import {
  desiredPods,
  type EnrollmentStep,
  guardsOf,
  type HeldPod,
  isRetained,
  type KnownPod,
  nextSteps,
  type PlanQuestions,
  type PresentPods,
  sameAddresses,
  type UnservedPod,
} from "./enrollment-plan.ts";
import { podStates } from "./enrollment-states.ts";
import { NodePods } from "./node-pods.ts";

export type NodeEnrollmentPorts = {
  readonly mesh: Pick<Snapshot, "workload" | "workloadAt" | "rivalsAt" | "serviceAt" | "workloadsOnNode">;
  readonly keeper: Pick<
    KeeperClient,
    "connected" | "guard" | "knownOf" | "prepare" | "setAddresses" | "capture" | "release" | "sever"
  >;
  readonly threads: Pick<DataThreads, "servePod" | "removePod">;
  readonly tables: Pick<KernelTables, "setPod" | "removePod" | "failDirect" | "refusesPlaintext">;
  readonly certificates: Pick<Certificates, "hold" | "release" | "ready">;
  readonly log: Logger;
  /** Pods came into service or left it, or something about them has changed. */
  readonly podsChanged: () => void;
};

export type NodeEnrollmentOptions = {
  readonly node: string;
  /** Milliseconds. */
  readonly times?: Partial<typeof defaultTimes>;
};

const defaultTimes = {
  /** Capture waits this long for the pod's first certificate; later, connections wait for it themselves. */
  certificate: 5_000,
  /** After capture is off, the threads accept what waits at the listeners; on a busy machine that takes a while. */
  linger: 500,
  /** After this time the agent asks again for a pod that the keeper could not find or enter. */
  retry: 1_000,
};

type Worker =
  | { readonly state: "idle"; readonly retry: NodeJS.Timeout | undefined }
  /** `asked`: something has changed since the worker last made a plan. */
  | { readonly state: "working"; readonly done: Promise<void>; readonly asked: boolean }
  | { readonly state: "closed" };

export type FailedPod = {
  readonly workloadUid: string;
  readonly note: string;
  readonly resting: boolean;
  /** The pod is there, and another enrolled pod has its address or namespace. */
  readonly contested: boolean;
};

export class NodeEnrollment {
  readonly pods: NodePods;
  readonly #node: string;
  readonly #times: typeof defaultTimes;
  readonly #ports: NodeEnrollmentPorts;
  #worker: Worker = { state: "idle", retry: undefined };
  /** By UID. */
  #found = new Map<string, UnservedPod>();
  /** By UID, the workload under which the present keeper was asked to guard the pod. */
  readonly #guarded = new Map<string, string>();
  /** By UID, the guards that the present keeper has been asked for and has not answered yet. */
  readonly #guarding = new Map<string, { readonly workloadUid: string; readonly done: Promise<void> }>();
  /** UIDs of pods that the mesh named without an address, and that have not been captured since. */
  readonly #beginning = new Set<string>();
  /** Pods that the mesh does not name, but whose workload it has. The log names each once. */
  readonly #retained = new Set<string>();
  readonly #failed = new Map<string, FailedPod>();
  /** False until the mesh was read: until then a pod that it does not name is not released. */
  #meshKnown = false;
  readonly #closing = new AbortController();
  readonly #first = Promise.withResolvers<void>();

  constructor({ node, times }: NodeEnrollmentOptions, ports: NodeEnrollmentPorts) {
    this.#node = node;
    this.#times = { ...defaultTimes, ...times };
    this.#ports = ports;
    this.pods = new NodePods(ports.mesh);
  }

  /** Resolves when the mesh's pods have been brought into service for the first time, as far as the keeper could. */
  get firstTurn(): Promise<void> {
    return this.#first.promise;
  }

  /** The keeper has welcomed the agent, perhaps again: the listeners that an earlier keeper lent have gone with it. */
  keeperCame(captured: readonly CapturedPod[]): Promise<void> {
    this.#found = new Map(captured.map(({ uid, podIdx }) => [uid, { podIdx, known: undefined }]));
    this.#guarded.clear();
    this.#guarding.clear();
    for (const pod of this.pods.all()) this.pods.set({ ...pod, state: "orphaned" });
    // The kernel has connections of these pods: what bears on them does not wait until they are served.
    if (this.#meshKnown) this.#ports.podsChanged();
    this.#guardAtOnce();
    return this.reconcile();
  }

  /**
   * The pods whose connections the kernel joins: those that this agent holds, and those that an earlier agent captured and that
   * the mesh still names.
   */
  localPods(): readonly LocalPod[] {
    const held = this.pods.local();
    if (this.#found.size === 0) return held;
    const desired = this.#desired().pods;
    const found = [...this.#found].flatMap(([podUid, { podIdx }]) => {
      const workload = desired.get(podUid);
      return workload === undefined || this.pods.get(podUid) !== undefined ? [] : [{ podIdx, workload }];
    });
    return [...held, ...found];
  }

  /** The mesh was read, or has changed. */
  meshChanged(): Promise<void> {
    this.#meshKnown = true;
    // At once: the worker may wait for a certificate, and a pod that became STRICT must not stay open meanwhile.
    for (const pod of this.pods.all()) this.#setVerdicts(pod);
    this.#guardAtOnce();
    return this.reconcile();
  }

  /**
   * The mesh was read, or has changed: pods that it names by another workload are served as that workload's. At once, so that there
   * is no moment in which they have none.
   */
  followNames(): void {
    const { pods } = this.#desired();
    for (const pod of this.pods.all()) {
      const workload = pods.get(pod.podUid);
      if (pod.state === "captured" && workload !== undefined && workload.uid !== pod.workloadUid) {
        void this.#setWorkload(pod, workload);
      }
    }
  }

  /** Works off the difference between desired and present pods. Resolves when none is left that could be worked off now. */
  reconcile(): Promise<void> {
    for (const [uid, pod] of this.#failed) this.#failed.set(uid, { ...pod, resting: false });
    if (this.#worker.state === "closed") return Promise.resolve();
    if (this.#worker.state === "working") {
      this.#worker = { ...this.#worker, asked: true };
      return this.#worker.done;
    }
    clearTimeout(this.#worker.retry);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    this.#worker = { state: "working", done, asked: false };
    void this.#work().then(resolve);
    return done;
  }

  /** The pod's namespace has gone, and the keeper has released the pod. */
  podGone(podIdx: number): void {
    for (const [uid, pod] of this.#found) if (pod.podIdx === podIdx) this.#found.delete(uid);
    const pod = this.pods.at(podIdx);
    if (pod === undefined) {
      this.#ports.tables.removePod(podIdx);
      return;
    }
    this.pods.set({ ...pod, state: "gone" });
    // The mesh may want it still, in a namespace that is there already or comes later.
    void this.#unserve(pod, true).then(() => {
      this.#ports.podsChanged();
      return this.reconcile();
    });
  }

  /** The keeper guards the pod under this index: its namespace is there, or is awaited. */
  podGuarded(podIdx: number, podUid: string): void {
    this.#found.set(podUid, { podIdx, known: undefined });
    void this.reconcile();
  }

  states(): readonly PodState[] {
    return podStates({
      desired: this.#desired(),
      held: this.pods.all(),
      failed: this.#failed,
      retained: this.#retained,
    });
  }

  /** Resolves when the step that is under way has ended. */
  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = { state: "closed" };
    this.#closing.abort();
    if (worker.state === "idle") clearTimeout(worker.retry);
    if (worker.state === "working") await worker.done;
  }

  #desired(): ReturnType<typeof desiredPods> {
    return desiredPods(this.#ports.mesh.workloadsOnNode(this.#node), this.#node);
  }

  /**
   * The worker. A failure that concerns no pod alone interrupts it, as a rule the keeper's going away. It goes on at once when
   * something has changed meanwhile, as the keeper's return does, else the retry starts it again.
   */
  async #work(): Promise<void> {
    for (;;) {
      const steps = this.#plan();
      if (steps === "none") return this.#rest(this.#failed.size > 0);
      const ends = await Promise.allSettled(steps.map((step) => this.#perform(step)));
      const failure = ends.find((end) => end.status === "rejected");
      if (failure === undefined) continue;
      this.#ports.log.warn("enrollment interrupted", { error: failure.reason });
      if (this.#worker.state !== "working" || !this.#worker.asked) return this.#rest(true);
    }
  }

  #plan(): readonly EnrollmentStep[] | "none" {
    const { keeper } = this.#ports;
    if (this.#worker.state !== "working" || !this.#meshKnown || !keeper.connected) return "none";
    this.#worker = { ...this.#worker, asked: false };
    const desired = this.#desired();
    for (const uid of this.#failed.keys())
      if (isSettled(this.pods.get(uid), desired.pods.get(uid))) this.#failed.delete(uid);
    this.#noteBeginning(desired.pods);
    this.#noteNamed(desired.pods);
    const questions: PlanQuestions = { ...this.#guardQuestions(), memberLike: (pod) => this.#memberLike(pod) };
    const failed = [...this.#failed];
    const present: PresentPods = {
      held: this.pods.all(),
      found: this.#found,
      guarded: this.#guarded,
      beginning: this.#beginning,
      resting: new Set(failed.flatMap(([uid, pod]) => (pod.resting ? [uid] : []))),
      contested: new Set(failed.flatMap(([uid, pod]) => (pod.contested ? [uid] : []))),
    };
    this.#noteRetained(desired.pods, present, questions);
    const steps = nextSteps(desired, present, questions);
    if (steps.length > 0) return steps;
    this.#ports.podsChanged();
    this.#first.resolve();
    return "none";
  }

  #guardQuestions(): Pick<PlanQuestions, "failDirect" | "refusesPlaintext"> {
    const { tables } = this.#ports;
    return {
      failDirect: (workload) => tables.failDirect(workload),
      refusesPlaintext: (workload) => tables.refusesPlaintext(workload),
    };
  }

  #noteBeginning(desired: ReadonlyMap<string, Workload>): void {
    for (const { podUid, addresses } of desired.values()) if (addresses.length === 0) this.#beginning.add(podUid);
    for (const podUid of this.#beginning) {
      if (!desired.has(podUid) || this.pods.get(podUid)?.state === "captured") this.#beginning.delete(podUid);
    }
  }

  /** The mesh names by now the addresses that the keeper found. */
  #noteNamed(desired: ReadonlyMap<string, Workload>): void {
    for (const pod of this.pods.all()) {
      const workload = desired.get(pod.podUid);
      if (pod.state !== "captured" || pod.named || workload === undefined || workload.addresses.length === 0) continue;
      if (sameAddresses(pod, workload)) this.pods.set({ ...pod, named: true });
    }
  }

  /** The worker may wait for a certificate, and a pod that begins must not stay open meanwhile. */
  #guardAtOnce(): void {
    if (this.#worker.state === "closed" || !this.#meshKnown) return;
    const desired = this.#desired();
    this.#noteBeginning(desired.pods);
    if (!this.#ports.keeper.connected) return;
    const present = { held: this.pods.all(), guarded: this.#guarded, beginning: this.#beginning };
    for (const workload of guardsOf(desired, present, this.#guardQuestions())) {
      void this.#guard(workload).then(
        // The worker may have ended its work before it could know of this guard.
        () => void (this.#desired().pods.has(workload.podUid) || this.reconcile()),
        // The worker asks again, and logs the failure.
        () => undefined,
      );
    }
  }

  #memberLike({ workloadUid, addresses }: KnownPod): Workload | undefined {
    const { mesh } = this.#ports;
    const claimants = addresses.flatMap((address) => mesh.workloadAt(address) ?? mesh.rivalsAt(address));
    return [mesh.workload(workloadUid) ?? [], claimants].flat().find((workload) => workload.protocol === "hbone");
  }

  #noteRetained(desired: ReadonlyMap<string, Workload>, present: PresentPods, questions: PlanQuestions): void {
    for (const pod of this.pods.all()) {
      const { podUid, workloadUid, state } = pod;
      const retained = state === "captured" && !desired.has(podUid) && isRetained(pod, desired, present, questions);
      if (!retained) this.#retained.delete(podUid);
      else if (!this.#retained.has(podUid)) {
        this.#retained.add(podUid);
        this.#ports.log.warn("the mesh has another pod or node for a workload whose pod is here: it stays captured", {
          workload: workloadUid,
          pod: podUid,
        });
      }
    }
    for (const podUid of this.#retained) if (this.pods.get(podUid) === undefined) this.#retained.delete(podUid);
  }

  #rest(retries: boolean): void {
    if (this.#worker.state !== "working") return;
    const retry = retries ? setTimeout(() => void this.reconcile(), this.#times.retry) : undefined;
    retry?.unref();
    this.#worker = { state: "idle", retry };
  }

  async #perform(step: EnrollmentStep): Promise<void> {
    switch (step.op) {
      case "abandon":
        return this.#abandon(step.pod);
      case "release":
        return this.#release(step.pod);
      case "guard":
        return this.#guard(step.workload);
      case "identify-found": {
        const { podUid, podIdx } = step;
        const { workload: workloadUid, addresses } = await this.#ports.keeper.knownOf(podIdx);
        if (this.#found.get(podUid)?.podIdx === podIdx) {
          this.#found.set(podUid, { podIdx, known: { workloadUid, addresses } });
        }
        return;
      }
      case "release-found":
        this.#forgetGuard(step.podUid);
        await this.#ports.keeper.release(step.podIdx);
        this.#guarded.delete(step.podUid);
        this.#found.delete(step.podUid);
        this.#ports.tables.removePod(step.podIdx);
        return;
      case "set-workload":
        return this.#setWorkload(step.pod, step.workload);
      case "set-addresses":
        return this.#trySetAddresses(step.pod, step.workload);
      case "enroll":
        return this.#tryEnroll(step.workload);
      case "set-fail-mode":
        await this.#ports.keeper.capture(step.pod.podIdx, step.failDirect);
        if (step.failDirect) this.#guarded.delete(step.pod.podUid);
        return this.#replace(step.pod, { failDirect: step.failDirect });
      case "set-identity":
        return this.#setIdentity(step.pod, step.identity);
    }
  }

  /** The answer is shared while it is awaited: the worker may plan what `meshChanged` has asked for already. */
  #guard(workload: Workload): Promise<void> {
    const { uid: workloadUid, podUid } = workload;
    const before = this.#guarding.get(podUid);
    if (before?.workloadUid === workloadUid) return before.done;
    const done = this.#askGuard(workload).finally(() => {
      if (this.#guarding.get(podUid)?.done === done) this.#guarding.delete(podUid);
    });
    this.#guarding.set(podUid, { workloadUid, done });
    return done;
  }

  /** A guard that the keeper refuses is said, and the pod is enrolled all the same if it can be. */
  async #askGuard({ uid, podUid, addresses }: Workload): Promise<void> {
    const { keeper, log } = this.#ports;
    try {
      const podIdx = await keeper.guard(podUid, uid);
      // A pod that is just leaving, or whose namespace has gone, is guarded under another index.
      if (this.pods.get(podUid)?.podIdx !== podIdx)
        this.#found.set(podUid, { podIdx, known: { workloadUid: uid, addresses } });
    } catch (error) {
      if (!isRefused(error)) throw error;
      log.warn("pod not guarded", { pod: podUid, why: error.message });
    }
    this.#guarded.set(podUid, uid);
  }

  async #tryEnroll(workload: Workload): Promise<void> {
    const { log } = this.#ports;
    const pod = fullName(workload);
    try {
      const captured = await this.#enroll(workload);
      if (!captured) return;
      this.#failed.delete(workload.podUid);
      log.info("pod captured", { pod });
    } catch (error) {
      this.#failedWith(error, workload, "pod not captured");
    }
  }

  /** Refused: the pod keeps the addresses that the mesh named before, and with them its capture. */
  async #trySetAddresses(pod: HeldPod, workload: Workload): Promise<void> {
    const { keeper, log } = this.#ports;
    const { addresses } = workload;
    try {
      await keeper.setAddresses(pod.podIdx, addresses);
      this.#failed.delete(pod.podUid);
      this.#replace(pod, { addresses, named: true });
      void this.#sweep(pod.podIdx, pod.podUid);
      log.info("pod has other addresses", { pod: fullName(workload), addresses });
    } catch (error) {
      if (pod.named || !isRefused(error) || !addressReasons.includes(error.reason)) {
        return this.#failedWith(error, workload, "pod stays captured with the addresses that it has");
      }
      this.#failedWith(error, workload, "pod not captured: its namespace had other addresses than the mesh names");
      return this.#uncapture(pod, workload);
    }
  }

  /** Logs a failure once while its reason stays the same. @throws the error when the keeper has gone, which is no fault of the pod */
  #failedWith(error: unknown, workload: Workload, message: string): void {
    const { keeper, log } = this.#ports;
    if (!keeper.connected) throw error;
    const note = error instanceof Error ? error.message : String(error);
    const { uid: workloadUid, podUid } = workload;
    const contested = isRefused(error) && contestedReasons.includes(error.reason);
    // A pod that is just beginning has no namespace or no address yet, and the keeper says so.
    const begins = workload.addresses.length === 0 && isRefused(error);
    const say = begins ? log.debug.bind(log) : log.warn.bind(log);
    if (this.#failed.get(podUid)?.note !== note) say(message, { pod: fullName(workload), why: note });
    this.#failed.set(podUid, { workloadUid, note, resting: true, contested });
  }

  /** False: the pod's workload, namespace or keeper went meanwhile, and the next plan decides. */
  async #enroll(workload: Workload): Promise<boolean> {
    const { keeper, threads, tables, certificates } = this.#ports;
    const { podUid, identity } = workload;
    const { podIdx, addresses, netnsCookie, preservesSource, listeners } = await keeper.prepare(
      podUid,
      workload.addresses,
    );
    const before = this.#found.get(podUid)?.podIdx;
    if (before !== undefined && before !== podIdx) tables.removePod(before);
    // Until it is captured: when enrolling fails and the mesh does not name it any more, a later plan releases it.
    this.#found.set(podUid, { podIdx, known: { workloadUid: workload.uid, addresses } });
    const named = workload.addresses.length > 0;
    if (!named && this.#isOfAnother(addresses, workload)) return this.#refuseAddress(podIdx, workload);
    const failDirect = tables.failDirect(withAddresses(workload, addresses));
    const known = { podIdx, podUid, netnsCookie, preservesSource };
    const pod = { ...known, workloadUid: workload.uid, addresses, named, identity, failDirect };
    const preparing: HeldPod = { ...pod, state: "preparing" };
    certificates.hold(identity);
    this.pods.set(preparing);
    // An earlier agent may have captured the pod and left its verdicts: what the mesh forbids by now does not wait for a certificate.
    this.#setVerdicts(preparing);
    try {
      const patience = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#times.certificate)]);
      await certificates.ready(identity, patience);
      // As the mesh is by now.
      if (!named && this.#isOfAnother(addresses, workload)) await this.#refuseAddress(podIdx, workload);
      const message = {
        op: "pod",
        podIdx,
        workloadUid: workload.uid,
        addresses,
        netnsCookie,
        preservesSource,
        listeners,
      } as const;
      await threads.servePod(message);
      // As the mesh is by now, not as it was when the wait began.
      if (this.#setVerdicts(preparing)) {
        await keeper.capture(podIdx, failDirect);
        if (failDirect) this.#guarded.delete(podUid);
        if (this.pods.get(podUid) === preparing) {
          this.#found.delete(podUid);
          this.pods.set({ ...pod, state: "captured" });
          // The pod may have connections from before, under an index that this agent does not know.
          void this.#sweep(podIdx, podUid);
          return true;
        }
      }
    } catch (error) {
      if (this.pods.get(podUid) === preparing) {
        await this.#unserve(preparing, true);
        throw error;
      }
    }
    await this.#unserve(preparing, true);
    return false;
  }

  /** A program with NET_ADMIN chooses the addresses of its namespace: the mesh must not have them for anybody else. */
  #isOfAnother(addresses: readonly string[], { uid }: Workload): boolean {
    const { mesh } = this.#ports;
    return addresses.some(
      (address) =>
        mesh.serviceAt(address) !== undefined ||
        [mesh.workloadAt(address) ?? mesh.rivalsAt(address)].flat().some((workload) => workload.uid !== uid),
    );
  }

  /** The keeper forgets the address, which another pod of this node may need. @throws always */
  async #refuseAddress(podIdx: number, workload: Workload): Promise<never> {
    await this.#releaseToGuard(podIdx, workload);
    this.#ports.tables.removePod(podIdx);
    throw new Error("its namespace has an address of another workload");
  }

  /** The pod was captured under addresses that are not its own: nothing of that stays. */
  async #uncapture(pod: HeldPod, workload: Workload): Promise<void> {
    const leaving: HeldPod = { ...pod, state: "leaving" };
    this.pods.set(leaving);
    try {
      await this.#releaseToGuard(pod.podIdx, workload);
    } catch (error) {
      if (this.pods.get(pod.podUid) === leaving) this.pods.set(pod);
      throw error;
    }
    await this.#unserve(pod, true);
  }

  /** Capture goes; a pod that policy says anything about refuses from then on. The keeper serves one pod's requests in order. */
  async #releaseToGuard(podIdx: number, workload: Workload): Promise<void> {
    const { keeper, tables } = this.#ports;
    const { podUid } = workload;
    this.#forgetGuard(podUid);
    if (this.#found.get(podUid)?.podIdx === podIdx) this.#found.delete(podUid);
    const released = keeper.release(podIdx);
    const guarded = tables.failDirect(workload) ? undefined : this.#guard(workload);
    await Promise.all([released, guarded]);
  }

  /** Capture off first; what was captured goes on to its end. */
  async #release(pod: HeldPod): Promise<void> {
    const { keeper } = this.#ports;
    const leaving: HeldPod = { ...pod, state: "leaving" };
    this.pods.set(leaving);
    this.#forgetGuard(pod.podUid);
    try {
      await keeper.release(pod.podIdx);
    } catch (error) {
      if (this.pods.get(pod.podUid) === leaving) this.pods.set(pod);
      throw error;
    }
    this.#guarded.delete(pod.podUid);
    await sleep(this.#times.linger);
    await this.#unserve(pod, false);
  }

  /** Before the keeper releases the pod: if the mesh wants it again meanwhile, its guard is asked for anew, and comes after. */
  #forgetGuard(podUid: string): void {
    this.#guarded.delete(podUid);
    this.#guarding.delete(podUid);
  }

  /** The mesh names the pod by another workload: its index, listeners, connections and capture stay. */
  async #setWorkload(pod: HeldPod, workload: Workload): Promise<void> {
    const { podIdx, netnsCookie, preservesSource } = pod;
    this.#replace(pod, { workloadUid: workload.uid });
    const now = this.pods.get(pod.podUid);
    if (now !== undefined) this.#setVerdicts(now);
    await this.#ports.threads.servePod({
      op: "pod",
      podIdx,
      workloadUid: workload.uid,
      addresses: pod.addresses,
      netnsCookie,
      preservesSource,
      listeners: [],
    });
  }

  #setIdentity(pod: HeldPod, identity: SpiffeId): void {
    const { certificates } = this.#ports;
    certificates.hold(identity);
    certificates.release(pod.identity);
    this.#replace(pod, { identity });
  }

  /** Unless the pod has gone, or its keeper has, since the step was planned. */
  #replace(pod: HeldPod, change: Partial<HeldPod>): void {
    if (this.pods.get(pod.podUid) === pod) this.pods.set({ ...pod, ...change });
  }

  /** The kernel's verdicts on the pod stay: it is captured, and will be served again. */
  async #abandon(pod: HeldPod): Promise<void> {
    await this.#ports.threads.removePod(pod.podIdx, false);
    this.#forget(pod);
  }

  /** No thread serves the pod any more, with `cut` its connections end, and the agent holds nothing for it. */
  async #unserve(pod: HeldPod, cut: boolean): Promise<void> {
    await this.#ports.threads.removePod(pod.podIdx, cut);
    if (this.#forget(pod) || this.pods.at(pod.podIdx) === undefined) this.#ports.tables.removePod(pod.podIdx);
  }

  /** False: another call for the same pod was first. */
  #forget({ podUid, podIdx }: HeldPod): boolean {
    const pod = this.pods.get(podUid);
    if (pod?.podIdx !== podIdx) return false;
    this.pods.delete(podUid);
    this.#ports.certificates.release(pod.identity);
    return true;
  }

  /** False: the mesh does not know the pod's workload any more. */
  #setVerdicts({ podIdx, podUid, workloadUid, addresses }: HeldPod): boolean {
    const { mesh, tables } = this.#ports;
    const workload = mesh.workload(workloadUid);
    if (workload === undefined) return false;
    if (tables.setPod(podIdx, withAddresses(workload, addresses))) void this.#sweep(podIdx, podUid);
    return true;
  }

  /** The kernel may have let pass what it would refuse now: the agent asks the keeper to end that, until the keeper has. */
  async #sweep(podIdx: number, podUid: string): Promise<void> {
    const { keeper, log } = this.#ports;
    while (this.#worker.state !== "closed" && this.pods.get(podUid)?.podIdx === podIdx) {
      try {
        return await keeper.sever(podIdx);
      } catch (error) {
        log.warn("plaintext that is no longer allowed could not be ended; trying again", { podIdx, error });
        await sleep(this.#times.retry);
      }
    }
  }
}

const addressReasons: readonly string[] = ["address-mismatch", "address-taken"];
const contestedReasons: readonly string[] = ["address-taken", "namespace-shared"];

/** Whether the keeper refused the request. Compared by name, because this file imports only types of `agent/engine`. */
function isRefused(error: unknown): error is KeeperRefused {
  return error instanceof Error && error.name === "KeeperRefused";
}

/** Whether a failure is over: the mesh does not want the pod any more, or the pod is as the mesh wants it. */
function isSettled(pod: HeldPod | undefined, workload: Workload | undefined): boolean {
  return workload === undefined || (pod?.state === "captured" && sameAddresses(pod, workload));
}
