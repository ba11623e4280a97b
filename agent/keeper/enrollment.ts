// keeper · which pods are enrolled, and how far: preparing → prepared → captured, and back without a trace.
// One turn at a time per pod; whatever fails half way is withdrawn. Knows kernel and namespaces by two interfaces.
import { closeSync } from "node:fs";
import { isIpv6 } from "../mesh/ip.ts";
import { type FoundPod, findPod, type PodTree, stillThere } from "./pods.ts";
import type { LentListener, RefusedReason, SocketKind } from "./protocol.ts";
import { MAX_PODS } from "./requests.ts";

export type HeldListener = LentListener & { readonly fd: number };
export type EnrollmentRefusal = { readonly refused: RefusedReason; readonly message: string };

/** What the kernel's maps say of one pod. */
export type PodRow = {
  readonly podIdx: number;
  readonly uid: string;
  readonly netnsCookie: bigint;
  readonly ip4: string | null;
  readonly ip6: string | null;
};

/** One pod's network namespace, entered: implemented by pod-sockets.ts. */
export interface PodNamespace {
  readonly netnsCookie: bigint;
  readonly listeners: readonly HeldListener[];
  readonly preservesSource: boolean;
  /** The caller owns the descriptors. */
  makeSockets(kind: SocketKind, count: number): Promise<number[]>;
  /** Ends the pod's joined connections that pair_verdict no longer allows; how many. */
  sever(): Promise<number>;
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

/** The kernel's tables and links of pods: implemented by pod-rows.ts. All calls are idempotent. */
export interface PodRows {
  /** The index may have been another pod's before: deletes what the tables say about that pod. */
  forget(podIdx: number): void;
  /** Destinations of connections that nobody will accept any more. */
  forgetFlows(netnsCookie: bigint): void;
  /** sk_lookup learns of the pod: addresses, listeners, then the link on its namespace. Inbound is judged from here on. */
  admit(row: PodRow, listeners: readonly HeldListener[], netnsFd: number): void;
  /** Connects of the namespace are captured from here on. Again: changes the fail mode. */
  capture(row: PodRow, failDirect: boolean): void;
  /** The reverse of both, capture first. */
  withdraw(row: PodRow): void;
  /** Pods captured by an earlier keeper: what its pins say. */
  adopted(): readonly PodRow[];
}

type Enrolled = { readonly row: PodRow; readonly pod: FoundPod; readonly namespace: PodNamespace };
export type Enrollment =
  /** Captured by an earlier keeper: refuses, since nobody listens, until an agent prepares it again. */
  | { readonly state: "adopted"; readonly row: PodRow }
  | ({ readonly state: "prepared" } & Enrolled)
  | ({
      readonly state: "captured" /** null: what an earlier keeper wrote. */;
      readonly failDirect: boolean | null;
    } & Enrolled);
type OpenEnrollment = Exclude<Enrollment, { readonly state: "adopted" }>;

export type EnrollmentOptions = {
  readonly tree: PodTree;
  readonly openNamespace: OpenNamespace;
  readonly rows: PodRows;
};

/** Connections captured just before a release wait at listeners that the agent still serves for a moment. */
const FLOWS_LINGER_MS = 5_000;

const isRefusal = (value: object): value is EnrollmentRefusal => "refused" in value;
const refusal = (refused: RefusedReason, message: string): EnrollmentRefusal => ({ refused, message });

export class PodEnrollments {
  readonly #options: EnrollmentOptions;
  readonly #byIdx = new Map<number, Enrollment>();
  /** The last thing under way for a pod, by UID; it never rejects. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #lingering = new Set<NodeJS.Timeout>();
  #lastIdx = 0;

  /** Takes over what an earlier keeper left; what has gone meanwhile goes with the first `sweep`. */
  constructor(options: EnrollmentOptions) {
    this.#options = options;
    for (const row of options.rows.adopted()) {
      this.#byIdx.set(row.podIdx, { state: "adopted", row });
      this.#lastIdx = Math.max(this.#lastIdx, row.podIdx);
    }
  }

  all(): readonly Enrollment[] {
    return [...this.#byIdx.values()];
  }

  get(podIdx: number): Enrollment | undefined {
    return this.#byIdx.get(podIdx);
  }

  /** Idempotent: an enrolled pod that has not changed is returned as it is. */
  prepare(uid: string, addresses: readonly string[]): Promise<OpenEnrollment | EnrollmentRefusal> {
    return this.#inTurn(uid, async () => {
      const known = this.#byUid(uid);
      if (known !== undefined && known.state !== "adopted") {
        if (!this.#isStillThere(known)) await this.#release(known, "never");
        else if (sameAddresses(known.row, addresses)) return known;
        else return refusal("address-mismatch", `pod ${uid} is enrolled with other addresses: release it first`);
      }
      const pod = findPod(this.#options.tree, uid);
      if (isRefusal(pod)) return pod;
      // The namespace owns the descriptor.
      const namespace = await this.#options.openNamespace(pod.netnsFd, addresses);
      if (isRefusal(namespace)) return namespace;
      try {
        const enrolled = this.#enter(pod, namespace, addresses);
        if (isRefusal(enrolled)) await namespace.close({ restore: "never" });
        return enrolled;
      } catch (error) {
        await namespace.close({ restore: "never" });
        throw error;
      }
    });
  }

  capture(podIdx: number, failDirect: boolean): Promise<OpenEnrollment | EnrollmentRefusal> {
    return this.#forOpen(podIdx, async (found) => {
      const { row, pod, namespace } = found;
      if (found.state === "prepared") {
        try {
          this.#options.rows.admit(row, namespace.listeners, pod.netnsFd);
          this.#options.rows.capture(row, failDirect);
        } catch (error) {
          this.#options.rows.withdraw(row);
          throw error;
        }
      } else if (found.failDirect !== failDirect) this.#options.rows.capture(row, failDirect);
      const captured: OpenEnrollment = { state: "captured", row, pod, namespace, failDirect };
      this.#byIdx.set(podIdx, captured);
      return captured;
    });
  }

  /** Undefined: done, or there was nothing to do. */
  release(
    podIdx: number,
    options: { readonly restore: "now" | "once-left" } = { restore: "once-left" },
  ): Promise<void> {
    const uid = this.#byIdx.get(podIdx)?.row.uid;
    if (uid === undefined) return Promise.resolve();
    return this.#inTurn(uid, async () => {
      const found = this.#byIdx.get(podIdx);
      if (found !== undefined && found.row.uid === uid) await this.#release(found, options.restore);
    });
  }

  makeSockets(podIdx: number, kind: SocketKind, count: number): Promise<number[] | EnrollmentRefusal> {
    return this.#forOpen(podIdx, ({ namespace }) => namespace.makeSockets(kind, count));
  }

  sever(podIdx: number): Promise<number | EnrollmentRefusal> {
    // The verdicts on a prepared pod may not be written yet; after its capture the agent asks.
    return this.#forOpen(podIdx, async ({ state, namespace }) => (state === "captured" ? namespace.sever() : 0));
  }

  /** Releases every pod that has gone, and says which. Called by a timer. */
  async sweep(): Promise<readonly PodRow[]> {
    const gone: PodRow[] = [];
    for (const seen of this.all()) {
      await this.#inTurn(seen.row.uid, async () => {
        const found = this.#byIdx.get(seen.row.podIdx);
        if (found === undefined || found.row.uid !== seen.row.uid || this.#isStillThere(found)) return;
        await this.#release(found, "never");
        gone.push(found.row);
      });
    }
    return gone;
  }

  /** Nothing of any pod remains in the kernel. For a keeper that is removed; a keeper that is replaced just ends. */
  async releaseAll(): Promise<void> {
    await Promise.all(this.#turns.values());
    for (const { row } of this.all()) await this.release(row.podIdx, { restore: "now" });
    await this.close();
  }

  /** Lets go of every namespace and listener; what is captured stays captured, for agents and the next keeper. */
  async close(): Promise<void> {
    await Promise.all(this.#turns.values());
    for (const timer of this.#lingering) clearTimeout(timer);
    for (const enrollment of this.all()) {
      if (enrollment.state !== "adopted") await enrollment.namespace.close({ restore: "never" });
    }
    this.#byIdx.clear();
  }

  #enter(pod: FoundPod, namespace: PodNamespace, addresses: readonly string[]): OpenEnrollment | EnrollmentRefusal {
    const { uid } = pod;
    const { netnsCookie } = namespace;
    const other = this.all().find(({ row }) => row.netnsCookie === netnsCookie && row.uid !== uid);
    if (other) return refusal("namespace-shared", `pod ${uid} lives in the network namespace of pod ${other.row.uid}`);
    const taken = this.all().find(
      ({ row }) => row.uid !== uid && addresses.some((address) => address === row.ip4 || address === row.ip6),
    );
    if (taken) return refusal("address-mismatch", `pod ${taken.row.uid} is enrolled with an address of pod ${uid}`);
    const before = this.#byUid(uid);
    const ip4 = addresses.find((address) => !isIpv6(address)) ?? null;
    const ip6 = addresses.find((address) => isIpv6(address)) ?? null;
    if (before?.state === "adopted") {
      const row = { ...before.row, ip4, ip6 };
      if (before.row.netnsCookie === netnsCookie && sameAddresses(before.row, addresses)) {
        // Capture stayed on; only the listeners are new. Until `capture` comes the fail mode stays what it was.
        this.#options.rows.admit(row, namespace.listeners, pod.netnsFd);
        const captured: OpenEnrollment = { state: "captured", row, pod, namespace, failDirect: null };
        this.#byIdx.set(row.podIdx, captured);
        return captured;
      }
      this.#withdraw(before);
    }
    const podIdx = this.#allot();
    if (podIdx === undefined) return refusal("limit", `${MAX_PODS} pods are enrolled`);
    this.#options.rows.forget(podIdx);
    const prepared: OpenEnrollment = { state: "prepared", row: { podIdx, uid, netnsCookie, ip4, ip6 }, pod, namespace };
    this.#byIdx.set(podIdx, prepared);
    return prepared;
  }

  /** Is the pod's cgroup, process and namespace still what was found? Remembers the process that now speaks for it. */
  #isStillThere(found: Enrollment): boolean {
    const { tree } = this.#options;
    if (found.state === "adopted") {
      const pod = findPod(tree, found.row.uid);
      if (isRefusal(pod)) return false;
      closeSync(pod.netnsFd);
      return true; // The cookie is compared when it is prepared.
    }
    const process = stillThere(tree, found.pod);
    if (process === undefined) return false;
    if (process !== found.pod.process) this.#byIdx.set(found.row.podIdx, { ...found, pod: { ...found.pod, process } });
    return true;
  }

  /** Capture first, then what it needed: no connection is sent to a listener that has gone. */
  async #release(found: Enrollment, restore: Leave["restore"]): Promise<void> {
    this.#withdraw(found);
    if (found.state === "adopted") return;
    const { namespace, pod } = found;
    await namespace.close(restore === "once-left" ? { restore, pid: pod.process.pid } : { restore });
  }

  #withdraw(found: Enrollment): void {
    const { rows } = this.#options;
    const { podIdx, netnsCookie } = found.row;
    if (found.state !== "prepared") rows.withdraw(found.row);
    rows.forget(podIdx);
    this.#byIdx.delete(podIdx);
    const timer = setTimeout(() => {
      this.#lingering.delete(timer);
      // Enrolled again meanwhile: its flows are alive, and old ones are overwritten as ports come round.
      if (!this.all().some(({ row }) => row.netnsCookie === netnsCookie)) rows.forgetFlows(netnsCookie);
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
      if (found === undefined || found.state === "adopted" || found.row.uid !== seen.row.uid) return unprepared;
      return act(found);
    });
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

function sameAddresses(row: PodRow, addresses: readonly string[]): boolean {
  const own = [row.ip4, row.ip6].filter((address) => address !== null);
  return own.length === addresses.length && own.every((address) => addresses.includes(address));
}
