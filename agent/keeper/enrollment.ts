// keeper · which pods are enrolled, and how far: guarded → prepared → captured, and back without a trace. One turn at a time per
// pod; whatever fails half way is withdrawn, but never a guard. Knows kernel and namespaces by two interfaces.
import { closeSync } from "node:fs";
import { isIpv6 } from "../mesh/ip.ts";
import { type FoundPod, findPod, type NamespaceId, nowOf, type PodTree, sameNamespace } from "./pods.ts";
import type { ProtectedPods } from "./protected-pods.ts";
import type { LentListener, PresentPod, RefusedReason, SocketKind } from "./protocol.ts";
import { MAX_PODS } from "./requests.ts";
import type { UnbornPods } from "./unborn-pods.ts";

export type HeldListener = LentListener & { readonly fd: number };
export type EnrollmentRefusal = { readonly refused: RefusedReason; readonly message: string };
/** `gone`: the row of the pod that is free now, of which agents may know. */
export type BegunPod = { readonly begun: PodRow | EnrollmentRefusal; readonly gone: PodRow | undefined };

/** What the kernel's maps say of one pod. */
export type PodRow = {
  readonly podIdx: number;
  readonly uid: string;
  readonly netnsCookie: bigint;
  /** Canonical. The first of each family is the source of what the pod dials. None: a guard, which refuses everything. */
  readonly addresses: readonly string[];
  /** Families in which each destination has an address of its own at the agent's listener. */
  readonly spread: readonly (4 | 6)[];
};
/** `failDirect`: what an earlier keeper wrote. */
export type AdoptedPod = { readonly row: PodRow; readonly failDirect: boolean };

/** One pod's network namespace, entered: implemented by pod-sockets.ts. */
export interface PodNamespace {
  readonly netnsCookie: bigint;
  readonly listeners: readonly HeldListener[];
  readonly preservesSource: boolean;
  /** What the namespace had when it was entered, loopback and link-local addresses left out. Canonical. */
  readonly addresses: readonly string[];
  /** The caller owns the descriptors. */
  makeSockets(kind: SocketKind, count: number): Promise<number[]>;
  /** Ends what bypasses the agent and is no longer allowed to the pod under this index; how many. */
  sever(podIdx: number): Promise<number>;
  /**
   * Routes to the agent's listener, with the first of `addresses` of each family as source; the families for which that
   * is done. May be repeated.
   */
  routeToListener(addresses: readonly string[]): Promise<(4 | 6)[]>;
  /** The first of `addresses` that the namespace does not have. */
  lacks(addresses: readonly string[]): Promise<string | undefined>;
  /** Closes the listeners and leaves the namespace. */
  close(leave: Leave): Promise<void>;
}
/**
 * When rule and route in the namespace go. `once-left`: connections of the agent's that are still open need them;
 * `pid` is a process in the namespace. `never`: it dies anyway, or the next keeper takes over.
 */
export type Leave = { readonly restore: "now" | "never" } | { readonly restore: "once-left"; readonly pid: number };
/** Owns `netnsFd` from here on, also when it refuses. */
export type OpenNamespace = (
  netnsFd: number,
  addresses: readonly string[],
) => Promise<PodNamespace | EnrollmentRefusal>;
/** The cookie of the namespace behind a descriptor, which stays the caller's. */
export type CookieOf = (netnsFd: number) => Promise<bigint>;

/** The kernel's tables and links of pods: implemented by pod-rows.ts. All calls are idempotent. */
export interface PodRows {
  /** The index may have been another pod's before: deletes what the tables say about that pod. */
  forget(podIdx: number): void;
  /** Destinations of connections that nobody will accept any more. */
  forgetFlows(netnsCookie: bigint): void;
  /**
   * Everything that comes into the namespace from outside is refused, and what it dials, until `admit` and `capture` say more of
   * it. Needs nothing but the namespace.
   */
  guard(row: PodRow, netnsFd: number): void;
  /** sk_lookup learns of the pod: addresses, listeners, then the link on its namespace. Inbound is judged from here on. */
  admit(row: PodRow, listeners: readonly HeldListener[], netnsFd: number): void;
  /** Connects of the namespace are captured from here on. Again: changes the fail mode. */
  capture(row: PodRow, failDirect: boolean): void;
  /** Of an admitted pod: addresses that `after` has in addition come first, then go those that it lacks. */
  readdress(before: PodRow, after: PodRow, failDirect: boolean): void;
  /** The reverse of all of these, capture first. */
  withdraw(row: PodRow): void;
  /** Pods captured by an earlier keeper: what its pins say. */
  adopted(): readonly AdoptedPod[];
}

type Enrolled = { readonly row: PodRow; readonly pod: FoundPod; readonly namespace: PodNamespace };
export type Enrollment =
  /** Must be guarded as soon as its namespace is there. Nothing is in the kernel. */
  | { readonly state: "awaited"; readonly row: PodRow }
  /** Refuses everything until an agent has prepared it and asks for capture. */
  | { readonly state: "guarded"; readonly row: PodRow; readonly pod: FoundPod }
  /** Captured by an earlier keeper: refuses, since nobody listens, until an agent prepares it again. */
  | { readonly state: "adopted"; readonly row: PodRow; readonly pod?: FoundPod }
  /** `isGuarded`: it had a guard, which is there until its capture. */
  | ({ readonly state: "prepared"; readonly isGuarded: boolean } & Enrolled)
  | ({
      readonly state: "captured" /** null: what an earlier keeper wrote. */;
      readonly failDirect: boolean | null;
    } & Enrolled);
type Unserved = Extract<Enrollment, { readonly state: "awaited" | "guarded" }>;
export type OpenEnrollment = Extract<Enrollment, { readonly state: "prepared" | "captured" }>;

export type EnrollmentOptions = {
  readonly tree: PodTree & { readonly unborn: UnbornPods };
  readonly openNamespace: OpenNamespace;
  readonly cookieOf: CookieOf;
  readonly rows: PodRows;
  /** Pods whose namespace is guarded whenever it is there. */
  readonly protectedPods: ProtectedPods;
};
/** What a sweep found out. */
export type Swept = {
  readonly gone: readonly PodRow[] /** Guarded or awaited under a new index. */;
  readonly guarded: readonly PodRow[];
  /** What could not be looked at; the next sweep tries again. */
  readonly failed: readonly { readonly uid: string; readonly error: unknown }[];
};

/** Connections captured just before a release wait at listeners that the agent still serves for a moment. */
const FLOWS_LINGER_MS = 5_000;
/** So long an agent gets sockets of a pod that was released: longer than it serves what had come by then. */
const LENT_AFTER_RELEASE_MS = 2_000;
/** Every so many sweeps the routes to the agent's listener are made again: they go with an address or device of the pod. */
const SWEEPS_PER_ROUTE = 40;

const isRefusal = (value: object): value is EnrollmentRefusal => "refused" in value;
const isOpen = (found: Enrollment): found is OpenEnrollment => found.state === "prepared" || found.state === "captured";
const emptyRow = (podIdx: number, uid: string): PodRow => ({
  podIdx,
  uid,
  netnsCookie: 0n,
  addresses: [],
  spread: [],
});
const refusal = (refused: RefusedReason, message: string): EnrollmentRefusal => ({ refused, message });
/** Before its first process a pod has no connections of an agent's. */
const onceLeft = ({ process }: FoundPod): Leave =>
  process === undefined ? { restore: "now" } : { restore: "once-left", pid: process.pid };

export class PodEnrollments {
  readonly #options: EnrollmentOptions;
  readonly #byIdx = new Map<number, Enrollment>();
  /** The last thing under way for a pod, by UID; it never rejects. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #lingering = new Set<NodeJS.Timeout>();
  /** UIDs of guarded pods whose new index the agent does not know: what it asked for may have been refused. */
  readonly #moved = new Set<string>();
  /** By index: released a moment ago. */
  readonly #left = new Map<number, PodNamespace>();
  #lastIdx = 0;
  #sweeps = 0;

  /**
   * Takes over what an earlier keeper left; what has gone meanwhile goes with the first `sweep`, which also guards what an
   * earlier keeper protected, before a reboot for instance.
   */
  constructor(options: EnrollmentOptions) {
    this.#options = options;
    const { protectedPods } = options;
    for (const { row, failDirect } of options.rows.adopted()) {
      this.#byIdx.set(row.podIdx, { state: "adopted", row });
      this.#lastIdx = Math.max(this.#lastIdx, row.podIdx);
      if (!failDirect) protectedPods.add(row.uid, capturedUnder(row));
    }
    for (const uid of protectedPods.all()) if (this.#byUid(uid) === undefined) this.#await(uid);
  }

  all(): readonly Enrollment[] {
    return [...this.#byIdx.values()];
  }

  /** What agents hear of each. */
  present(): readonly PresentPod[] {
    return this.all().map((found) => {
      const { podIdx, uid } = found.row;
      const starts = found.state !== "awaited" && found.pod !== undefined && found.pod.process === undefined;
      return starts ? { podIdx, uid, starting: true } : { podIdx, uid };
    });
  }

  get(podIdx: number): Enrollment | undefined {
    return this.#byIdx.get(podIdx);
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
    const guarded = this.#inTurn(uid, async () => {
      const known = this.#byUid(uid) ?? this.#await(uid);
      if (known === undefined) return refusal("limit", `${MAX_PODS} pods are enrolled`);
      protectedPods.add(uid, { workload });
      if (known.state === "prepared" && !known.isGuarded) {
        rows.guard(known.row, known.pod.netnsFd);
        this.#byIdx.set(known.row.podIdx, { ...known, isGuarded: true });
      }
      return known.state === "awaited" ? (await this.#guard(known)).row : known.row;
    });
    return this.#onceKept(guarded);
  }

  /**
   * A pod's network namespace was made, and no process is in it yet. From here on the pod refuses everything, until an agent captures
   * it or releases it, or `end` says that the namespace goes. `container`: its sandbox. Owns the descriptor. Idempotent.
   */
  begin(uid: string, container: string, netnsFd: number): Promise<BegunPod> {
    return this.#inTurn(uid, async () => {
      const { tree, rows, protectedPods } = this.#options;
      const netns = tree.unborn.set(uid, container, netnsFd);
      const known = this.#byUid(uid);
      const isServed = known !== undefined && known.state !== "awaited" && known.state !== "guarded";
      if (isServed && known.pod !== undefined && sameNamespace(known.pod.netns, netns))
        return { begun: known.row, gone: undefined };
      let begun: PodRow | EnrollmentRefusal;
      try {
        if (isServed) await this.#release(known, "never");
        begun = await this.#guardBegun(uid, netns);
      } catch (error) {
        // Half of a guard may be there, of which the row does not know. A sweep places it again where the pod is protected.
        const half = this.#byUid(uid);
        if (half?.state === "awaited" && !protectedPods.has(uid)) rows.withdraw(half.row);
        begun = refusal("kernel", String(error));
      }
      if (isRefusal(begun)) {
        tree.unborn.delete(uid);
        this.#awaitOrForget(uid);
      }
      const stays = !isServed && this.#byUid(uid) !== undefined;
      return { begun, gone: stays ? undefined : known?.row };
    });
  }

  async #guardBegun(uid: string, netns: NamespaceId): Promise<PodRow | EnrollmentRefusal> {
    const waiting = this.#byUid(uid) ?? this.#await(uid);
    if (waiting?.state !== "awaited" && waiting?.state !== "guarded")
      return refusal("limit", `${MAX_PODS} pods are enrolled`);
    const now = await this.#guard(waiting);
    if (now.state === "guarded" && sameNamespace(now.pod.netns, netns)) return now.row;
    return refusal("namespace-shared", `the namespace of pod ${uid} is another's, or a process of it runs in another`);
  }

  /**
   * The namespace of that sandbox goes, and no process was found in it. The row that is free now, if the pod is not protected. Another
   * sandbox of the pod stays as it is.
   */
  end(uid: string, container: string): Promise<PodRow | undefined> {
    return this.#inTurn(uid, async () => {
      const { unborn } = this.#options.tree;
      if (!unborn.end(uid, container)) return undefined;
      const known = this.#byUid(uid);
      if (known === undefined || (known.state !== "awaited" && (await this.#isStillThere(known)))) return undefined;
      if (known.state !== "awaited") await this.#release(known, "never");
      this.#awaitOrForget(uid);
      return known.state === "awaited" && this.#byUid(uid) !== undefined ? undefined : known.row;
    });
  }

  /** Of a pod whose namespace has gone: it is awaited if it is protected, else its index is free. */
  #awaitOrForget(uid: string): void {
    const known = this.#byUid(uid);
    const isProtected = this.#options.protectedPods.has(uid);
    if (known === undefined && isProtected) this.#await(uid);
    if (known !== undefined && !isProtected) this.#withdraw(known);
  }

  /**
   * Idempotent: an enrolled pod that has not changed is returned as it is, another set of addresses is changed in place.
   * @param named none when nobody has named the pod's addresses yet: then they are its namespace's
   */
  prepare(uid: string, named: readonly string[]): Promise<OpenEnrollment | EnrollmentRefusal> {
    return this.#inTurn(uid, async () => {
      const known = this.#byUid(uid);
      if (known !== undefined && isOpen(known)) {
        if (await this.#isStillThere(known)) return named.length === 0 ? known : this.#readdress(known, named);
        await this.#release(known, "never");
        if (this.#options.protectedPods.has(uid) && this.#await(uid) !== undefined) this.#moved.add(uid);
      }
      // First of all, since what follows may be refused.
      const waiting = this.#byUid(uid);
      if (waiting?.state === "awaited" || waiting?.state === "guarded") await this.#guard(waiting);
      const pod = findPod(this.#options.tree, uid);
      if (isRefusal(pod)) return pod;
      // The namespace owns the descriptor.
      const namespace = await this.#options.openNamespace(pod.netnsFd, named);
      if (isRefusal(namespace)) return namespace;
      try {
        const addresses = named.length > 0 ? named : ownAddresses(namespace);
        if (addresses === undefined) {
          await namespace.close({ restore: "never" });
          return refusal("address-mismatch", `pod ${uid} has no address yet, or several of a family`);
        }
        const spread = await namespace.routeToListener(addresses);
        const enrolled = this.#enter(pod, namespace, { addresses, spread });
        if (isRefusal(enrolled)) await namespace.close({ restore: "never" });
        return enrolled;
      } catch (error) {
        await namespace.close({ restore: "never" });
        throw error;
      }
    });
  }

  capture(podIdx: number, failDirect: boolean): Promise<OpenEnrollment | EnrollmentRefusal> {
    const { rows, protectedPods } = this.#options;
    const capturing = this.#forOpen(podIdx, async (found) => {
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
          this.#byIdx.set(podIdx, { ...found, isGuarded });
          throw error;
        }
      } else if (found.failDirect !== failDirect) rows.capture(row, failDirect);
      if (failDirect) protectedPods.delete(row.uid);
      const captured: OpenEnrollment = { state: "captured", row, pod, namespace, failDirect };
      this.#byIdx.set(podIdx, captured);
      return captured;
    });
    return this.#onceKept(capturing);
  }

  /** In place: neither capture nor listeners go meanwhile. */
  setAddresses(podIdx: number, addresses: readonly string[]): Promise<OpenEnrollment | EnrollmentRefusal> {
    return this.#onceKept(this.#forOpen(podIdx, (found) => this.#readdress(found, addresses)));
  }

  /** What an agent called the pod, and the addresses under which it is captured, or was before its sandbox; empty: not known. */
  knownOf(podIdx: number): { readonly workload: string; readonly addresses: readonly string[] } {
    const row = this.#byIdx.get(podIdx)?.row;
    if (row === undefined) return { workload: "", addresses: [] };
    const { workload, addresses } = this.#options.protectedPods.of(row.uid);
    return { workload, addresses: row.addresses.length > 0 ? row.addresses : addresses };
  }

  /** Undefined: done, or there was nothing to do. */
  release(
    podIdx: number,
    options: { readonly restore: "now" | "once-left" } = { restore: "once-left" },
  ): Promise<void> {
    const uid = this.#byIdx.get(podIdx)?.row.uid;
    if (uid === undefined) return Promise.resolve();
    const released = this.#inTurn(uid, async () => {
      const found = this.#byIdx.get(podIdx);
      if (found === undefined || found.row.uid !== uid) return;
      await this.#release(found, options.restore);
      this.#options.protectedPods.delete(uid);
    });
    return this.#onceKept(released);
  }

  /**
   * Capture and listeners go, and the pod refuses everything as after `guard`, with no moment in between. What was known of it, its
   * addresses too, is forgotten. The index is another when the namespace has gone.
   */
  releaseToGuard(podIdx: number, workload: string): Promise<PodRow | EnrollmentRefusal> {
    const { protectedPods } = this.#options;
    const unknown = refusal("not-prepared", `no pod is known under index ${podIdx}`);
    const uid = this.#byIdx.get(podIdx)?.row.uid;
    if (uid === undefined) return Promise.resolve(unknown);
    const guarded = this.#inTurn(uid, async () => {
      const found = this.#byIdx.get(podIdx);
      if (found === undefined || found.row.uid !== uid) return unknown;
      protectedPods.delete(uid);
      protectedPods.add(uid, { workload });
      if (found.state === "awaited" || found.state === "guarded") return (await this.#guard(found)).row;
      const inPlace = await this.#guardInPlace(found);
      if (inPlace !== undefined) return inPlace.row;
      await this.#release(found, "never");
      const awaited = this.#await(uid);
      return awaited === undefined
        ? refusal("limit", `${MAX_PODS} pods are enrolled`)
        : (await this.#guard(awaited)).row;
    });
    return this.#onceKept(guarded);
  }

  makeSockets(podIdx: number, kind: SocketKind, count: number): Promise<number[] | EnrollmentRefusal> {
    // Connections that had come before the release still dial the application.
    const left = this.#left.get(podIdx);
    if (left !== undefined && !this.#byIdx.has(podIdx)) return left.makeSockets(kind, count);
    return this.#forOpen(podIdx, ({ namespace }) => namespace.makeSockets(kind, count));
  }

  sever(podIdx: number): Promise<number | EnrollmentRefusal> {
    const state = this.#byIdx.get(podIdx)?.state;
    // Nobody has said yet what may stay of a pod that is not captured; after its capture the agent asks.
    if (state === "awaited" || state === "guarded") return Promise.resolve(0);
    return this.#forOpen(podIdx, async ({ state, namespace }) => (state === "captured" ? namespace.sever(podIdx) : 0));
  }

  /** Releases every pod that has gone, and guards what must be guarded. Called by a timer. */
  async sweep(): Promise<Swept> {
    const gone: PodRow[] = [];
    const guarded: PodRow[] = [];
    const failed: { readonly uid: string; readonly error: unknown }[] = [];
    this.#sweeps += 1;
    this.#options.tree.unborn.keep((uid) => this.#byUid(uid) !== undefined || this.#turns.has(uid));
    const routesAreDue = this.#sweeps % SWEEPS_PER_ROUTE === 0;
    for (const uid of this.#moved) {
      const found = this.#byUid(uid);
      if (found?.state === "awaited" || found?.state === "guarded") guarded.push(found.row);
    }
    this.#moved.clear();
    for (const seen of this.all()) {
      const turn = this.#inTurn(seen.row.uid, async () => {
        const found = this.#byIdx.get(seen.row.podIdx);
        if (found === undefined || found.row.uid !== seen.row.uid) return;
        if (found.state === "awaited" || found.state === "guarded") {
          const now = await this.#guard(found);
          // An agent that could not enroll it may try at once.
          if (found.state === "awaited" && now.state === "guarded") guarded.push(now.row);
          return;
        }
        if (await this.#isStillThere(found)) {
          if (routesAreDue) await this.#routeAgain(found.row.podIdx);
          return;
        }
        await this.#release(found, "never");
        gone.push(found.row);
        const { uid } = found.row;
        const awaited = this.#options.protectedPods.has(uid) ? this.#await(uid) : undefined;
        if (awaited !== undefined) guarded.push((await this.#guard(awaited)).row);
      });
      // The others are looked at all the same.
      await turn.catch((error: unknown) => failed.push({ uid: seen.row.uid, error }));
    }
    return { gone, guarded, failed };
  }

  /** Nothing of any pod remains in the kernel. For a keeper that is removed; a keeper that is replaced just ends. */
  async releaseAll(): Promise<void> {
    await Promise.all(this.#turns.values());
    for (const { row } of this.all()) await this.release(row.podIdx, { restore: "now" });
    for (const uid of this.#options.protectedPods.all()) this.#options.protectedPods.delete(uid);
    await this.close();
  }

  /** Lets go of every namespace and listener; what is captured stays captured, for agents and the next keeper. */
  async close(): Promise<void> {
    await Promise.all(this.#turns.values());
    await this.#options.protectedPods.kept();
    for (const timer of this.#lingering) clearTimeout(timer);
    for (const enrollment of this.all()) {
      if (isOpen(enrollment)) await enrollment.namespace.close({ restore: "never" });
    }
    this.#options.tree.unborn.close();
    this.#byIdx.clear();
  }

  #enter(
    pod: FoundPod,
    namespace: PodNamespace,
    { addresses, spread }: Pick<PodRow, "addresses" | "spread">,
  ): OpenEnrollment | EnrollmentRefusal {
    const { uid } = pod;
    const { netnsCookie } = namespace;
    const other = this.all().find(({ row }) => row.netnsCookie === netnsCookie && row.uid !== uid);
    if (other) return refusal("namespace-shared", `pod ${uid} lives in the network namespace of pod ${other.row.uid}`);
    const taken = this.#holderOf(addresses, uid);
    if (taken) return refusal("address-taken", `pod ${taken.row.uid} is enrolled with an address of pod ${uid}`);
    const before = this.#byUid(uid);
    if (before?.state === "adopted") {
      if (before.row.netnsCookie === netnsCookie) {
        // Capture stayed on; only the listeners are new. Until `capture` comes the fail mode stays what it was.
        const row = { ...before.row, addresses, spread };
        this.#options.rows.admit(row, namespace.listeners, pod.netnsFd);
        this.#options.rows.readdress(before.row, row, !this.#options.protectedPods.has(uid));
        const captured: OpenEnrollment = { state: "captured", row, pod, namespace, failDirect: null };
        this.#byIdx.set(row.podIdx, captured);
        return captured;
      }
      this.#withdraw(before);
    }
    // A guard keeps its index, and refuses until the pod is captured.
    const podIdx = before?.state === "guarded" || before?.state === "awaited" ? before.row.podIdx : this.#allot();
    if (podIdx === undefined) return refusal("limit", `${MAX_PODS} pods are enrolled`);
    this.#options.rows.forget(podIdx);
    const prepared: OpenEnrollment = {
      state: "prepared",
      isGuarded: before?.state === "guarded",
      row: { podIdx, uid, netnsCookie, addresses, spread },
      pod,
      namespace,
    };
    this.#byIdx.set(podIdx, prepared);
    return prepared;
  }

  async #readdress(found: OpenEnrollment, addresses: readonly string[]): Promise<OpenEnrollment | EnrollmentRefusal> {
    const { row, namespace } = found;
    if (sameAddresses(row.addresses, addresses)) return found;
    const absent = await namespace.lacks(addresses);
    if (absent !== undefined) return notThere(absent);
    const taken = this.#holderOf(addresses, row.uid);
    if (taken) return refusal("address-taken", `pod ${taken.row.uid} is enrolled with an address of pod ${row.uid}`);
    const spread = await namespace.routeToListener(addresses);
    const after = { ...found, row: { ...row, addresses, spread } };
    if (found.state === "captured") this.#options.rows.readdress(row, after.row, this.#failDirectOf(found));
    const { protectedPods } = this.#options;
    if (found.state === "captured" && protectedPods.has(row.uid)) protectedPods.add(row.uid, capturedUnder(after.row));
    this.#byIdx.set(row.podIdx, after);
    return after;
  }

  /** An address may have come late, or gone and come back; without its route the family shares its local ports. */
  async #routeAgain(podIdx: number): Promise<void> {
    const found = this.#byIdx.get(podIdx);
    if (found === undefined || !isOpen(found)) return;
    const { rows } = this.#options;
    const { row, namespace } = found;
    const spread = await namespace.routeToListener(row.addresses);
    if (spread.length === row.spread.length && spread.every((family) => row.spread.includes(family))) return;
    const after = { ...found, row: { ...row, spread } };
    if (found.state === "captured") rows.capture(after.row, this.#failDirectOf(found));
    this.#byIdx.set(podIdx, after);
  }

  /** What an earlier keeper wrote is known by what it left protected. */
  #failDirectOf({ row, failDirect }: Extract<Enrollment, { readonly state: "captured" }>): boolean {
    return failDirect ?? !this.#options.protectedPods.has(row.uid);
  }

  #holderOf(addresses: readonly string[], except: string): Enrollment | undefined {
    return this.all().find(
      ({ row }) => row.uid !== except && row.addresses.some((address) => addresses.includes(address)),
    );
  }

  /** An index for a pod that must be guarded; undefined: there is none left. */
  #await(uid: string): Extract<Enrollment, { readonly state: "awaited" }> | undefined {
    const podIdx = this.#allot();
    if (podIdx === undefined) return undefined;
    const awaited = { state: "awaited", row: emptyRow(podIdx, uid) } as const;
    this.#byIdx.set(podIdx, awaited);
    return awaited;
  }

  /** Puts the guard into the namespace that the pod has now, if it has any. */
  async #guard(found: Unserved): Promise<Unserved> {
    const { tree, cookieOf, rows } = this.#options;
    const { podIdx, uid } = found.row;
    if (found.state === "guarded") {
      const still = this.#lookAgain(found.pod);
      if (still !== undefined) {
        const same = { ...found, pod: still };
        this.#byIdx.set(podIdx, same);
        return same;
      }
      rows.withdraw(found.row);
    }
    let now: Unserved = {
      state: "awaited",
      row: emptyRow(podIdx, uid),
    };
    const pod = findPod(tree, uid);
    if (!isRefusal(pod)) {
      try {
        const row = { ...now.row, netnsCookie: await cookieOf(pod.netnsFd) };
        // Of two pods in one namespace the first has the guard.
        if (
          !this.all().some(({ row: { netnsCookie, uid: other } }) => netnsCookie === row.netnsCookie && other !== uid)
        ) {
          rows.guard(row, pod.netnsFd);
          now = { state: "guarded", row, pod };
        }
      } finally {
        closeSync(pod.netnsFd);
      }
    }
    this.#byIdx.set(podIdx, now);
    return now;
  }

  /** The guard takes the place of what the namespace has. Undefined: the namespace has gone. */
  async #guardInPlace(found: Exclude<Enrollment, Unserved>): Promise<Unserved | undefined> {
    const { tree, cookieOf, rows } = this.#options;
    const { podIdx, uid, netnsCookie } = found.row;
    const pod = findPod(tree, uid);
    if (isRefusal(pod)) return undefined;
    try {
      if ((await cookieOf(pod.netnsFd)) !== netnsCookie) return undefined;
      rows.guard(found.row, pod.netnsFd);
    } finally {
      closeSync(pod.netnsFd);
    }
    const guarded: Unserved = { state: "guarded", row: { ...emptyRow(podIdx, uid), netnsCookie }, pod };
    this.#byIdx.set(podIdx, guarded);
    rows.forget(podIdx);
    this.#forgetFlowsLater(netnsCookie);
    if (isOpen(found)) await found.namespace.close(onceLeft(pod));
    return guarded;
  }

  /** Is the pod's process and namespace still what was found? Remembers the process that now speaks for it. */
  async #isStillThere(found: Exclude<Enrollment, { readonly state: "awaited" }>): Promise<boolean> {
    const { tree, cookieOf } = this.#options;
    if (found.state === "adopted" && found.pod === undefined) {
      const pod = findPod(tree, found.row.uid);
      if (isRefusal(pod)) return false;
      try {
        if ((await cookieOf(pod.netnsFd)) !== found.row.netnsCookie) return false;
      } finally {
        closeSync(pod.netnsFd);
      }
      this.#byIdx.set(found.row.podIdx, { ...found, pod });
      return true;
    }
    if (found.pod === undefined) return false;
    const pod = this.#lookAgain(found.pod);
    if (pod === undefined) return false;
    if (pod !== found.pod) this.#byIdx.set(found.row.podIdx, { ...found, pod });
    return true;
  }

  /** The pod with the process that speaks for it now; undefined: it has gone. */
  #lookAgain(pod: FoundPod): FoundPod | undefined {
    const { tree } = this.#options;
    const now = nowOf(tree, pod);
    if (now === undefined || now.process === pod.process) return now && pod;
    if (pod.process === undefined) tree.unborn.delete(pod.uid);
    return { ...pod, ...now };
  }

  /** Capture first, then what it needed: no connection is sent to a listener that has gone. */
  async #release(found: Enrollment, restore: Leave["restore"]): Promise<void> {
    this.#withdraw(found);
    if (!isOpen(found)) return;
    const { namespace, pod } = found;
    if (restore === "once-left") this.#lendOn(found.row.podIdx, namespace);
    await namespace.close(restore === "once-left" ? onceLeft(pod) : { restore });
  }

  #lendOn(podIdx: number, namespace: PodNamespace): void {
    this.#left.set(podIdx, namespace);
    const timer = setTimeout(() => {
      this.#lingering.delete(timer);
      if (this.#left.get(podIdx) === namespace) this.#left.delete(podIdx);
    }, LENT_AFTER_RELEASE_MS);
    timer.unref();
    this.#lingering.add(timer);
  }

  #withdraw(found: Enrollment): void {
    const { rows } = this.#options;
    const { podIdx, netnsCookie } = found.row;
    // Also of a prepared pod, which may have a guard.
    if (found.state !== "awaited") rows.withdraw(found.row);
    rows.forget(podIdx);
    this.#byIdx.delete(podIdx);
    this.#forgetFlowsLater(netnsCookie);
  }

  #forgetFlowsLater(netnsCookie: bigint): void {
    const timer = setTimeout(() => {
      this.#lingering.delete(timer);
      // Enrolled again meanwhile: its flows are alive, and old ones are overwritten as ports come round.
      const isAlive = this.all().some(({ state, row }) => state !== "guarded" && row.netnsCookie === netnsCookie);
      if (!isAlive) this.#options.rows.forgetFlows(netnsCookie);
    }, FLOWS_LINGER_MS);
    timer.unref();
    this.#lingering.add(timer);
  }

  /** Round the table, so that an index rests as long as possible before it means another pod. */
  #allot(): number | undefined {
    for (let step = 1; step <= MAX_PODS; step++) {
      const podIdx = ((this.#lastIdx + step - 1) % MAX_PODS) + 1;
      if (this.#byIdx.has(podIdx)) continue;
      this.#lastIdx = podIdx;
      return podIdx;
    }
    return undefined;
  }

  #byUid(uid: string): Enrollment | undefined {
    for (const enrollment of this.#byIdx.values()) if (enrollment.row.uid === uid) return enrollment;
    return undefined;
  }

  async #forOpen<T>(podIdx: number, act: (found: OpenEnrollment) => Promise<T>): Promise<T | EnrollmentRefusal> {
    const seen = this.#byIdx.get(podIdx);
    const unprepared = refusal("not-prepared", `no pod is prepared under index ${podIdx}`);
    if (seen === undefined) return unprepared;
    return this.#inTurn(seen.row.uid, async () => {
      // It may have been released, and its index given away, while this waited.
      const found = this.#byIdx.get(podIdx);
      if (found === undefined || !isOpen(found) || found.row.uid !== seen.row.uid) return unprepared;
      return act(found);
    });
  }

  /** The kernel has it already; the caller is answered when it outlives the keeper and the machine's power, too. */
  async #onceKept<T>(acting: Promise<T>): Promise<T> {
    const result = await acting;
    await this.#options.protectedPods.kept();
    return result;
  }

  #inTurn<T>(uid: string, act: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(uid) ?? Promise.resolve();
    const mine = before.then(act);
    const settled = mine.then(
      () => undefined,
      () => undefined, // The caller of `mine` gets the error; the next turn only waits.
    );
    this.#turns.set(uid, settled);
    void settled.then(() => {
      if (this.#turns.get(uid) === settled) this.#turns.delete(uid);
    });
    return mine;
  }
}

function capturedUnder({ addresses }: PodRow): { readonly addresses?: readonly string[] } {
  return addresses.length > 0 ? { addresses } : {};
}

/** Of a family the only address. Undefined: there is none, or somebody has to say which of several is the pod's. */
function ownAddresses({ addresses }: PodNamespace): readonly string[] | undefined {
  const isPlain = addresses.filter(isIpv6).length <= 1 && addresses.filter((address) => !isIpv6(address)).length <= 1;
  return isPlain && addresses.length > 0 ? addresses : undefined;
}

function sameAddresses(own: readonly string[], addresses: readonly string[]): boolean {
  return own.length === addresses.length && own.every((address) => addresses.includes(address));
}

export const notThere = (address: string): EnrollmentRefusal =>
  refusal("address-mismatch", `${address} is not an address of the pod's network namespace`);
