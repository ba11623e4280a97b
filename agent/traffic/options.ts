// 6 · data thread · what is injected into a thread's traffic: the mesh and its judges, the engine's ways, time and chance.
import type { Answer } from "../engine/answers.ts";
import type { HandshakeFailed, PoolLow, TunnelAbused } from "../engine/events.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Recorder } from "../observe/recorder.ts";
import type { Evaluator } from "../policy/evaluate.ts";
import type { JudgeLimits } from "../policy/limits.ts";
import type { OriginEngine } from "./origins.ts";
import type { PeerRejected, ReadPeer } from "./peers.ts";
import type { SharedState } from "./shared-state.ts";

export type TrafficOptions = {
  readonly trustDomain: string;
  /** The store's view of this thread, and the evaluator over its policies. */
  readonly mesh: Snapshot;
  readonly judge: Evaluator["judge"];
  /** Absent: no connection is read. */
  readonly settle?: Evaluator["settle"];
  readonly readsPaths?: Evaluator["readsPaths"];
  /** Of requests that policy allows; each call counts a request. */
  readonly limits: JudgeLimits;
  readonly recorder: Pick<Recorder, "opened" | "now" | "retried" | "mirrored">;
  /** Engine.answer: answers that come later, and closes. */
  readonly answer: (answer: Answer) => void;
  /** Engine.drain. */
  readonly stopTaking: () => void;
  /** Engine.defineOrigin and Engine.dropOrigin. */
  readonly origins: OriginEngine;
  readonly readPeer: ReadPeer;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  readonly after: (ms: number, call: () => void) => () => void;
  /** Which of the node's data threads this is, and what they share; absent: there is no other. */
  readonly among?: { readonly thread: number; readonly threads: number; readonly shared: SharedState };
  /** Of a clock that they share, milliseconds; absent: `now`. */
  readonly sharedNow?: () => number;
  /** Milliseconds since 1970; absent: no fault is injected. */
  readonly wallMs?: () => number;
  /** Uniform in [0, 1): load balancing. */
  readonly random: () => number;
  /** Cryptographic: trace ids. */
  readonly fillRandom: (bytes: Uint8Array) => void;
  readonly reports: {
    readonly peerRejected: PeerRejected;
    readonly handshakeFailed: (event: HandshakeFailed) => void;
    readonly tunnelAbused: (event: TunnelAbused) => void;
    readonly poolLow: (event: PoolLow) => void;
    /** An exception of ours while doing `what`; the connection was refused or closed. */
    readonly fault: (error: unknown, what: string) => void;
    /** An exception of ours while a copy of a request was planned: the request goes on without it. */
    readonly copyFault: (error: unknown) => void;
  };
};
