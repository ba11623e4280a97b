// 6 · data thread · the engine as `traffic` and `data-thread.ts` see it: implemented by addon.ts + batch.ts, faked by engine.fake.ts.
import type { ListenerKind, SocketKind } from "../keeper/protocol.ts";
import type { Answer, Origin } from "./answers.ts";
import type { ConnRef } from "./events.ts";

export type EngineStats = {
  readonly connections: number;
  readonly tunnels: number;
  readonly streams: number;
  readonly handshakes: number;
  readonly bufferBytes: number;
  readonly openDescriptors: number;
  readonly shedTotal: number;
  /** Times that the peer of a tunnel was not read for a while, because it caused more than its budget. */
  readonly slowedTotal: number;
  /** Most work (native/engine/http2/toll.h) and most CONNECTs of one tunnel in one turn. */
  readonly mostWork: number;
  readonly mostRequests: number;
  readonly acceptedTotal: number;
  readonly tunnelsDialledTotal: number;
  /** Sets of tunnels that connections may share; an unused set is forgotten after a second (native/engine/tunnel/tunnel_group.h). */
  readonly tunnelGroups: number;
  /** CONNECTs whose connection has ended and that the peer has not answered yet (native/engine/tunnel/unanswered.h). */
  readonly abandoned: number;
  readonly batches: number;
  readonly events: number;
};

export type ConnectionTransport = { readonly rttUs: number; readonly retransmits: number };

export interface Engine {
  /** A pod's own identity (integer of installIdentity) for its :15008 and tunnels; -1: none yet, handshakes wait or fail. */
  setPod(podIdx: number, options: { readonly netnsCookie: bigint; readonly identity: number }): void;
  /** Takes ownership of `fd` (a listening, non-blocking socket held by the keeper as well). */
  addListener(podIdx: number, kind: ListenerKind, fd: number): void;
  /** The keeper has released the pod: its tunnels take no new requests. What is open goes on. */
  leavePod(podIdx: number): void;
  /** Stops accepting for the pod; with `cut` also ends its live connections with cause "drained". */
  removePod(podIdx: number, options: { readonly cut: boolean }): void;
  addSockets(podIdx: number, kind: SocketKind, fds: Int32Array): void;
  /** The lent dst_of_flow map; the engine duplicates the descriptor. */
  setFlowMap(fd: number): void;
  /** A decision that was not ready in the handler, or a close. Safe at any time on the engine's thread. */
  answer(answer: Answer): void;
  /**
   * From here on `forward` may name it; what had the number before is dropped. Also inside a handler. Throws a RangeError when the engine
   * could not read it.
   */
  defineOrigin(origin: Origin): void;
  /** Its idle connections end; those with a request end behind it. */
  dropOrigin(origin: number): void;
  /** Live payload counters of a connection; undefined when it is gone. */
  counters(ref: ConnRef): { readonly sentBytes: number; readonly receivedBytes: number } | undefined;
  /**
   * What TCP measures of a side's socket; of a stream, of its tunnel's. `retransmits`: segments sent again. undefined: the
   * connection is gone, or that side has no socket yet.
   */
  transport(ref: ConnRef, side: "downstream" | "upstream"): ConnectionTransport | undefined;
  stats(): EngineStats;
  /** Ends idle tunnels whose own identity is `identity`; busy ones take no new streams and end when they fall idle. */
  retireTunnels(identity: number): void;
  /** The roots were installed anew: tunnels whose peer would not be verified now end, with their streams. */
  checkPeers(): void;
  /** GOAWAY on every tunnel, accept nothing more; existing streams go on. */
  drain(): void;
  /** Ends everything and frees all descriptors. */
  close(): void;
}
