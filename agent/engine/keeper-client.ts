// main thread · borrows listeners, sockets and map descriptors from the keeper and asks it to enroll pods; typed promises. The
// client connects again by itself after the keeper has restarted.
import { Backoff } from "../attempts/backoff.ts";
import {
  type AgentRole,
  LENT_MAPS,
  type LentListener,
  type LentMap,
  MAX_PACKET_FDS,
  type NodeAccessView,
  type Notice,
  type PodNotice,
  type PodRef,
  PROTOCOL_VERSION,
  type Reply,
  type RuntimeName,
  type SocketKind,
  type WelcomedRole,
} from "../keeper/protocol.ts";
import {
  type AnsweredRequest,
  type ConnectChannel,
  closeAll,
  KeeperLost,
  KeeperSession,
  type RequestBody,
} from "./keeper-session.ts";

export type LentMaps = { readonly [Name in LentMap]: number };
/** A pod that the kernel captures because an earlier agent asked for it. */
/** `starting`: the CNI plug-in has begun the pod, and no process of it runs yet. */
export type CapturedPod = PodRef & { readonly starting?: boolean; readonly called?: RuntimeName };
/** What the agent that holds the node begins with. */
export type Holding = {
  /** Map descriptors; the receiver owns them. */
  readonly maps: LentMaps;
  /** The agent that holds the node must prepare each of these again or release it. */
  readonly pods: readonly CapturedPod[];
};
export type Welcome = Holding & {
  /** What the agent is from here on. */
  readonly role: WelcomedRole;
};
export type PreparedPod = {
  readonly podIdx: number;
  readonly addresses: readonly string[];
  readonly netnsCookie: bigint;
  /** The receiver owns the descriptors. */
  readonly listeners: readonly (LentListener & { readonly fd: number })[];
  readonly captured: boolean;
  readonly preservesSource: boolean;
};
export type KeeperPrograms = Omit<Extract<Reply, { op: "programs" }>, "id" | "op">;

export type KeeperClientOptions = {
  readonly path: string;
  readonly node: string;
  readonly connect: ConnectChannel;
  /** What the agent is by its own account, asked for at each hello. */
  readonly role: () => AgentRole;
  readonly requestTimeoutMs?: number;
};

export type KeeperEvents = {
  /** The keeper has welcomed the agent: the first time, and again after every loss. */
  readonly onWelcome: (welcome: Welcome) => void;
  /** The connection is lost; listeners and sockets that the keeper lent go on working. */
  readonly onLost: (why: string) => void;
  readonly onPodGone: (podIdx: number, uid: string) => void;
  /** The keeper holds a guard for the pod under this index, or has found the pod whose guard it held. */
  readonly onPodGuarded: (podIdx: number, uid: string, found: PodNotice["found"]) => void;
  readonly onPodFound: (uid: string, found: PodNotice["found"]) => void;
  /** The CNI plug-in waits for the pod to be captured under this index, or released. */
  readonly onPodStarting: (podIdx: number, uid: string, called?: RuntimeName) => void;
  /** Another agent is ready to hold the node: stop writing, then call `yielded`. */
  readonly onYield: () => void;
  /** Nobody holds the node: call `take`. */
  readonly onVacant: () => void;
  /** The agent that took the node serves it: accept nothing more. */
  readonly onSettled: () => void;
  /** Another agent may have written tables after this agent had read them, and has stopped: call `take`, and read them again. */
  readonly onReread: () => void;
};

type Link =
  | { readonly state: "idle" }
  /** Connected, and the keeper has not answered `hello` yet. `why` there was no welcome before. */
  | { readonly state: "greeting"; readonly session: KeeperSession; readonly why: string }
  | { readonly state: "welcomed"; readonly session: KeeperSession }
  /** Without a keeper until the timer fires. */
  | { readonly state: "retrying"; readonly timer: NodeJS.Timeout; readonly why: string }
  | { readonly state: "closed" };

const NOT_YET = "not connected yet";

export class KeeperClient {
  readonly #options: KeeperClientOptions;
  readonly #backoff = new Backoff({ baseMs: 20, capMs: 1_000 });
  #link: Link = { state: "idle" };

  constructor(options: KeeperClientOptions) {
    this.#options = options;
  }

  /** The keeper has welcomed the agent, so that it accepts requests. */
  get connected(): boolean {
    return this.#link.state === "welcomed";
  }

  /** Why there is no connection, for an operator; empty when there is. */
  get trouble(): string {
    switch (this.#link.state) {
      case "welcomed":
        return "";
      case "idle":
        return NOT_YET;
      case "closed":
        return "the agent ends";
      default:
        return this.#link.why;
    }
  }

  /** Connects now, or as soon as a keeper listens, and again after each loss. Only the first call has an effect. */
  start(events: KeeperEvents): void {
    if (this.#link.state === "idle") this.#connect(events, NOT_YET);
  }

  /** Rejects every request that waits. The receivers keep the descriptors that they were lent. */
  close(): void {
    const link = this.#link;
    this.#link = { state: "closed" };
    if (link.state === "retrying") clearTimeout(link.timer);
    if (link.state === "greeting" || link.state === "welcomed") link.session.close("the agent ends");
  }

  /**
   * From here on, and in a later keeper too, the pod refuses what no agent serves, until it is released or captured with
   * failDirect. Resolves to its index.
   */
  async guard(uid: string, workload: string): Promise<number> {
    const { reply, fds, broken } = await this.#ask({ op: "guard", uid, workload });
    if (reply.op !== "guarded" || fds.length > 0) throw broken("guarded");
    return reply.podIdx;
  }

  /** In place, of a prepared or captured pod. */
  async setAddresses({ podIdx, uid }: PodRef, addresses: readonly string[]): Promise<void> {
    await this.#askForDone({ op: "set-addresses", podIdx, uid, addresses });
  }

  /** What this agent calls a pod that the keeper holds; kept for the next agent. */
  async name({ podIdx, uid }: PodRef, workload: string): Promise<void> {
    await this.#askForDone({ op: "name", podIdx, uid, workload });
  }

  /** What an agent called the pod, and the addresses of its capture; empty: the keeper does not know. */
  async knownOf({
    podIdx,
    uid,
  }: PodRef): Promise<{ readonly workload: string; readonly addresses: readonly string[] }> {
    const { reply, fds, broken } = await this.#ask({ op: "known-of", podIdx, uid });
    if (reply.op !== "known" || fds.length > 0) throw broken("known");
    return { workload: reply.workload, addresses: reply.addresses };
  }

  /** @param addresses none: those that the pod's namespace has */
  async prepare(uid: string, addresses: readonly string[]): Promise<PreparedPod> {
    const { reply, fds, broken } = await this.#ask({ op: "prepare", uid, addresses });
    if (reply.op !== "prepared" || reply.listeners.length !== fds.length) throw broken("prepared");
    return {
      podIdx: reply.podIdx,
      addresses: reply.addresses,
      netnsCookie: BigInt(reply.netnsCookie),
      listeners: reply.listeners.map((listener, index) => ({ ...listener, fd: fds[index] ?? -1 })),
      captured: reply.captured,
      preservesSource: reply.preservesSource,
    };
  }

  async capture({ podIdx, uid }: PodRef, failDirect: boolean): Promise<void> {
    await this.#askForDone({ op: "capture", podIdx, uid, failDirect });
  }

  async release({ podIdx, uid }: PodRef): Promise<void> {
    await this.#askForDone({ op: "release", podIdx, uid });
  }

  /** As `release`, then `guard`, with no moment in between. Resolves to the pod's index, which may be another. */
  async releaseToGuard({ podIdx, uid }: PodRef, workload: string): Promise<number> {
    const { reply, fds, broken } = await this.#ask({ op: "release-to-guard", podIdx, uid, workload });
    if (reply.op !== "guarded" || fds.length > 0) throw broken("guarded");
    return reply.podIdx;
  }

  /** Ends the pod's joined connections whose entry in pair_verdict says END. */
  async sever({ podIdx, uid }: PodRef): Promise<void> {
    await this.#askForDone({ op: "sever", podIdx, uid });
  }

  /** At most `count` descriptors, which the receiver owns; in as many packets as that takes. */
  async sockets({ podIdx, uid }: PodRef, kind: SocketKind, count: number): Promise<Int32Array> {
    const request = { op: "sockets", podIdx, uid, kind, count: Math.min(count, MAX_PACKET_FDS) } as const;
    const { reply, fds, broken } = await this.#ask(request);
    if (reply.op !== "sockets" || reply.podIdx !== podIdx || reply.kind !== kind || fds.length > count) {
      throw broken("sockets");
    }
    if (count <= MAX_PACKET_FDS) return Int32Array.from(fds);
    // The sockets of the first packet are of use, whether or not there will be more.
    const more = await this.sockets({ podIdx, uid }, kind, count - MAX_PACKET_FDS).catch(() => []);
    return Int32Array.from([...fds, ...more]);
  }

  /** Resolves when this agent holds the node. Rejects with KeeperRefused when another agent is just taking it. */
  async take(): Promise<Holding> {
    const { reply, fds, broken } = await this.#ask({ op: "take" });
    if (reply.op !== "taken" || fds.length !== LENT_MAPS.length) throw broken("taken");
    return { maps: lentMaps(fds), pods: reply.pods };
  }

  /** After `onYield`, when this agent has stopped writing. */
  async yielded(): Promise<void> {
    await this.#askForDone({ op: "yielded" });
  }

  /** This agent holds the node, serves each pod that it can serve, and beats. */
  async serving(): Promise<void> {
    await this.#askForDone({ op: "serving" });
  }

  /** This agent never holds the node again. */
  async leave(): Promise<void> {
    await this.#askForDone({ op: "leave" });
  }

  /** Which programs of the node are let in to pods. */
  async nodeAccess(): Promise<NodeAccessView> {
    const { reply, fds, broken } = await this.#ask({ op: "node-access" });
    if (reply.op !== "node-access" || fds.length > 0) throw broken("node-access");
    return { mode: reply.mode, programs: reply.programs, problem: reply.problem };
  }

  async programs(): Promise<KeeperPrograms> {
    const { reply, fds, broken } = await this.#ask({ op: "programs" });
    if (reply.op !== "programs" || fds.length > 0) throw broken("programs");
    return { programs: reply.programs, maps: reply.maps, pods: reply.pods };
  }

  #connect(events: KeeperEvents, why: string): void {
    try {
      const session = new KeeperSession({
        path: this.#options.path,
        connect: this.#options.connect,
        requestTimeoutMs: this.#options.requestTimeoutMs ?? 10_000,
        onNotice: (notice) => hear(notice, events),
        onEnded: (reason) => this.#ended(events, reason),
      });
      this.#link = { state: "greeting", session, why };
      void this.#greet(session, events);
    } catch {
      this.#tryLater(events, why); // No keeper listens there yet. A first start just waits, and after a loss onLost has said so.
    }
  }

  async #greet(session: KeeperSession, events: KeeperEvents): Promise<void> {
    try {
      const answer = await session.ask({
        op: "hello",
        version: PROTOCOL_VERSION,
        node: this.#options.node,
        role: this.#options.role(),
      });
      const { reply, fds, broken } = withBroken(session, answer);
      if (reply.op !== "welcome" || fds.length !== LENT_MAPS.length) throw broken("welcome");
      this.#link = { state: "welcomed", session };
      this.#backoff.reset();
      events.onWelcome({ maps: lentMaps(fds), pods: reply.pods, role: reply.role });
    } catch (error) {
      session.end(error instanceof Error ? error.message : String(error));
    }
  }

  async #ask(body: RequestBody): Promise<AnsweredRequest & { readonly broken: (expected: string) => KeeperLost }> {
    if (this.#link.state !== "welcomed") throw new KeeperLost("no keeper");
    const { session } = this.#link;
    return withBroken(session, await session.ask(body));
  }

  async #askForDone(body: RequestBody): Promise<void> {
    const { reply, fds, broken } = await this.#ask(body);
    if (reply.op !== "done" || fds.length > 0) throw broken("done");
  }

  #ended(events: KeeperEvents, why: string): void {
    const link = this.#link;
    if (link.state === "welcomed") {
      this.#tryLater(events, why);
      events.onLost(why);
    } else if (link.state === "greeting") this.#tryLater(events, link.why);
  }

  #tryLater(events: KeeperEvents, why: string): void {
    const timer = setTimeout(() => this.#connect(events, why), this.#backoff.nextMs());
    this.#link = { state: "retrying", timer, why };
  }
}

function hear(notice: Notice, events: KeeperEvents): void {
  switch (notice.op) {
    case "pod-gone":
      events.onPodGone(notice.podIdx, notice.uid);
      return;
    case "pod-guarded":
      events.onPodGuarded(notice.podIdx, notice.uid, notice.found);
      return;
    case "pod-found":
      events.onPodFound(notice.uid, notice.found);
      return;
    case "pod-starting":
      events.onPodStarting(notice.podIdx, notice.uid, notice.called);
      return;
    case "yield":
      events.onYield();
      return;
    case "vacant":
      events.onVacant();
      return;
    case "settled":
      events.onSettled();
      return;
    case "reread":
      events.onReread();
      return;
  }
}

function lentMaps(fds: readonly number[]): LentMaps {
  const maps: { [Name in LentMap]?: number } = {};
  for (const [index, name] of LENT_MAPS.entries()) maps[name] = fds[index] ?? -1;
  return maps as LentMaps; // The loop has set every name.
}

/**
 * `broken`: the answer is not what the protocol says, so the agent relies on nothing of this session and begins a new session.
 */
function withBroken(session: KeeperSession, { reply, fds }: AnsweredRequest) {
  const broken = (expected: string): KeeperLost => {
    closeAll(fds);
    const why = `the keeper's answer is no ${expected}`;
    session.end(why);
    return new KeeperLost(why);
  };
  return { reply, fds, broken };
}
