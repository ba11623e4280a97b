// keeper · what is known of an enrolled pod, and the two interfaces by which enrollment knows kernel and namespaces.
import type { FoundPod } from "./pods.ts";
import type { LentListener, RefusedReason, SocketKind } from "./protocol.ts";

export type HeldListener = LentListener & { readonly fd: number };
export type EnrollmentRefusal = { readonly refused: RefusedReason; readonly message: string };

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
  /** The caller owns the descriptors. None: it was left. */
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
 * When rule and route in the namespace go, and what the kernel joined with other pods ends. `once-left`: connections of the agent's that are
 * still open need rule and route; `pid` is a process in the namespace, and joined connections have a moment to end by themselves unless the
 * pod is guarded. `never`: it dies anyway, or the next keeper takes over. `refused`: it was opened and not enrolled, so that a leaving that
 * ended because the pod came back is made good.
 */
export type Leave =
  | { readonly restore: "now" | "never" | "refused" }
  | { readonly restore: "once-left"; readonly pid: number; readonly guarded: boolean };
/** Owns `netnsFd` from here on, also when it refuses. */
export type OpenNamespace = (
  netnsFd: number,
  addresses: readonly string[],
) => Promise<PodNamespace | EnrollmentRefusal>;
/** The cookie of the namespace behind a descriptor, which stays the caller's. */
export type CookieOf = (netnsFd: number) => Promise<bigint>;

/** The kernel's tables and links of pods: implemented by pod-rows.ts. All calls are idempotent. */
export interface PodRows {
  /** The indices whose pods may be admitted next, the soonest first: what takes time is made ready. */
  foresee(podIdxs: readonly number[]): void;
  /** The indices are nobody's: what the tables say about them is deleted now. */
  clear(podIdxs: readonly number[]): void;
  /**
   * The index is nobody's any more: what the tables say about it goes a moment later, with what they say of other such indices. While a pod
   * has its index, an agent may have written verdicts about it, also before it is prepared, and would not write them again.
   */
  forget(podIdx: number): void;
  /** The pod keeps its index and is captured no more: what let connections in goes, and what is counted of them. */
  forgetCapture(podIdx: number): void;
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
  /** What is due is done, and nothing is afterwards. */
  close(): void;
}

type Enrolled = { readonly row: PodRow; readonly pod: FoundPod; readonly namespace: PodNamespace };
export type Enrollment =
  /** Must be guarded as soon as its namespace is there. Nothing is in the kernel. */
  | { readonly state: "awaited"; readonly row: PodRow }
  /** Refuses everything until an agent has prepared it and asks for capture. */
  | {
      readonly state: "guarded";
      readonly row: PodRow;
      readonly pod: FoundPod;
      /** Its cgroup refused everything before its first process. */
      readonly isExpected?: true;
    }
  /** Captured by an earlier keeper: refuses, since nobody listens, until an agent prepares it again. */
  | { readonly state: "adopted"; readonly row: PodRow; readonly pod?: FoundPod }
  /** `isGuarded`: it had a guard, which is there until its capture. */
  | ({ readonly state: "prepared"; readonly isGuarded: boolean } & Enrolled)
  | ({
      readonly state: "captured" /** null: what an earlier keeper wrote. */;
      readonly failDirect: boolean | null;
    } & Enrolled);
export type Unserved = Extract<Enrollment, { readonly state: "awaited" | "guarded" }>;
export type OpenEnrollment = Extract<Enrollment, { readonly state: "prepared" | "captured" }>;

export const isRefusal = (value: object): value is EnrollmentRefusal => "refused" in value;
export const isOpen = (found: Enrollment): found is OpenEnrollment =>
  found.state === "prepared" || found.state === "captured";
export const isUnserved = (found: Enrollment): found is Unserved =>
  found.state === "awaited" || found.state === "guarded";
export const emptyRow = (podIdx: number, uid: string): PodRow => ({
  podIdx,
  uid,
  netnsCookie: 0n,
  addresses: [],
  spread: [],
});
export const refusal = (refused: RefusedReason, message: string): EnrollmentRefusal => ({ refused, message });

export const addressTaken = (taken: Enrollment, uid: string): EnrollmentRefusal =>
  refusal("address-taken", `pod ${taken.row.uid} is enrolled with an address of pod ${uid}`);

export const notThere = (address: string): EnrollmentRefusal =>
  refusal("address-mismatch", `${address} is not an address of the pod's network namespace`);
