// main thread · borrows listeners, sockets and map descriptors from the keeper and asks for enrolment; typed promises.
// Connects again by itself after the keeper has restarted. A descriptor that nobody waits for is closed here.
import { closeSync } from "node:fs";
import { Backoff } from "../backoff.ts";
import {
  LENT_MAPS,
  type LentListener,
  type LentMap,
  MAX_PACKET_FDS,
  type Notice,
  PROTOCOL_VERSION,
  type RefusedReason,
  type Reply,
  type Request,
  type SocketKind,
} from "../keeper/protocol.ts";

/** A connected SOCK_SEQPACKET socket that carries descriptors: class FdSocket of engine.node behind `connect`. */
export interface KeeperChannel {
  /** False: the keeper does not read, or has gone. */
  send(text: string, fds: readonly number[]): boolean;
  close(): void;
}
export type ChannelEvents = {
  /** The descriptors are the receiver's own. */
  readonly onPacket: (text: string, fds: readonly number[]) => void;
  /** Once; never after `close()`. */
  readonly onClosed: () => void;
};
/** Throws when nobody listens at `path`. */
export type ConnectChannel = (path: string, events: ChannelEvents) => KeeperChannel;

export type LentMaps = { readonly [Name in LentMap]: number };
export type Welcome = {
  /** Map descriptors; the receiver's own. */
  readonly maps: LentMaps;
  /** Captured already, by an earlier agent's wish: prepare them again or release them. */
  readonly pods: readonly { readonly podIdx: number; readonly uid: string }[];
};
export type PreparedPod = {
  readonly podIdx: number;
  readonly netnsCookie: bigint;
  /** Descriptors are the receiver's own. */
  readonly listeners: readonly (LentListener & { readonly fd: number })[];
  readonly captured: boolean;
  readonly preservesSource: boolean;
};
export type KeeperState = Omit<Extract<Reply, { op: "programs" }>, "id" | "op">;

export type KeeperClientOptions = {
  readonly path: string;
  readonly node: string;
  readonly connect: ConnectChannel;
  /** Connected and greeted, the first time and after every loss. */
  readonly onWelcome: (welcome: Welcome) => void;
  /** The connection is lost; listeners and sockets lent before go on working. */
  readonly onLost: (why: string) => void;
  readonly onPodGone: (podIdx: number, uid: string) => void;
  readonly requestTimeoutMs?: number;
};

/** The keeper's no, with its reason. */
export class KeeperRefused extends Error {
  readonly reason: RefusedReason;
  constructor(reason: RefusedReason, message: string) {
    super(message);
    this.name = "KeeperRefused";
    this.reason = reason;
  }
}
/** No keeper, or it went away before it answered. Whether it acted is unknown: every request may be repeated. */
export class KeeperLost extends Error {
  constructor(message: string) {
    super(message);
    this.name = "KeeperLost";
  }
}

type Waiting = {
  /** Descriptors its reply may bring. */
  readonly weight: number;
  readonly resolve: (answer: { readonly reply: Reply; readonly fds: readonly number[] }) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
};
type RequestBody = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;

/**
 * Descriptors under way to us at once. The keeper's socket holds 256 before it takes us for one that does not read, and
 * this loop may be busy for a moment; what is asked beyond that waits here.
 */
const MAX_FDS_UNDER_WAY = 192;
/** Listeners of one pod: two families of two, and one for each address. */
const PREPARE_FDS = 8;

const closeAll = (fds: readonly number[]): void => {
  for (const fd of fds) closeSync(fd);
};

/** The keeper is the more trusted side: what a reply must hold is checked where it is used. */
function parseMessage(text: string): Reply | Notice | undefined {
  try {
    const message: unknown = JSON.parse(text);
    return typeof message === "object" && message !== null ? (message as Reply | Notice) : undefined;
  } catch {
    return undefined; // The caller ends the connection.
  }
}

function fdsOf(body: RequestBody): number {
  if (body.op === "sockets") return body.count;
  if (body.op === "prepare") return PREPARE_FDS;
  return body.op === "hello" ? LENT_MAPS.length : 0;
}

export class KeeperClient {
  readonly #options: KeeperClientOptions;
  readonly #waiting = new Map<number, Waiting>();
  /** Not yet sent. */
  readonly #queue: { readonly body: RequestBody; readonly waiting: Omit<Waiting, "timer"> }[] = [];
  #fdsUnderWay = 0;
  readonly #backoff = new Backoff({ baseMs: 20, capMs: 1_000 });
  #channel: KeeperChannel | undefined;
  #welcomed = false;
  #retry: NodeJS.Timeout | undefined;
  #nextId = 1;
  #closed = false;

  constructor(options: KeeperClientOptions) {
    this.#options = options;
  }

  /** Greeted, so that requests can be made. */
  get connected(): boolean {
    return this.#welcomed;
  }

  /** Connects now, or as soon as there is a keeper. */
  start(): void {
    if (this.#closed || this.#channel) return;
    try {
      const channel: KeeperChannel = this.#options.connect(this.#options.path, {
        onPacket: (text, fds) => this.#packet(channel, text, fds),
        onClosed: () => this.#lost(channel, "the keeper closed the connection"),
      });
      this.#channel = channel;
      void this.#greet(channel);
    } catch {
      this.#tryLater(); // Nobody listens there yet; onLost said so when it was lost, and a first start just waits.
    }
  }

  /** Rejects everything that waits; lent descriptors stay the receiver's. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    const channel = this.#channel;
    this.#channel = undefined;
    channel?.close();
    this.#forsake("the agent ends");
  }

  async prepare(uid: string, addresses: readonly string[]): Promise<PreparedPod> {
    const { reply, fds } = await this.#ask({ op: "prepare", uid, addresses });
    if (reply.op !== "prepared" || reply.listeners.length !== fds.length) throw this.#broken(fds, "prepared");
    return {
      podIdx: reply.podIdx,
      netnsCookie: BigInt(reply.netnsCookie),
      listeners: reply.listeners.map((listener, index) => ({ ...listener, fd: fds[index] ?? -1 })),
      captured: reply.captured,
      preservesSource: reply.preservesSource,
    };
  }

  async capture(podIdx: number, failDirect: boolean): Promise<void> {
    await this.#askPlain({ op: "capture", podIdx, failDirect });
  }

  async release(podIdx: number): Promise<void> {
    await this.#askPlain({ op: "release", podIdx });
  }

  /** Ends the pod's joined connections of which pair_verdict says END. */
  async sever(podIdx: number): Promise<void> {
    await this.#askPlain({ op: "sever", podIdx });
  }

  /** At most `count` descriptors, the receiver's own; in as many packets as that takes. */
  async sockets(podIdx: number, kind: SocketKind, count: number): Promise<Int32Array> {
    const { reply, fds } = await this.#ask({ op: "sockets", podIdx, kind, count: Math.min(count, MAX_PACKET_FDS) });
    if (reply.op !== "sockets" || reply.podIdx !== podIdx || reply.kind !== kind || fds.length > count) {
      throw this.#broken(fds, "sockets");
    }
    if (count <= MAX_PACKET_FDS) return Int32Array.from(fds);
    // What the first packet brought is of use, whether or not there will be more.
    const more = await this.sockets(podIdx, kind, count - MAX_PACKET_FDS).catch(() => []);
    return Int32Array.from([...fds, ...more]);
  }

  async programs(): Promise<KeeperState> {
    const { reply, fds } = await this.#ask({ op: "programs" });
    if (reply.op !== "programs" || fds.length > 0) throw this.#broken(fds, "programs");
    return { programs: reply.programs, maps: reply.maps };
  }

  async #greet(channel: KeeperChannel): Promise<void> {
    try {
      const hello: RequestBody = { op: "hello", version: PROTOCOL_VERSION, node: this.#options.node };
      const { reply, fds } = await this.#ask(hello);
      if (reply.op !== "welcome" || fds.length !== LENT_MAPS.length) throw this.#broken(fds, "welcome");
      const maps: { [Name in LentMap]?: number } = {};
      for (const [index, name] of LENT_MAPS.entries()) maps[name] = fds[index] ?? -1;
      this.#welcomed = true;
      this.#backoff.reset();
      this.#options.onWelcome({ maps: maps as LentMaps, pods: reply.pods }); // Every name was set above.
    } catch (error) {
      this.#lost(channel, error instanceof Error ? error.message : String(error));
    }
  }

  #ask(body: RequestBody): Promise<{ readonly reply: Reply; readonly fds: readonly number[] }> {
    if (this.#channel === undefined || (!this.#welcomed && body.op !== "hello")) {
      return Promise.reject(new KeeperLost("no keeper"));
    }
    const weight = fdsOf(body);
    return new Promise((resolve, reject) => {
      this.#queue.push({ body, waiting: { weight, resolve, reject } });
      this.#sendWaiting();
    });
  }

  /** In the order asked. One request alone is always sent, whatever it weighs. */
  #sendWaiting(): void {
    for (let next = this.#queue[0]; next !== undefined && this.#channel !== undefined; next = this.#queue[0]) {
      const { body, waiting } = next;
      if (this.#fdsUnderWay > 0 && this.#fdsUnderWay + waiting.weight > MAX_FDS_UNDER_WAY) return;
      this.#queue.shift();
      const id = this.#nextId;
      this.#nextId = id >= 0x7fff_ffff ? 1 : id + 1;
      const timer = setTimeout(() => {
        this.#settle(id)?.reject(new KeeperLost(`the keeper did not answer ${body.op} in time`));
      }, this.#options.requestTimeoutMs ?? 10_000);
      this.#waiting.set(id, { ...waiting, timer });
      this.#fdsUnderWay += waiting.weight;
      if (!this.#channel.send(JSON.stringify({ ...body, id }), []))
        this.#lost(this.#channel, "the keeper does not read");
    }
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    this.#fdsUnderWay -= waiting.weight;
    clearTimeout(waiting.timer);
    setImmediate(() => this.#sendWaiting());
    return waiting;
  }

  async #askPlain(body: RequestBody): Promise<void> {
    const { reply, fds } = await this.#ask(body);
    if (reply.op !== "done" || fds.length > 0) throw this.#broken(fds, "done");
  }

  #packet(channel: KeeperChannel, text: string, fds: readonly number[]): void {
    const message = channel === this.#channel ? parseMessage(text) : undefined;
    const waiting = message === undefined ? undefined : this.#settle(message.id);
    // Only a reply that somebody waits for may keep what came with it.
    if (message === undefined || message.op === "pod-gone" || message.op === "refused" || waiting === undefined) {
      closeAll(fds);
    }
    if (message === undefined) this.#lost(channel, "the keeper sent no JSON object");
    else if (message.op === "pod-gone") this.#options.onPodGone(message.podIdx, message.uid);
    else if (waiting !== undefined) {
      if (message.op === "refused") waiting.reject(new KeeperRefused(message.reason, message.message));
      else waiting.resolve({ reply: message, fds });
    }
  }

  /** The keeper's answer is not what the protocol says: nothing it holds can be relied on, so begin anew. */
  #broken(fds: readonly number[], expected: string): KeeperLost {
    closeAll(fds);
    const why = `the keeper's answer is no ${expected}`;
    if (this.#channel) this.#lost(this.#channel, why);
    return new KeeperLost(why);
  }

  #lost(channel: KeeperChannel, why: string): void {
    if (channel !== this.#channel) return;
    this.#channel = undefined;
    const told = this.#welcomed;
    channel.close();
    this.#forsake(why);
    if (told) this.#options.onLost(why);
    this.#tryLater();
  }

  #forsake(why: string): void {
    this.#welcomed = false;
    for (const id of [...this.#waiting.keys()]) this.#settle(id)?.reject(new KeeperLost(why));
    for (const { waiting } of this.#queue.splice(0)) waiting.reject(new KeeperLost(why));
  }

  #tryLater(): void {
    if (!this.#closed) this.#retry = setTimeout(() => this.start(), this.#backoff.nextMs());
  }
}
