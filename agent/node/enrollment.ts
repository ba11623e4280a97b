// 3 · main thread · brings the pods of this node into service and out of it: a plan of what differs between mesh and node, carried out
// step by step. Of a pod one step after the other, and pods side by side: what is to be done is planned anew after each step of any.
import type { PodState } from "../admin/source.ts";
import type { CapturedPod } from "../engine/keeper-client.ts";
import type { RuntimeName } from "../keeper/protocol.ts";
import type { LocalPod } from "../kernel/pair-verdicts.ts";
import { isStaticPodUid, type Workload } from "../mesh/workload.ts";
import { BegunPods } from "./begun-pods.ts";
import { type DesiredPods, desiredPods, isRivalsPod } from "./desired-pods.ts";
import { DisputedPods } from "./disputed-pods.ts";
import {
  type EnrollmentStep,
  type HeldPod,
  type KnownPod,
  nextSteps,
  type PlanQuestions,
  type PresentPods,
  podOf,
  sameAddresses,
  type UnservedPod,
} from "./enrollment-plan.ts";
import { defaultTimes, type EnrollmentTimes, type NodeEnrollmentPorts } from "./enrollment-ports.ts";
import { podStates } from "./enrollment-states.ts";
import { EnrollmentSteps, isOfAnother } from "./enrollment-steps.ts";
import { FailedPods } from "./failed-pods.ts";
import { NodePods } from "./node-pods.ts";
import { PodGuards } from "./pod-guards.ts";
import { PodService } from "./pod-service.ts";
import { RetainedPods } from "./retained-pods.ts";

export type NodeEnrollmentOptions = {
  readonly node: string;
  readonly times?: Partial<EnrollmentTimes>;
};

/** So many pods are enrolled at the same time. A pod that waits for the keeper takes a place, and no other waits for it. */
const ENROLLED_TOGETHER = 16;

type Work =
  | { readonly state: "idle" }
  | { readonly state: "working"; readonly done: PromiseWithResolvers<void>; readonly telling: NodeJS.Timeout }
  | { readonly state: "closed"; readonly done: PromiseWithResolvers<void> };
type StepUnderWay = { readonly op: EnrollmentStep["op"]; readonly ended: Promise<void> };

export class NodeEnrollment {
  readonly pods: NodePods;
  readonly #node: string;
  readonly #times: EnrollmentTimes;
  readonly #ports: NodeEnrollmentPorts;
  readonly #service: PodService;
  readonly #guards: PodGuards;
  readonly #failed: FailedPods;
  readonly #retained: RetainedPods;
  readonly #disputed: DisputedPods;
  /** By the UID of a static pod, what the container runtime calls it. It stays so: the UID is a hash of the pod's file. */
  readonly #called = new Map<string, RuntimeName>();
  readonly #steps: EnrollmentSteps;
  #work: Work = { state: "idle" };
  #retry: NodeJS.Timeout | undefined;
  /** By the UID of the pod. */
  readonly #underWay = new Map<string, StepUnderWay>();
  /** Counts the calls of `reconcile`. */
  #asked = 0;
  /** The last call before a step began that failed. Until the next call no step begins. */
  #interruptedAt = 0;
  #isTurnDue = false;
  #lastDesired: { readonly version: number; readonly desired: DesiredPods } | undefined;
  /** By UID. */
  readonly #found = new Map<string, UnservedPod>();
  readonly #begun: BegunPods;
  /** False until the mesh was read: until then a pod that it does not name is not released. */
  #meshKnown = false;
  readonly #closing = new AbortController();
  readonly #first = Promise.withResolvers<void>();

  constructor({ node, times: chosen }: NodeEnrollmentOptions, ports: NodeEnrollmentPorts) {
    const times = { ...defaultTimes, ...chosen };
    const pods = new NodePods(ports.mesh);
    const known = { pods, found: this.#found };
    const closing = this.#closing.signal;
    const service = new PodService(pods, ports, { times, closing, lost: (pod) => this.#lost(pod) });
    const answeredLate = (): void => void this.reconcile();
    const guards = new PodGuards(known, ports, { retryMs: times.retry, closing, answeredLate });
    this.#begun = new BegunPods({ ports, retryMs: times.retry, closing, changed: answeredLate });
    const failed = new FailedPods(ports);
    this.pods = pods;
    this.#node = node;
    this.#times = times;
    this.#ports = ports;
    this.#service = service;
    this.#guards = guards;
    this.#failed = failed;
    this.#retained = new RetainedPods(pods, ports.log);
    const disputed = new DisputedPods(ports.log);
    this.#disputed = disputed;
    const isRivals = (pod: Pick<HeldPod, "podUid" | "workloadUid">): boolean => isRivalsPod(this.#desired(), pod);
    const disowned = disputed.disown.bind(disputed);
    const parts = { known, service, guards, failed, times, closing, isRivals, disowned };
    this.#steps = new EnrollmentSteps(parts, ports);
  }

  /**
   * Resolves when the mesh's pods have been brought into service for the first time, as far as the keeper could, and those that were captured
   * before have their certificates, as far as those came in time.
   */
  get firstTurn(): Promise<void> {
    return this.#first.promise.then(() => this.#service.takenOver());
  }

  /** The keeper has welcomed the agent, perhaps again: the listeners that an earlier keeper lent have gone with it. */
  keeperCame(captured: readonly CapturedPod[]): Promise<void> {
    this.#found.clear();
    for (const { uid, podIdx, called } of captured) {
      this.#found.set(uid, { podIdx, known: undefined });
      this.#isCalled(uid, called);
    }
    this.#begun.keeperCame(captured);
    this.#guards.keeperCame();
    this.#disputed.keeperCame();
    for (const pod of this.pods.all()) this.pods.set({ ...pod, state: "orphaned" });
    // The kernel has connections of these pods: what bears on them does not wait until they are served.
    if (this.#meshKnown) this.#ports.podsChanged();
    this.#guardAtOnce();
    return this.reconcile();
  }

  /**
   * The pods whose connections the kernel joins: those that this agent holds, and those that an earlier agent captured and that
   * the mesh still names. A pod that several workloads claim is joined with nobody, unless it is enrolled as its owner's.
   */
  localPods(): readonly LocalPod[] {
    const desired = this.#desired();
    const local = this.pods.local();
    const isOwn = ({ workload: { podUid, uid } }: LocalPod): boolean =>
      !isRivalsPod(desired, { podUid, workloadUid: uid });
    const held = desired.rivalries.size === 0 ? local : local.filter(isOwn);
    if (this.#found.size === 0) return held;
    const found = [...this.#found].flatMap(([podUid, { podIdx }]) => {
      const workload = desired.pods.get(podUid);
      return workload === undefined || this.pods.get(podUid) !== undefined ? [] : [{ podIdx, workload }];
    });
    return [...held, ...found];
  }

  /** The keeper ends what the pod under this index has open and may not have any more. @throws also when no such pod is known (yet) */
  async sever(podIdx: number): Promise<void> {
    const uid = this.pods.at(podIdx)?.podUid ?? [...this.#found].find(([, pod]) => pod.podIdx === podIdx)?.[0];
    if (uid === undefined) throw new Error(`no pod is known under index ${podIdx}`);
    await this.#ports.keeper.sever({ podIdx, uid });
  }

  /** The mesh was read, or has changed. */
  meshChanged(): Promise<void> {
    this.#meshKnown = true;
    // At once: a step may be under way for the pod, and a pod that became STRICT must not stay open meanwhile.
    for (const pod of this.pods.all()) this.#service.setVerdicts(pod);
    this.#guardAtOnce();
    return this.reconcile();
  }

  /**
   * The mesh was read, or has changed: pods that it names by another workload are served as that workload's. At once, so that there
   * is no moment in which they have none.
   */
  followNames(): void {
    const { pods, rivalries } = this.#desired();
    for (const pod of this.pods.all()) {
      const workload = rivalries.has(pod.podUid) ? undefined : pods.get(pod.podUid);
      if (pod.state === "captured" && workload !== undefined && workload.uid !== pod.workloadUid) {
        void this.#service.setWorkload(pod, workload);
      }
    }
  }

  /** Works off the difference between desired and present pods. Resolves when none is left that could be worked off now. */
  reconcile(): Promise<void> {
    this.#failed.wake();
    this.#asked += 1;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.#work.state === "closed") return Promise.resolve();
    if (this.#work.state === "working") {
      this.#turnSoon();
      return this.#work.done.promise;
    }
    const done = Promise.withResolvers<void>();
    const telling = setInterval(() => this.#ports.podsChanged(), this.#times.tell).unref();
    this.#work = { state: "working", done, telling };
    this.#turn();
    return done.promise;
  }

  /** The pod's namespace has gone, and the keeper has released the pod. */
  podGone(podIdx: number, podUid: string): void {
    if (this.#found.get(podUid)?.podIdx === podIdx) this.#found.delete(podUid);
    this.#begun.gone(podUid, podIdx);
    this.#guards.gone(podUid, podIdx);
    const pod = this.pods.get(podUid);
    if (pod?.podIdx !== podIdx) {
      // A keeper that started again may mean a pod that this agent does not know, under the index of a pod that it still holds.
      if (this.pods.at(podIdx) === undefined) this.#ports.tables.removePod(podIdx);
      return;
    }
    this.pods.set({ ...pod, state: "gone" });
    // The mesh may want it still, in a namespace that is there already or comes later.
    void this.#service.end(pod, true).then(() => {
      this.#ports.podsChanged();
      return this.reconcile();
    });
  }

  /** The mesh named the pod without an address first, and this agent has asked for its guard then. */
  hasBegun(podUid: string): boolean {
    return this.#guards.hasBegun(podUid);
  }

  /** The keeper guards the pod under this index: its namespace is there, or is awaited. */
  podGuarded(podIdx: number, podUid: string): void {
    this.#found.set(podUid, { podIdx, known: undefined });
    void this.reconcile();
  }

  /**
   * The CNI plug-in waits for the pod, and the keeper guards it under this index. The agent's own watch may be behind the kubelet's: until
   * it is known what the pod is, it is neither captured nor released.
   */
  podStarting(podIdx: number, podUid: string, called?: RuntimeName): void {
    this.#isCalled(podUid, called);
    this.#begun.begins(podUid, podIdx);
    if (this.pods.get(podUid)?.podIdx !== podIdx) this.#found.set(podUid, { podIdx, known: undefined });
    void this.reconcile();
  }

  states(): readonly PodState[] {
    return podStates({
      desired: this.#desired(),
      held: this.pods.all(),
      failed: this.#failed.notes,
      retained: this.#retained.uids,
    });
  }

  /** Resolves when the steps that are under way have ended. */
  async close(): Promise<void> {
    const work = this.#work;
    if (work.state === "closed") return work.done.promise;
    const done = work.state === "working" ? work.done : Promise.withResolvers<void>();
    if (work.state === "working") clearInterval(work.telling);
    clearTimeout(this.#retry);
    this.#work = { state: "closed", done };
    this.#closing.abort();
    await Promise.all([...this.#underWay.values()].map(({ ended }) => ended));
    done.resolve();
  }

  #lost(pod: HeldPod): void {
    this.#found.set(pod.podUid, { podIdx: pod.podIdx, known: undefined });
    this.pods.set({ ...pod, state: "orphaned" });
    void this.reconcile();
  }

  #isCalled(podUid: string, called: RuntimeName | undefined): void {
    if (called === undefined || !isStaticPodUid(podUid)) return;
    this.#called.set(podUid, called);
    this.#lastDesired = undefined;
  }

  /** It is asked for with each plan, and changes with the mesh alone. */
  #desired(): DesiredPods {
    const { mesh } = this.#ports;
    if (this.#lastDesired?.version !== mesh.version) {
      const desired = desiredPods(mesh.workloadsOnNode(this.#node), this.#node, this.#called);
      this.#lastDesired = { version: mesh.version, desired };
    }
    return this.#lastDesired.desired;
  }

  #turnSoon(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    // The keeper answers for many pods in a turn of the event loop: what comes of that is planned once.
    setImmediate(() => {
      this.#isTurnDue = false;
      this.#turn();
    });
  }

  /** Begins what may begin now. When nothing is left, and nothing is under way, the work is done. */
  #turn(): void {
    if (this.#work.state !== "working") return;
    for (const step of this.#plan()) this.#begin(step);
    const retries = this.#failed.size > 0 || this.#interruptedAt === this.#asked;
    // What failed waits for no step of another pod.
    if (retries) this.#retry ??= setTimeout(() => void this.reconcile(), this.#times.retry).unref();
    if (this.#underWay.size === 0) this.#rest();
  }

  #begin(step: EnrollmentStep): void {
    const podUid = podOf(step);
    const asked = this.#asked;
    const ended = this.#steps.perform(step).then(
      () => undefined,
      (error: unknown) => this.#failedAt(asked, error),
    );
    const left = ended.then(() => {
      this.#underWay.delete(podUid);
      this.#turnSoon();
    });
    this.#underWay.set(podUid, { op: step.op, ended: left });
  }

  /**
   * A failure that concerns no pod alone interrupts the work, as a rule the keeper's going away. It goes on at once when something has
   * changed since the step began, as the keeper's return does, else the retry starts it again.
   */
  #failedAt(asked: number, error: unknown): void {
    if (asked <= this.#interruptedAt) return;
    this.#interruptedAt = asked;
    this.#ports.log.warn("enrollment interrupted", { error });
  }

  #plan(): readonly EnrollmentStep[] {
    const { keeper } = this.#ports;
    if (this.#interruptedAt === this.#asked || !this.#meshKnown || !keeper.connected) return [];
    const desired = this.#desired();
    // Of a pod that may be another's a claimant says nothing: the pod is neither released as outside nor captured.
    const known = [...this.#ports.mesh.workloadsOnNode(this.#node)].filter(
      ({ podUid, uid }) => !isRivalsPod(desired, { podUid, workloadUid: uid }),
    );
    this.#begun.hear(known);
    this.#failed.settle((uid) => this.pods.get(uid), desired.pods);
    this.#guards.noteBeginning(desired.pods);
    this.#noteNamed(desired.pods);
    this.#disputed.note(desired);
    const questions: PlanQuestions = {
      ...this.#guardQuestions(),
      memberLike: (pod) => this.#memberLike(pod),
      isOfAnother: ({ addresses }, workload) => isOfAnother(this.#ports.mesh, addresses, workload),
    };
    const { guarded, named, beginning } = this.#guards;
    const present: PresentPods = {
      held: this.pods.all(),
      found: this.#heard(),
      guarded,
      named,
      beginning,
      ...this.#failed.present(),
      busy: new Set(this.#underWay.keys()),
      disowned: this.#disputed.disowned,
    };
    this.#retained.note(desired, present, questions);
    const steps = nextSteps(desired, present, questions);
    if (steps.length === 0 && this.#underWay.size === 0) {
      this.#ports.podsChanged();
      this.#first.resolve();
    }
    let places = ENROLLED_TOGETHER - [...this.#underWay.values()].filter(({ op }) => op === "enroll").length;
    return steps.filter(({ op }) => op !== "enroll" || places-- > 0);
  }

  #guardQuestions(): Pick<PlanQuestions, "failDirect" | "refusesPlaintext"> {
    const { tables } = this.#ports;
    return {
      failDirect: (workload) => tables.failDirect(workload),
      refusesPlaintext: (workload) => tables.refusesPlaintext(workload),
    };
  }

  /** What is found, without pods of which nobody has said yet what they are. */
  #heard(): ReadonlyMap<string, UnservedPod> {
    if (this.#begun.size === 0) return this.#found;
    return new Map([...this.#found].filter(([uid]) => !this.#begun.has(uid)));
  }

  /** The mesh names by now the addresses that the keeper found. */
  #noteNamed(desired: ReadonlyMap<string, Workload>): void {
    for (const pod of this.pods.all()) {
      const workload = desired.get(pod.podUid);
      if (pod.state !== "captured" || pod.named || workload === undefined || workload.addresses.length === 0) continue;
      if (sameAddresses(pod, workload)) this.pods.set({ ...pod, named: true });
    }
  }

  /** A step may be under way for the pod, and a pod that begins must not stay open meanwhile. */
  #guardAtOnce(): void {
    if (this.#work.state === "closed" || !this.#meshKnown) return;
    const desired = this.#desired();
    this.#guards.noteBeginning(desired.pods);
    if (!this.#ports.keeper.connected) return;
    for (const workload of this.#guards.missing(desired, this.#guardQuestions())) {
      void this.#guards.guard(workload).then(
        // The work may have ended before it could know of this guard.
        () => void (this.#desired().pods.has(workload.podUid) || this.reconcile()),
        // The next turn asks again, and logs the failure.
        () => undefined,
      );
    }
  }

  #memberLike({ workloadUid, addresses }: KnownPod): Workload | undefined {
    const { mesh } = this.#ports;
    const claimants = addresses.flatMap((address) => mesh.workloadAt(address) ?? mesh.rivalsAt(address));
    return [mesh.workload(workloadUid) ?? [], claimants].flat().find((workload) => workload.protocol === "hbone");
  }

  #rest(): void {
    if (this.#work.state !== "working") return;
    const { done, telling } = this.#work;
    clearInterval(telling);
    this.#work = { state: "idle" };
    done.resolve();
  }
}
