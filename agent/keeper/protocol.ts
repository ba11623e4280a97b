// any thread · the messages between them, one JSON object per SOCK_SEQPACKET packet, descriptors by SCM_RIGHTS.
// Imports no code. The agent speaks first; every request carries an id and gets exactly one reply with it.
import type { listenerKinds, socketKinds } from "../abi.ts";

/** Largest packet either side accepts, in bytes; longer ones end the connection. */
export const MAX_PACKET_BYTES = 65_536;
/** Most descriptors in one packet (the kernel's SCM_MAX_FD is 253). */
export const MAX_PACKET_FDS = 64;
export const PROTOCOL_VERSION = 8;

/**
 * What a pooled socket is for. `out`: unmarked, for tunnels and passthrough from the pod's namespace.
 * `local`: marked and IP_TRANSPARENT, for the dial to the application from the client's address.
 */
export type SocketKind = (typeof socketKinds)[number];
export type ListenerKind = (typeof listenerKinds)[number];

/** One listening socket of a pod, held by the keeper; its descriptor travels in the same position of the packet. */
export type LentListener = {
  readonly kind: ListenerKind;
  readonly family: 4 | 6;
  readonly address: string;
  readonly port: number;
};

/** Maps lent with `welcome`, in this order. */
export const LENT_MAPS = [
  "dst_of_flow",
  "in_by_port",
  "out_by_dst",
  "gate",
  "events",
  "counters",
  "traffic",
  "pair_verdict",
  "vip_backends",
  "node_port",
] as const;
export type LentMap = (typeof LENT_MAPS)[number];

/**
 * What an agent is to its node. At most one agent holds the node: it beats, reads the event ring, owns the admin socket, writes the
 * tables and asks for changes of pods.
 * - new: it has just started, and says so in its first `hello` alone
 * - waiting: another agent held the node when it came; it asks for the node with `take`
 * - holding
 * - yielded: it held the node until another agent took it, and takes it again if that agent ends too soon. Until it is settled it
 *   accepts connections and beats
 * - leaving: it never holds the node again; it needs sockets for the connections that it has
 */
export const AGENT_ROLES = ["new", "waiting", "holding", "yielded", "leaving"] as const;
export type AgentRole = (typeof AGENT_ROLES)[number];
export type WelcomedRole = Exclude<AgentRole, "new">;

/**
 * How agents and keeper call a pod. Its index is of a single namespace of the pod as long as a keeper lives; a keeper that starts again may
 * give it to another pod. What an agent asks for a pod touches that pod alone: the keeper refuses when the two are not of the same pod.
 */
export type PodRef = { readonly podIdx: number; readonly uid: string };

export type Request =
  /** `role`: what the agent is by its own account; a keeper that comes again learns from it who held the node. */
  | {
      readonly id: number;
      readonly op: "hello";
      readonly version: number;
      readonly node: string;
      readonly role: AgentRole;
    }
  /**
   * A waiting agent has read the mesh and asks for the node; a yielded agent asks after `vacant`. Answered by `taken` when the agent
   * that held the node has yielded, has gone, or has not answered in time.
   */
  | { readonly id: number; readonly op: "take" }
  /** The answer to `yield`: from here on the agent writes no table and asks for no change. */
  | { readonly id: number; readonly op: "yielded" }
  /** The agent that holds the node serves each pod that it can serve, and beats. */
  | { readonly id: number; readonly op: "serving" }
  /** The agent holds the node no more and does not want it again. */
  | { readonly id: number; readonly op: "leave" }
  /**
   * Allot an index, and refuse what comes into the pod's namespace and what it dials, whenever there is such a namespace and the pod
   * is not captured; until it is released, or captured with failDirect. The keeper remembers it, and after a reboot begins with
   * it. `workload`: what the agent calls the pod. Idempotent.
   */
  | { readonly id: number; readonly op: "guard"; readonly uid: string; readonly workload: string }
  /**
   * Find the pod, open and lend its listeners, allot an index; capture stays off. Idempotent: an enrolled pod is lent again.
   * `addresses`: none when nobody has named the pod's yet; then they are those that its namespace has.
   */
  | { readonly id: number; readonly op: "prepare"; readonly uid: string; readonly addresses: readonly string[] }
  /** Of a prepared or captured pod, in place: the new addresses come before the others go. */
  | ({ readonly id: number; readonly op: "set-addresses"; readonly addresses: readonly string[] } & PodRef)
  /**
   * What the agent calls a pod that the keeper holds, as with `guard`: the keeper remembers it until the pod is released or has gone. A
   * keeper of this version that does not know it yet answers bad-request.
   */
  | ({ readonly id: number; readonly op: "name"; readonly workload: string } & PodRef)
  /** What is known of a pod that an earlier agent guarded or captured. */
  | ({ readonly id: number; readonly op: "known-of" } & PodRef)
  /** Turn capture on. The agent asks for it once it can serve: verdicts written, listeners polled. */
  | ({ readonly id: number; readonly op: "capture"; readonly failDirect: boolean } & PodRef)
  /** Capture and guard off, sk_lookup link and listeners gone, index free. Connections already captured go on. */
  | ({ readonly id: number; readonly op: "release" } & PodRef)
  /**
   * `release` and `guard` with no moment in between in which the pod is neither captured nor guarded. Answered by `guarded`. A keeper of
   * this version that does not know it yet answers bad-request.
   */
  | ({ readonly id: number; readonly op: "release-to-guard"; readonly workload: string } & PodRef)
  | ({ readonly id: number; readonly op: "sockets"; readonly kind: SocketKind; readonly count: number } & PodRef)
  /**
   * End the connections of a captured pod that bypass the agent and that the maps would not allow now, at this end. The keeper
   * reads the maps and asks the kernel for the sockets; nothing that the agent remembers is relied upon.
   */
  | ({ readonly id: number; readonly op: "sever" } & PodRef)
  /** For operators: which programs of the node are let in to pods. */
  | { readonly id: number; readonly op: "node-access" }
  /** For `orlop get bpf`: what is loaded, attached and how full the maps are. */
  | { readonly id: number; readonly op: "programs" };

/** What the container runtime calls a pod that begins, as the kubelet has it (CNI_ARGS: K8S_POD_NAMESPACE, K8S_POD_NAME). */
export type RuntimeName = { readonly namespace: string; readonly name: string };

/** A pod that the keeper captures or guards. `starting`: as with `pod-starting`; absent: a process of it runs, or is awaited. */
export type PresentPod = PodRef & { readonly starting?: boolean; readonly called?: RuntimeName };

export type Reply =
  /**
   * Descriptors: one per LENT_MAPS name. `pods` are those already captured or guarded: an agent that holds the node prepares each of
   * them again or releases it. `role`: what the agent is from here on.
   */
  | {
      readonly id: number;
      readonly op: "welcome";
      readonly version: number;
      readonly role: WelcomedRole;
      readonly pods: readonly PresentPod[];
    }
  /** The agent holds the node. Descriptors and `pods` as with `welcome`. */
  | {
      readonly id: number;
      readonly op: "taken";
      readonly pods: readonly PresentPod[];
    }
  | { readonly id: number; readonly op: "guarded"; readonly podIdx: number }
  /** What an agent called the pod in `guard` or `name`, and the addresses of its capture; empty: not known. */
  | { readonly id: number; readonly op: "known"; readonly workload: string; readonly addresses: readonly string[] }
  /** Descriptors: one per listener, same order. netnsCookie as decimal text (64 bit). */
  | {
      readonly id: number;
      readonly op: "prepared";
      readonly podIdx: number;
      readonly addresses: readonly string[];
      readonly netnsCookie: string;
      readonly listeners: readonly LentListener[];
      readonly captured: boolean;
      readonly preservesSource: boolean;
    }
  | { readonly id: number; readonly op: "done" }
  /** Descriptors: the sockets, at most `count`. */
  | { readonly id: number; readonly op: "sockets"; readonly podIdx: number; readonly kind: SocketKind }
  | {
      readonly id: number;
      readonly op: "programs";
      readonly programs: readonly ProgramView[];
      readonly maps: readonly MapView[];
      readonly pods: readonly PodUsageView[];
    }
  | ({ readonly id: number; readonly op: "node-access" } & NodeAccessView)
  | { readonly id: number; readonly op: "refused"; readonly reason: RefusedReason; readonly message: string };

/**
 * Sent unasked, id 0, to every agent.
 * - pod-gone: the pod's namespace has gone, and the keeper has released the pod
 * - pod-guarded: the keeper holds a guard for the pod under this index, or has found the pod whose guard it held
 * - pod-found: the pod was there when an agent asked about it, and has the index of that answer. It may have begun just then, or long
 *   ago. An agent of an earlier release does not know this notice, and does not count the pod
 * - pod-starting: the CNI plug-in has begun the pod, and waits until the agent captures it, or releases it as a pod that the mesh knows
 *   and does not want. Meanwhile the keeper holds a guard for it. An agent of an earlier release does not know this notice: such a
 *   pod is captured when it asks for it
 */
export type PodNotice = PodRef & {
  readonly id: 0;
  readonly op: "pod-gone" | "pod-guarded" | "pod-found" | "pod-starting";
  /** Of a pod-found, and of a pod-guarded by which an awaited pod was found. */
  readonly found?: AwaitedFound;
  /** Of a pod-starting. A keeper of an earlier release does not say it. */
  readonly called?: RuntimeName;
};
/**
 * What a pod had when it was first refused everything: no process, so that its cgroup refused; its first process alone; or others already,
 * of which one may have dialled.
 */
export type AwaitedFound = "expected" | "first-process" | "late";
/**
 * Sent unasked, id 0, to a single agent.
 * - yield: another agent is ready to hold the node: stop writing and answer `yielded`
 * - vacant: nobody holds the node: ask for it with `take`
 * - settled: the agent that took the node serves it and has lived: accept nothing more, and finish what is open
 * - reread: an agent that may have written tables after the holder had read them has stopped: ask with `take`, and read them again
 */
export type HolderNotice = { readonly id: 0; readonly op: "yield" | "vacant" | "settled" | "reread" };
export type Notice = PodNotice | HolderNotice;

export type RefusedReason =
  | "bad-request"
  | "pod-not-found"
  | "host-network"
  /** The pod's namespace has no such address. */
  | "address-mismatch"
  /** The namespace has the address, and another enrolled pod is known under it. */
  | "address-taken"
  /** Another pod's namespace: what is captured in it could not be distinguished. */
  | "namespace-shared"
  /** An earlier agent still holds the pod's listeners: close them and ask again. */
  | "listeners-held"
  | "not-prepared"
  /** Only the agent that holds the node may ask for this. */
  | "not-holding"
  /** Another agent is just taking the node: ask again. */
  | "busy"
  | "limit"
  | "kernel";

export type ProgramView = {
  readonly name: string;
  readonly attach: string;
  readonly pin: string;
  readonly tag: string;
  readonly runs: number;
  readonly runNs: number;
};
/** What one pod holds of the maps that all pods share; orlop_abi.h has the bounds. */
export type PodUsageView = {
  readonly podIdx: number;
  readonly uid: string;
  /** Captured connections that the agent's listener has not established yet. */
  readonly flows: number;
  /** Joined connections that the other pod has not established yet. */
  readonly joined: number;
  /** The agent's dials to the pod's applications that are not established yet. */
  readonly dials: number;
  /** Dials of programs of the node to the pod that are not established yet. */
  readonly nodeDials: number;
  /** Rows of sums. */
  readonly traffic: number;
  /** Connects that were refused since `flows` was at its bound. */
  readonly refused: number;
  readonly eventsLost: number;
};
/** Programs of the node that reach its pods past their policy. */
export type NodeAccessView = {
  readonly mode: "none" | "kubelet" | "node";
  readonly programs: readonly {
    /** `named`: the node's configuration names its cgroup. `node`: every process of the node. */
    readonly role: "kubelet" | "named" | "node";
    /** The process's name, or what the configuration calls it. */
    readonly name: string;
    /** null: it is let in by its cgroup, whatever process is there. */
    readonly pid: number | null;
    readonly cgroup: string;
  }[];
  /** Why something that the configuration allows is not let in; empty: nothing is wrong. */
  readonly problem: string;
};
/** entries -1: this kind of map has none to count. */
export type MapView = { readonly name: string; readonly entries: number; readonly maxEntries: number };
