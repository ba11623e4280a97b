// main thread · a single connection to the keeper, from connect to its end: requests with their replies, and how many
// descriptors may be on their way. It closes every descriptor that no request waits for.
import { closeSync } from "node:fs";
import { LENT_MAPS, type Notice, type RefusedReason, type Reply, type Request } from "../keeper/protocol.ts";

/** A connected SOCK_SEQPACKET socket that carries descriptors: class FdSocket of engine.node behind `connect`. */
export interface KeeperChannel {
  /** False: the keeper does not read, or has gone. */
  send(text: string, fds: readonly number[]): boolean;
  close(): void;
}
export type ChannelEvents = {
  /** The receiver owns the descriptors. */
  readonly onPacket: (text: string, fds: readonly number[]) => void;
  /** Comes at most once, and never after `close()`. */
  readonly onClosed: () => void;
};
/** Throws when no keeper listens at `path`. */
export type ConnectChannel = (path: string, events: ChannelEvents) => KeeperChannel;

/** The keeper refused a request, with its reason. */
export class KeeperRefused extends Error {
  readonly reason: RefusedReason;
  constructor(reason: RefusedReason, message: string) {
    super(message);
    this.name = "KeeperRefused";
    this.reason = reason;
  }
}
/** There is no keeper, or it went away before it answered. Whether it acted is unknown: every request may be repeated. */
export class KeeperLost extends Error {
  constructor(message: string) {
    super(message);
    this.name = "KeeperLost";
  }
}

export type RequestBody = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;
export type AnsweredRequest = { readonly reply: Reply; readonly fds: readonly number[] };

export type KeeperSessionOptions = {
  readonly path: string;
  readonly connect: ConnectChannel;
  readonly requestTimeoutMs: number;
  readonly onNotice: (notice: Notice) => void;
  /** The session ended by itself. Comes at most once, and never after `close()`. */
  readonly onEnded: (why: string) => void;
};

type WaitingRequest = {
  readonly body: RequestBody;
  /** So many descriptors its reply may bring. */
  readonly weight: number;
  readonly resolve: (answer: AnsweredRequest) => void;
  readonly reject: (error: Error) => void;
};
type SentRequest = WaitingRequest & { readonly timer: NodeJS.Timeout };

/**
 * So many descriptors may be on their way to the agent. The keeper's socket holds 256 before the keeper concludes that the agent
 * does not read, and the agent's loop may be busy for a moment; requests beyond that wait here.
 */
const MAX_FDS_UNDER_WAY = 192;
/** A pod has two listeners on loopback in each of two families, and further listeners on its own addresses. */
const PREPARE_FDS = 8;

export class KeeperSession {
  readonly #options: KeeperSessionOptions;
  readonly #channel: KeeperChannel;
  readonly #sent = new Map<number, SentRequest>();
  readonly #queue: WaitingRequest[] = [];
  #fdsUnderWay = 0;
  #nextId = 1;
  #state: { readonly name: "open" } | { readonly name: "ended"; readonly why: string } = { name: "open" };

  /** Connects. Throws when no keeper listens at the path. */
  constructor(options: KeeperSessionOptions) {
    this.#options = options;
    this.#channel = options.connect(options.path, {
      onPacket: (text, fds) => this.#packet(text, fds),
      onClosed: () => this.end("the keeper closed the connection"),
    });
  }

  /** Resolves to the keeper's reply. Rejects with KeeperRefused, or with KeeperLost when no reply came. */
  ask(body: RequestBody): Promise<AnsweredRequest> {
    if (this.#state.name === "ended") return Promise.reject(new KeeperLost(this.#state.why));
    return new Promise((resolve, reject) => {
      this.#queue.push({ body, weight: fdsOf(body), resolve, reject });
      this.#sendQueued();
    });
  }

  /** Ends the session because the keeper broke the protocol or has gone. */
  end(why: string): void {
    if (this.#state.name === "ended") return;
    this.close(why);
    this.#options.onEnded(why);
  }

  /** Rejects every request that waits. The receivers keep the descriptors that they were lent. */
  close(why: string): void {
    if (this.#state.name === "ended") return;
    this.#state = { name: "ended", why };
    this.#channel.close();
    for (const id of [...this.#sent.keys()]) this.#settle(id)?.reject(new KeeperLost(why));
    for (const { reject } of this.#queue.splice(0)) reject(new KeeperLost(why));
  }

  /** Sends in the order of the requests. A request is sent whatever it weighs when no other is under way. */
  #sendQueued(): void {
    for (let next = this.#queue[0]; next !== undefined && this.#state.name === "open"; next = this.#queue[0]) {
      const { body, weight, reject } = next;
      if (this.#fdsUnderWay > 0 && this.#fdsUnderWay + weight > MAX_FDS_UNDER_WAY) return;
      this.#queue.shift();
      const id = this.#nextId;
      this.#nextId = id >= 0x7fff_ffff ? 1 : id + 1;
      const timer = setTimeout(() => {
        this.#settle(id);
        reject(new KeeperLost(`the keeper did not answer ${body.op} in time`));
      }, this.#options.requestTimeoutMs);
      this.#sent.set(id, { ...next, timer });
      this.#fdsUnderWay += weight;
      if (!this.#channel.send(JSON.stringify({ ...body, id }), [])) this.end("the keeper does not read");
    }
  }

  #settle(id: number): SentRequest | undefined {
    const request = this.#sent.get(id);
    if (request === undefined) return undefined;
    this.#sent.delete(id);
    this.#fdsUnderWay -= request.weight;
    clearTimeout(request.timer);
    setImmediate(() => this.#sendQueued());
    return request;
  }

  #packet(text: string, fds: readonly number[]): void {
    const message = this.#state.name === "open" ? parseMessage(text) : undefined;
    // A request that ran out of time waits no more.
    const request = message === undefined || isNotice(message) ? undefined : this.#settle(message.id);
    // Only the reply that a request waits for may keep its descriptors.
    if (request === undefined || message?.op === "refused") closeAll(fds);
    if (message === undefined) this.end("the keeper sent no JSON object");
    else if (isNotice(message)) this.#options.onNotice(message);
    else if (message.op === "refused") request?.reject(new KeeperRefused(message.reason, message.message));
    else request?.resolve({ reply: message, fds });
  }
}

/** A request's id is never 0. */
function isNotice(message: Reply | Notice): message is Notice {
  return message.id === 0;
}

/** @throws the file system's errors; descriptors behind that which failed stay open */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) closeSync(fd);
}

/** The agent trusts the keeper more than itself, so only the code that uses a reply checks its fields. */
function parseMessage(text: string): Reply | Notice | undefined {
  try {
    const message: unknown = JSON.parse(text);
    return typeof message === "object" && message !== null ? (message as Reply | Notice) : undefined;
  } catch {
    return undefined; // The caller ends the session.
  }
}

function fdsOf(body: RequestBody): number {
  if (body.op === "sockets") return body.count;
  if (body.op === "prepare") return PREPARE_FDS;
  return body.op === "hello" || body.op === "take" ? LENT_MAPS.length : 0;
}
