// keeper · which pods are enrolled, and how far: guarded → prepared → captured, and back without a trace. One turn at a time per
// pod; whatever fails half way is withdrawn, but never a guard. Knows kernel and namespaces by two interfaces.
import { type BegunPod, PodBeginnings } from "./beginnings.ts";
import { PodDepartures } from "./departures.ts";
import {
  addressTaken,
  type CookieOf,
  type Enrollment,
  type EnrollmentRefusal,
  isOpen,
  isRefusal,
  isUnserved,
  type OpenEnrollment,
  type OpenNamespace,
  type PodNamespace,
  type PodRow,
  type PodRows,
  refusal,
  type Unserved,
} from "./enrollment-states.ts";
import { NamespaceGuards } from "./guards.ts";
import type { LastIndex } from "./last-index.ts";
import type { PendingPods } from "./pending.ts";
import { PodTable } from "./pod-table.ts";
import { type FoundPod, findPod } from "./pods.ts";
import { type EnrollmentTree, PodPresence } from "./presence.ts";
import type { ProtectedPods } from "./protected-pods.ts";
import type { PodRef, PresentPod, RuntimeName, SocketKind } from "./protocol.ts";
import { capturedUnder, ownAddresses, Readdressing } from "./readdressing.ts";
import { MAX_PODS } from "./requests.ts";
import { PodSweep, type Swept } from "./sweep.ts";
import { PodTurns } from "./turns.ts";

export type EnrollmentOptions = {
  readonly tree: EnrollmentTree;
  readonly openNamespace: OpenNamespace;
  readonly cookieOf: CookieOf;
  readonly rows: PodRows;
  /** Pods whose namespace is guarded whenever it is there. */
  readonly protectedPods: ProtectedPods;
  readonly lastIndex: LastIndex;
  readonly pending: PendingPods;
};

/** So many pods begin together without waiting for what is made ready; it is made again while they are captured. */
const FORESEEN = 32;

export class PodEnrollments {
  readonly #options: EnrollmentOptions;
  readonly #table: PodTable;
  readonly #turns = new PodTurns();
  readonly #presence: PodPresence;
  readonly #departures: PodDepartures;
  readonly #guards: NamespaceGuards;
  readonly #readdressing: Readdressing;
  readonly #beginnings: PodBeginnings;
  readonly #sweep: PodSweep;

  /**
   * Takes over what an earlier keeper left; what has gone meanwhile goes with the first `sweep`, which also guards what an
   * earlier keeper protected, before a reboot for instance.
   */
  constructor(options: EnrollmentOptions) {
    this.#options = options;
    const { rows, protectedPods, lastIndex } = options;
    const table = new PodTable(lastIndex, (podIdxs) => rows.clear(podIdxs));
    this.#table = table;
    const presence = new PodPresence({ ...options, table });
    const departures = new PodDepartures(rows, table);
    const guards = new NamespaceGuards({ ...options, table, presence, departures });
    const readdressing = new Readdressing(rows, table, protectedPods);
    const parts = { ...options, table, turns: this.#turns, presence, departures, guards, readdressing };
    this.#presence = presence;
    this.#departures = departures;
    this.#guards = guards;
    this.#readdressing = readdressing;
    const sweep = new PodSweep(parts);
    this.#sweep = sweep;
    this.#beginnings = new PodBeginnings({ ...parts, moved: (uid) => sweep.moved(uid) });
    for (const { row, failDirect } of rows.adopted()) {
      table.adopt({ state: "adopted", row });
      if (!failDirect) protectedPods.add(row.uid, capturedUnder(row));
    }
    for (const uid of protectedPods.all()) if (table.byUid(uid) === undefined) table.await(uid);
    this.#foresee();
  }

  all(): readonly Enrollment[] {
    return this.#table.all();
  }

  /** What agents hear of each. */
  present(): readonly PresentPod[] {
    return this.all().map((found) => {
      const { podIdx, uid } = found.row;
      const starts = found.state !== "awaited" && found.pod !== undefined && found.pod.process === undefined;
      const called = this.#options.tree.unborn.calledOf(uid);
      return { podIdx, uid, ...(starts && { starting: true }), ...(called && { called }) };
    });
  }

  get(podIdx: number): Enrollment | undefined {
    return this.#table.get(podIdx);
  }

  /** An agent wants the pod to refuse everything whenever it is there and not captured. */
  isAskedFor(uid: string): boolean {
    return this.#options.protectedPods.has(uid);
  }

  /**
   * From here on the pod is guarded whenever its namespace is there and nothing else protects it; until it is released, or
   * captured as a pod that may go direct. Idempotent.
   * @param workload what the agent calls the pod; it is kept for the agent, and means nothing here
   */
  guard(uid: string, workload: string): Promise<PodRow | EnrollmentRefusal> {
    const { rows, protectedPods } = this.#options;
    const guarded = this.#turns.of(uid, async () => {
      const known = this.#table.byUid(uid) ?? this.#table.await(uid);
      if (known === undefined) return refusal("limit", `${MAX_PODS} pods are enrolled`);
      protectedPods.add(uid, { workload });
      if (known.state === "prepared" && !known.isGuarded) {
        rows.guard(known.row, known.pod.netnsFd);
        this.#table.set({ ...known, isGuarded: true });
      }
      return known.state === "awaited" ? (await this.#guardFound(known)).row : known.row;
    });
    return this.#onceKept(guarded);
  }

  /**
   * A pod's network namespace was made, and no process is in it yet. From here on the pod refuses everything, until an agent captures
   * it or releases it, or `end` says that the namespace goes. `container`: its sandbox. Owns the descriptor. Idempotent.
   */
  async begin(uid: string, container: string, netnsFd: number, called?: RuntimeName): Promise<BegunPod> {
    const begun = await this.#beginnings.begin(uid, container, netnsFd, called);
    this.#foresee();
    return begun;
  }

  /**
   * The namespace of that sandbox goes, and no process was found in it. The row that is free now, if the pod is not protected. Another
   * sandbox of the pod stays as it is.
   */
  end(uid: string, container: string): Promise<PodRow | undefined> {
    return this.#beginnings.end(uid, container);
  }

  /**
   * Idempotent: an enrolled pod that has not changed is returned as it is, another set of addresses is changed in place.
   * @param named none when nobody has named the pod's addresses yet: then they are its namespace's
   */
  prepare(uid: string, named: readonly string[]): Promise<OpenEnrollment | EnrollmentRefusal> {
    return this.#turns.of(uid, async () => {
      const known = this.#table.byUid(uid);
      if (known !== undefined && isOpen(known)) {
        if (await this.#presence.isStillThere(known))
          return named.length === 0 ? known : this.#readdressing.readdress(known, named);
        await this.#departures.release(known, "never");
        if (this.#options.protectedPods.has(uid) && this.#table.await(uid) !== undefined) this.#sweep.moved(uid);
      }
      // First of all, since what follows may be refused.
      const waiting = this.#table.byUid(uid);
      if (waiting !== undefined && isUnserved(waiting)) await this.#guardFound(waiting);
      const pod = findPod(this.#options.tree, uid);
      if (isRefusal(pod)) return pod;
      // The namespace owns the descriptor.
      const namespace = await this.#options.openNamespace(pod.netnsFd, named);
      if (isRefusal(namespace)) return namespace;
      try {
        const addresses = named.length > 0 ? named : ownAddresses(namespace);
        if (addresses === undefined) {
          await namespace.close({ restore: "refused" });
          return refusal("address-mismatch", `pod ${uid} has no address yet, or several of a family`);
        }
        const spread = await namespace.routeToListener(addresses);
        const enrolled = this.#enter(pod, namespace, { addresses, spread });
        if (isRefusal(enrolled)) await namespace.close({ restore: "refused" });
        return enrolled;
      } catch (error) {
        await namespace.close({ restore: "refused" });
        throw error;
      }
    });
  }

  /** @param inForce called once the kernel captures the pod: before that is on the disk, too */
  capture(
    asked: PodRef,
    failDirect: boolean,
    inForce = (_captured: OpenEnrollment): void => {},
  ): Promise<OpenEnrollment | EnrollmentRefusal> {
    const { rows, protectedPods } = this.#options;
    const capturing = this.#forOpen(asked, async (found) => {
      const { row, pod, namespace } = found;
      if (!failDirect) protectedPods.add(row.uid, capturedUnder(row));
      if (found.state === "prepared") {
        try {
          rows.admit(row, namespace.listeners, pod.netnsFd);
          rows.capture(row, failDirect);
        } catch (error) {
          const isGuarded = found.isGuarded || protectedPods.has(row.uid);
          if (isGuarded) rows.guard(row, pod.netnsFd);
          else rows.withdraw(row);
          this.#table.set({ ...found, isGuarded });
          throw error;
        }
      } else if (found.failDirect !== failDirect) rows.capture(row, failDirect);
      this.#options.pending.lift(row.uid);
      if (failDirect) protectedPods.open(row.uid);
      const captured: OpenEnrollment = { state: "captured", row, pod, namespace, failDirect };
      this.#table.set(captured);
      inForce(captured);
      return captured;
    });
    return this.#onceKept(capturing);
  }

  /** In place: neither capture nor listeners go meanwhile. */
  setAddresses(pod: PodRef, addresses: readonly string[]): Promise<OpenEnrollment | EnrollmentRefusal> {
    return this.#onceKept(this.#forOpen(pod, (found) => this.#readdressing.readdress(found, addresses)));
  }

  /**
   * What an agent calls the pod; it is kept for the next agent, by which that agent knows the pod however wrong its mesh is about the
   * pod's UID and addresses. Undefined: done.
   */
  name(pod: PodRef, workload: string): Promise<EnrollmentRefusal | undefined> {
    const { podIdx, uid } = pod;
    const named = this.#turns.of(uid, async () => {
      if (this.#table.of(pod) === undefined)
        return refusal("not-prepared", `pod ${uid} is not known under index ${podIdx}`);
      this.#options.protectedPods.name(uid, workload);
      return undefined;
    });
    return this.#onceKept(named);
  }

  /** What an agent called the pod, and the addresses under which it is captured, or was before its sandbox; empty: not known. */
  knownOf(pod: PodRef): { readonly workload: string; readonly addresses: readonly string[] } {
    const row = this.#table.of(pod)?.row;
    if (row === undefined) return { workload: "", addresses: [] };
    const { workload, addresses } = this.#options.protectedPods.of(row.uid);
    return { workload, addresses: row.addresses.length > 0 ? row.addresses : addresses };
  }

  /** False: there was nothing to do. */
  release(
    pod: PodRef,
    options: { readonly restore: "now" | "once-left" } = { restore: "once-left" },
  ): Promise<boolean> {
    const released = this.#turns.of(pod.uid, async () => {
      const found = this.#table.of(pod);
      if (found === undefined) return false;
      await this.#departures.release(found, options.restore);
      this.#options.protectedPods.delete(pod.uid);
      this.#options.pending.lift(pod.uid);
      return true;
    });
    return this.#onceKept(released);
  }

  /**
   * Capture and listeners go, and the pod refuses everything as after `guard`, with no moment in between. What was known of it, its
   * addresses too, is forgotten. The index is another when the namespace has gone.
   */
  releaseToGuard(pod: PodRef, workload: string): Promise<PodRow | EnrollmentRefusal> {
    const { protectedPods } = this.#options;
    const { podIdx, uid } = pod;
    const guarded = this.#turns.of(uid, async () => {
      const found = this.#table.of(pod);
      if (found === undefined) return refusal("not-prepared", `pod ${uid} is not known under index ${podIdx}`);
      protectedPods.delete(uid);
      protectedPods.add(uid, { workload });
      if (isUnserved(found)) return (await this.#guards.guard(found)).row;
      const inPlace = await this.#guards.guardInPlace(found);
      if (inPlace !== undefined) return inPlace.row;
      await this.#departures.release(found, "never");
      const awaited = this.#table.await(uid);
      return awaited === undefined
        ? refusal("limit", `${MAX_PODS} pods are enrolled`)
        : (await this.#guards.guard(awaited)).row;
    });
    return this.#onceKept(guarded);
  }

  async makeSockets(pod: PodRef, kind: SocketKind, count: number): Promise<number[] | EnrollmentRefusal> {
    // Connections that had come before the release still dial, also when the pod has come back meanwhile under another index.
    const left = this.#table.of(pod) === undefined ? this.#departures.left(pod) : [];
    for (const namespace of left) {
      const made = await namespace.makeSockets(kind, count);
      if (made.length > 0) return made;
    }
    return this.#forOpen(pod, ({ namespace }) => namespace.makeSockets(kind, count));
  }

  sever(pod: PodRef): Promise<number | EnrollmentRefusal> {
    const state = this.#table.of(pod)?.state;
    // Nobody has said yet what may stay of a pod that is not captured; after its capture the agent asks.
    if (state === "awaited" || state === "guarded") return Promise.resolve(0);
    return this.#forOpen(pod, async ({ state, namespace }) => (state === "captured" ? namespace.sever(pod.podIdx) : 0));
  }

  /** A cgroup was made, or a process has come or gone. */
  expect(): void {
    this.#sweep.expect();
  }

  /** Releases every pod that has gone, and guards what must be guarded. Called by a timer. */
  async sweep(): Promise<Swept> {
    const swept = await this.#sweep.sweep();
    this.#options.protectedPods.forgetOpen(
      (uid) => this.#table.byUid(uid) !== undefined || this.#turns.isUnderWay(uid),
    );
    this.#foresee();
    return swept;
  }

  /** Nothing of any pod remains in the kernel. For a keeper that is removed; a keeper that is replaced just ends. */
  async releaseAll(): Promise<void> {
    await this.#turns.ended();
    for (const { row } of this.all()) await this.release(row, { restore: "now" });
    for (const uid of this.#options.protectedPods.all()) this.#options.protectedPods.delete(uid);
    this.#options.pending.liftAll();
    await this.close();
  }

  /** Lets go of every namespace and listener; what is captured stays captured, for agents and the next keeper. */
  async close(): Promise<void> {
    await this.#turns.ended();
    await this.#options.protectedPods.kept();
    this.#departures.close();
    for (const enrollment of this.all()) {
      if (isOpen(enrollment)) await enrollment.namespace.close({ restore: "never" });
    }
    this.#options.rows.close();
    this.#options.tree.unborn.close();
    this.#table.clear();
  }

  /** An agent asks about the pod, whose guard is put where the pod is by now. */
  async #guardFound(waiting: Unserved): Promise<Unserved> {
    const now = await this.#guards.guard(waiting);
    if (waiting.state === "awaited" && now.state === "guarded") this.#sweep.foundBy(now);
    return now;
  }

  /** Pods whose namespace is there come soonest. */
  #foresee(): void {
    const soon = ["guarded", "prepared", "adopted"];
    const here = this.all().flatMap(({ state, row }) => (soon.includes(state) ? row.podIdx : []));
    this.#options.rows.foresee([...here.slice(0, FORESEEN), ...this.#table.next(FORESEEN)]);
  }

  #enter(
    pod: FoundPod,
    namespace: PodNamespace,
    { addresses, spread }: Pick<PodRow, "addresses" | "spread">,
  ): OpenEnrollment | EnrollmentRefusal {
    const { uid } = pod;
    const { netnsCookie } = namespace;
    const other = this.#table.inNamespace(netnsCookie, uid);
    if (other) return refusal("namespace-shared", `pod ${uid} lives in the network namespace of pod ${other.row.uid}`);
    const taken = this.#table.holderOf(addresses, uid);
    if (taken) return addressTaken(taken, uid);
    const before = this.#table.byUid(uid);
    if (before?.state === "adopted") {
      if (before.row.netnsCookie === netnsCookie) {
        // Capture stayed on; only the listeners are new. Until `capture` comes the fail mode stays what it was.
        const row = { ...before.row, addresses, spread };
        this.#options.rows.admit(row, namespace.listeners, pod.netnsFd);
        this.#options.rows.readdress(before.row, row, !this.#options.protectedPods.has(uid));
        const captured: OpenEnrollment = { state: "captured", row, pod, namespace, failDirect: null };
        this.#table.set(captured);
        return captured;
      }
      this.#departures.withdraw(before);
    }
    // A guard keeps its index, and refuses until the pod is captured.
    const podIdx = before?.state === "guarded" || before?.state === "awaited" ? before.row.podIdx : this.#table.allot();
    if (podIdx === undefined) return refusal("limit", `${MAX_PODS} pods are enrolled`);
    const prepared: OpenEnrollment = {
      state: "prepared",
      isGuarded: before?.state === "guarded",
      row: { podIdx, uid, netnsCookie, addresses, spread },
      pod,
      namespace,
    };
    this.#table.set(prepared);
    return prepared;
  }

  #forOpen<T>(pod: PodRef, act: (found: OpenEnrollment) => Promise<T>): Promise<T | EnrollmentRefusal> {
    const { podIdx, uid } = pod;
    return this.#turns.of(uid, async () => {
      const found = this.#table.of(pod);
      if (found === undefined || !isOpen(found))
        return refusal("not-prepared", `pod ${uid} is not prepared under index ${podIdx}`);
      return act(found);
    });
  }

  /** The kernel has it already; the caller is answered when it outlives the keeper and the machine's power, too. */
  async #onceKept<T>(acting: Promise<T>): Promise<T> {
    const result = await acting;
    await this.#options.protectedPods.kept();
    return result;
  }
}
