// any thread · the only import of engine.node: declares every native class and function, adds nothing.
import { createRequire } from "node:module";

import type { EngineStats } from "./engine.ts";
import type { NativeFdSocket } from "./keeper-channel.ts";
import type { NativeMapClass, NativeRingClass } from "./native-maps.ts";

/** One engine: sockets, TLS and HTTP/2 of one thread. Errors carry code, errno and syscall. */
export interface NativeEngine {
  /** The area of native/engine/core/arena.h; lives as long as the engine. */
  readonly arena: ArrayBuffer;
  setPod(podIdx: number, netnsCookie: bigint, identity: number): void;
  /** kind: 0 outbound, 1 inbound, 2 hbone. Owns `fd` from here on, also when it throws. */
  addListener(podIdx: number, kind: number, fd: number): void;
  leavePod(podIdx: number): void;
  removePod(podIdx: number, cut: boolean): void;
  /** kind: 0 out4, 1 out6, 2 local4, 3 local6. */
  addSockets(podIdx: number, kind: number, fds: Int32Array): void;
  setFlowMap(fd: number): void;
  /** TypeScript has taken so many microseconds for an event of this pod, which has as much less of its next turns. */
  spendTime(podIdx: number, us: number): void;
  /** Reads the late answer's place in the arena. */
  submit(): void;
  counters(conn: number, generation: number): [sent: number, received: number] | undefined;
  /** undefined: gone, or that side has no socket yet. Microseconds, and segments that were sent again. */
  transport(conn: number, generation: number, upstream: boolean): [rttUs: number, retransmits: number] | undefined;
  stats(): EngineStats;
  retireTunnels(identity: number): void;
  checkPeers(): void;
  /** Bytes, below 4 GiB. */
  setBufferBudget(bytes: number): void;
  /** Milliseconds. */
  setUnread(ms: number): void;
  /** Connections of a pod that are read, and bytes of the heads that their requests keep. */
  setPodLimits(open: number, headBytes: number): void;
  /** As native/engine/tunnel/tunnel_times.h has them, in its order. Milliseconds. */
  setTunnelTimes(
    pingEvery: number,
    pingAnswer: number,
    owed: number,
    idle: number,
    patience: number,
    servedOn: number,
  ): void;
  /** Memory that all data threads have (agent/traffic/under-way-cells.ts, "awaited"). Throws a TypeError where it is not laid out for so many. */
  shareConnections(words: BigUint64Array<SharedArrayBuffer>, thread: number, threads: number): void;
  drain(): void;
  close(): void;
}

/** Called with the number of events in the arena; writes answers there and returns how many. */
export type BatchHandler = (events: number) => number;

type EngineAddon = {
  readonly Engine: new (handler: BatchHandler) => NativeEngine;
  /** For the whole process. The same integer again replaces it for new handshakes. `pkcs8` may be wiped afterwards. */
  installIdentity(identity: number, chainPem: string, pkcs8: Uint8Array): void;
  dropIdentity(identity: number): void;
  /**
   * PEM of every root that peers may chain to; replaces the earlier ones for new handshakes. For open tunnels `checkPeers` of each
   * engine does.
   */
  installRoots(pem: string): void;
  /**
   * Whether a client that offers X25519MLKEM768 without a key share is asked for its key share, at the cost of a round trip (RFC 8446 4.1.4).
   * For what is installed afterwards; true at first.
   */
  askForHybrid(ask: boolean): void;
  /**
   * Whether tunnels that are opened afterwards protect their records by native/engine/records, or OpenSSL does, as at first. The first
   * call with true locks 2 MiB for the secrets of 16,384 tunnels. Throws EPERM or ENOMEM when RLIMIT_MEMLOCK is lower.
   */
  useOwnRecords(own: boolean): void;
  /** Sockets without a keeper: for tests and benchmarks on a plain machine. */
  unconnectedSocket(family: 4 | 6): number;
  listenSocket(address: string, port: number): { readonly fd: number; readonly port: number };
  /** What the keeper lends. */
  readonly KernelMap: NativeMapClass;
  readonly RingBuffer: NativeRingClass;
  /** Another descriptor of the same file, close-on-exec; the caller's. */
  duplicate(fd: number): number;
  /** SO_PEERCRED of a connected unix socket: who connected, as it was then. */
  peerCredentials(fd: number): { readonly pid: number; readonly uid: number; readonly gid: number };
  readonly FdSocket: { connect(path: string): NativeFdSocket };
};

const addon: EngineAddon = createRequire(import.meta.url)("../../native/build/Release/engine.node");

export const { installIdentity, dropIdentity, installRoots, askForHybrid, useOwnRecords } = addon;
export const { unconnectedSocket, listenSocket } = addon;
export const NativeEngine = addon.Engine;
export const { duplicate, peerCredentials } = addon;
export const { KernelMap, RingBuffer, FdSocket } = addon;
