// keeper · the only import of keeper.node: declares every native class and function, adds nothing.
// All calls throw an Error with code, errno and syscall, unless said otherwise; only PodThread's return promises.
import { createRequire } from "node:module";

/** A SOCK_SEQPACKET unix socket that carries descriptors. Also exported by engine.node, with the same declaration. */
export interface FdSocket {
  readonly fd: number;
  /** Of the process that connected (SO_PEERCRED), as it was then. Throws on a listening socket. */
  credentials(): { readonly pid: number; readonly uid: number; readonly gid: number };
  /**
   * Whether the process that connected still runs (SO_PEERPIDFD): then its pid has not gone to another. Undefined where the kernel does
   * not say it, before Linux 6.5. Throws on a listening socket.
   */
  peerLives(): boolean | undefined;
  /**
   * One packet. The descriptors are duplicated by the kernel and stay the caller's. Packets that do not fit into the
   * socket wait in order; throws ENOBUFS when more than 1 MiB or 256 descriptors would wait, EMSGSIZE beyond
   * 65,536 bytes or 64 descriptors.
   */
  send(bytes: Uint8Array, fds: Int32Array): void;
  /**
   * Starts reading. The handler owns the descriptors (close-on-exec). A packet that is too long, or whose descriptors
   * were cut off, never arrives: what it brought is closed and `onClose` tells.
   */
  onMessage(handler: (bytes: Buffer, fds: Int32Array) => void): void;
  /** Listening sockets only. Starts accepting; at most 64 connections of this socket live at a time, the rest wait. */
  onConnection(handler: (socket: FdSocket) => void): void;
  /** Called once, also after `close()`; the error is why, undefined when the peer closed or we did. */
  onClose(handler: (error: Error | undefined) => void): void;
  /** Drops what waits to be sent. */
  close(): void;
  /** Whether the socket alone keeps the event loop alive; it does from the start. */
  ref(): void;
  unref(): void;
}

export type FdSocketClass = {
  /**
   * Binds and listens. A socket file nobody listens at is replaced (EADDRINUSE when somebody does); the file has
   * `mode` from its first moment on. `connections`: so many are open at most, and as many more wait to be accepted (64; 4,096 at most).
   */
  listen(path: string, mode: number, connections?: number): FdSocket;
  /** Connects at once or throws: ECONNREFUSED, ENOENT, EAGAIN when the other side's backlog is full. */
  connect(path: string): FdSocket;
};

/** One BPF map. Keys and values have exactly the map's sizes. Also exported by engine.node. */
export interface KernelMap {
  /** As the kernel keeps it: at most 15 bytes. */
  readonly name: string;
  /** Belongs to this object: send it, do not close it. */
  readonly fd: number;
  readonly keyBytes: number;
  /** Of a per-CPU map: all CPUs' values, each padded to eight bytes. */
  readonly valueBytes: number;
  /** How many values a per-CPU value holds; 1 for other maps. */
  readonly cpus: number;
  readonly maxEntries: number;
  get(key: Uint8Array): Buffer | undefined;
  /** E2BIG: the map is full. For a sockhash the value is the socket's descriptor as eight bytes. */
  put(key: Uint8Array, value: Uint8Array): void;
  /** False: there was none. */
  delete(key: Uint8Array): boolean;
  /** No snapshot: entries may come and go meanwhile; at most maxEntries. */
  keys(): Buffer[];
  /** Key, value, key, value, …: no snapshot either. */
  dump(): Buffer;
  /** Every later call throws EBADF. */
  close(): void;
}
/** @param fd of a map; duplicated */
export type KernelMapClass = new (fd: number) => KernelMap;

export type ProgramState = {
  readonly name: string;
  /** libbpf's name of the hook: `cgroup/connect4`, `sockops`, `sk_lookup`, … */
  readonly attach: string;
  /** The kernel's hash of the instructions, 16 hex digits: equal tags, equal programs. */
  readonly tag: string;
  readonly id: number;
  /** What the verifier looked at; 0 where the kernel does not tell (before 5.16). */
  readonly verifiedInstructions: number;
  /** Both 0 unless kernel.bpf_stats_enabled. */
  readonly runs: number;
  readonly runNs: number;
};
export type MapState = {
  readonly name: string;
  readonly type: string;
  /** -1: this type cannot be counted (socket storage); bytes waiting, for the ring buffer. */
  readonly entries: number;
  readonly maxEntries: number;
  readonly id: number;
};

export type ProgramsOptions = {
  /** Directory of a bpf file system, made with mode 0700 when missing. Maps are pinned here by name; pinned ones are reused. */
  readonly pinDir: string;
  /** How old the agent's heartbeat may be, in nanoseconds of CLOCK_MONOTONIC. Written to `gate`; the beat is kept. */
  readonly heartbeatLimitNs: bigint;
  /** Map name → entries (bytes for `events`). A map already pinned keeps its size. */
  readonly maxEntries?: Readonly<Record<string, number>>;
};

/** The eBPF programs and their maps, loaded. `close` lets go of them; what is pinned stays, and stays attached. */
export interface Programs {
  /** The same object for the same name; closed with the programs. */
  map(name: string): KernelMap;
  /**
   * Attaches to a cgroup2 directory and pins one link per program in `pinDir` (made when missing). A link already
   * pinned there is moved to this program in place, without a gap. Throws EBUSY when the pinned link is on another
   * cgroup: detach first. `sockops-only` is for the keeper's own cgroup, when that is not below the pods'; `node` is for the
   * cgroup of a program of the node that is let in to pods, `pending` for that of a pod that has no guard yet.
   */
  attachCgroup(cgroup: string, pinDir: string, which: "all" | "sockops-only" | "node" | "pending"): void;
  /**
   * The same for the sk_lookup program and one network namespace; the link is pinned at `pinPath`.
   * @param podIdx every address of the namespace is this pod's, by a copy of the program that is loaded for it; 0: only
   * addresses in pod_by_ip are anybody's
   * @param loaded of `loadLookup` for that index; it stays the caller's. Without it the copy is loaded now, which takes milliseconds
   */
  attachNamespace(netnsFd: number, pinPath: string, podIdx: number, loaded?: number): void;
  /** Loads that copy on another thread. The descriptor of the program is the caller's. */
  loadLookup(podIdx: number): Promise<number>;
  /**
   * Gives the link pinned at `from`, by a keeper of another layout version, to `program` in place and moves its pin to
   * `to`: its target is never without a program. A link whose target is gone is unpinned. May be repeated.
   */
  moveLink(program: string, from: string, to: string): void;
  /** Detaches the link pinned at `pinPath` and removes the pin. False: there was none. */
  detach(pinPath: string): boolean;
  programs(): ProgramState[];
  maps(): MapState[];
  /**
   * BPF_PROG_TEST_RUN of the sk_lookup program, in this thread's network namespace. `pass` with the cookie of the
   * listener it assigned or 0n; `drop` when it refused.
   */
  testLookup(
    remoteAddress: string,
    remotePort: number,
    localAddress: string,
    localPort: number,
  ): { readonly verdict: "pass" | "drop"; readonly socketCookie: bigint };
  close(): void;
}
/** Loads everything. On failure the message names the program, the kernel and the verifier's last 30 lines. */
export type ProgramsClass = new (options: ProgramsOptions) => Programs;

export type NamespacePreparation = {
  /** False: the agent cannot dial the application from the client's address here; `problem` says why. */
  readonly preservesSource: boolean;
  readonly problem: string | undefined;
};

/**
 * The one thread that enters network namespaces. Calls queue and run one after the other. It aborts the process when it
 * cannot return to its own namespace. Descriptors given are not closed and must stay open until the promise settles;
 * descriptors returned are the caller's, non-blocking and close-on-exec.
 */
export interface PodThread {
  /** The namespace's cookie, as the hooks see it, and every address on its interfaces, loopback included, as text. */
  podInfo(netnsFd: number): Promise<{ readonly cookie: bigint; readonly addresses: readonly string[] }>;
  /** A listening TCP socket (SO_REUSEADDR, IPV6_V6ONLY, backlog 4096), tagged as the agent's. */
  listen(netnsFd: number, address: string, port: number, options: { readonly transparent: boolean }): Promise<number>;
  /** `count` (at most 64) unconnected TCP sockets, tagged as the agent's; `local*` also transparent and marked. */
  sockets(netnsFd: number, kind: "out4" | "out6" | "local4" | "local6", count: number): Promise<Int32Array>;
  /** Rule, route and sysctls by which the dial to the application keeps the client's address. May be repeated. */
  prepareNamespace(netnsFd: number): Promise<NamespacePreparation>;
  /**
   * Makes the addresses of one family local at which captured connections meet the agent's listener; a socket without an
   * address of its own gets `source` there, an address of the pod. May be repeated, also with another source.
   */
  routeToListener(netnsFd: number, source: string): Promise<void>;
  /** Removes rule and routes; the sysctls stay, they harm nobody. May be repeated. */
  restoreNamespace(netnsFd: number): Promise<void>;
  /**
   * Ends the connections of this pod that bypass the agent and that the maps would not allow now: joined ones at either end,
   * plaintext that its applications accepted, handshakes under way, and what went direct to a destination that the mesh has
   * now. How many. They see ECONNABORTED, their peers a reset.
   * @param mapFds of pair_verdict, in_by_port, pod_by_ip, agent_flow, joined_flow, out_by_dst, node_flow, node_access,
   *   node_cgroup and node_port, in this order
   * @param podIdx the pod's own; 0: it has left the mesh, and only joined connections end
   */
  sever(netnsFd: number, mapFds: Int32Array, podIdx: number): Promise<number>;
  /**
   * Loads the program that `survey` runs. Before the first survey.
   * @param names of the maps of `mapFds`: those of `sever`, and pod_by_netns
   * @throws SystemError where this kernel has not what the program asks for (docs/reference/kernel.md)
   */
  openSurvey(names: readonly string[], mapFds: Int32Array): void;
  /**
   * Which of these pods `sever` has to be called for: indices. One walk over the kernel's table of TCP connections for all.
   * What is not among them has nothing that the maps would not allow now; what is may have nothing either.
   * @param podIdxs of captured pods, in the order of their namespaces
   */
  survey(netnsFds: Int32Array, podIdxs: Int32Array): Promise<Int32Array>;
  /**
   * Ends the connections that bypass the agent according to `sockMapFd`, the dst_of_sock of another layout version, since
   * nobody will judge them any more: joined ones and plaintext that was let pass. How many.
   */
  endMarked(netnsFd: number, sockMapFd: number): Promise<number>;
  /** Ends the thread after what is queued. */
  close(): void;
}
/** @param sockMapFd descriptor of the map dst_of_sock, by which sockets are tagged; duplicated */
export type PodThreadClass = new (sockMapFd: number) => PodThread;

type KeeperAddon = {
  readonly FdSocket: FdSocketClass;
  readonly KernelMap: KernelMapClass;
  /** The map pinned at `path`, of whatever keeper. The caller closes it. */
  pinnedMap(path: string): KernelMap;
  readonly Programs: ProgramsClass;
  readonly PodThread: PodThreadClass;
};

const addon: KeeperAddon = createRequire(import.meta.url)("../../native/build/Release/keeper.node");

export const { FdSocket, KernelMap, pinnedMap, Programs, PodThread } = addon;
