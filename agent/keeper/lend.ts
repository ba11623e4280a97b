// keeper · one agent's connection: who it is (SO_PEERCRED, and where that process runs), hello first, one reply to each request, descriptors with it.
// Several agents may be connected at once, the old and the new agent of an upgrade. An agent that misbehaves loses its
// connection and nothing else: pods stay as they are.
import { closeSync } from "node:fs";
import type { FdSocket } from "./addon.ts";
import type { PeerPlace } from "./peer-place.ts";
import type { Notice, Reply, Request } from "./protocol.ts";
import { RefusalLines } from "./refusal-lines.ts";
import { parseRequest } from "./requests.ts";

/** A connected SOCK_SEQPACKET socket that carries descriptors. */
export interface Channel {
  /** SO_PEERCRED: who connected, said by the kernel. */
  readonly peer: { readonly pid: number; readonly uid: number; readonly gid: number };
  /** Whether that process still runs; undefined where the kernel does not say it. */
  peerLives(): boolean | undefined;
  /** One packet. False: the other side does not read, or has gone. The kernel duplicates the descriptors. */
  send(text: string, fds: readonly number[]): boolean;
  close(): void;
}

export type ReplyWithFds = {
  readonly reply: Reply;
  /** Lent with the reply. */
  readonly fds?: readonly number[];
  /** True: made for this reply alone, and closed here once sent. */
  readonly handedOver?: boolean;
};
/** Who asks. */
export type Asker = {
  /** Of this connection alone. */
  readonly agent: number;
  readonly pid: number;
  /** False: its connection has ended. */
  readonly connected: () => boolean;
};
export type Handler = (request: Request, asker: Asker) => Promise<ReplyWithFds>;

export type KeeperLog = {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
};

export type LenderOptions = {
  readonly agentUid: number;
  /** Where the process with this pid runs. */
  readonly placeOf: (pid: number) => PeerPlace;
  readonly handle: Handler;
  /** The connection of an agent that said hello has ended, by either side. */
  readonly gone: (agent: number) => void;
  readonly log: KeeperLog;
};

/** An old agent and a new one during an upgrade, and operators that look. */
const MAX_AGENTS = 8;
/** Requests of one agent under way; it asks for at most one thing per pod at a time, plus sockets. */
const MAX_UNDER_WAY = 4096;

export class Lender {
  readonly #options: LenderOptions;
  readonly #sessions = new Set<Session>();
  readonly #lines: RefusalLines;
  #accepted = 0;

  constructor(options: LenderOptions) {
    this.#options = options;
    this.#lines = new RefusalLines("a process that is not our agent was turned away", options.log, () =>
      performance.now(),
    );
  }

  get agents(): number {
    return this.#sessions.size;
  }

  /** Takes a connection just accepted. Undefined: not welcome, and closed. */
  accept(channel: Channel): Session | undefined {
    const { uid, pid } = channel.peer;
    const { elsewhere, cgroup } = this.#options.placeOf(pid);
    const why = this.#whyNot(channel, elsewhere);
    if (why !== undefined) {
      this.#lines.add({
        key: `${uid} ${cgroup} ${why}`,
        fields: { why, uid, pid, cgroup, agents: this.#sessions.size },
      });
      channel.close();
      return undefined;
    }
    this.#accepted += 1;
    const session = new Session(channel, this.#accepted, this.#options, () => this.#sessions.delete(session));
    this.#sessions.add(session);
    return session;
  }

  #whyNot(channel: Channel, elsewhere: string | undefined): string | undefined {
    const { uid } = channel.peer;
    if (uid !== 0 && uid !== this.#options.agentUid) return "it is not the agent's user";
    // Root in a container is not the keeper's root.
    if (elsewhere !== undefined) return elsewhere;
    // Asked last: what was read of the pid is then of the process that connected.
    if (channel.peerLives() === false) return "it has ended, for all that can be known";
    return this.#sessions.size >= MAX_AGENTS ? "too many agents are connected" : undefined;
  }

  /** To every agent that said hello, or to a single agent. */
  notify(notice: Notice, agent?: number): void {
    for (const session of this.#sessions) if (agent === undefined || session.agent === agent) session.notify(notice);
  }

  close(): void {
    for (const session of this.#sessions) session.end("the keeper ends");
  }
}

export class Session {
  readonly agent: number;
  readonly #channel: Channel;
  readonly #options: LenderOptions;
  readonly #onEnd: () => void;
  #greeted = false;
  #underWay = 0;
  #ended = false;

  constructor(channel: Channel, agent: number, options: LenderOptions, onEnd: () => void) {
    this.agent = agent;
    this.#channel = channel;
    this.#options = options;
    this.#onEnd = onEnd;
  }

  /** One packet came. `fds` are ours to close: an agent has none to give. */
  async packet(text: string, fds: readonly number[]): Promise<void> {
    for (const fd of fds) closeSync(fd);
    if (this.#ended) return;
    if (fds.length > 0) return this.end("it sent descriptors");
    const parsed = parseRequest(text);
    if (!parsed.ok && parsed.id === 0) return this.end(`a packet without an id: ${parsed.message}`);
    if (!parsed.ok) {
      this.#refuse(parsed.id, parsed.message);
      return this.#greeted ? undefined : this.end(`its hello was refused: ${parsed.message}`);
    }
    const { request } = parsed;
    if (!this.#greeted && request.op !== "hello") return this.end("it did not say hello first");
    if (this.#greeted && request.op === "hello") return this.end("it said hello twice");
    if (this.#underWay >= MAX_UNDER_WAY) return this.end(`more than ${MAX_UNDER_WAY} requests at once`);
    this.#greeted = true;
    this.#underWay++;
    try {
      const { agent } = this;
      const asker = { agent, pid: this.#channel.peer.pid, connected: () => !this.#ended };
      this.#reply(await this.#options.handle(request, asker));
    } catch (error) {
      // A kernel or namespace said no in a way nobody foresaw: that request fails, the keeper goes on.
      const message = error instanceof Error ? error.message : String(error);
      this.#options.log.error("a request failed", { op: request.op, error: message });
      this.#reply({ reply: { id: request.id, op: "refused", reason: "kernel", message } });
    } finally {
      this.#underWay--;
    }
  }

  notify(notice: Notice): void {
    if (this.#greeted && !this.#ended) this.#send(JSON.stringify(notice), []);
  }

  /** The other side closed. */
  closed(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    if (this.#greeted) this.#options.gone(this.agent);
  }

  end(why: string): void {
    if (this.#ended) return;
    this.#options.log.info("an agent's connection ends", { pid: this.#channel.peer.pid, why });
    this.closed();
    this.#channel.close();
  }

  #refuse(id: number, message: string): void {
    this.#reply({ reply: { id, op: "refused", reason: "bad-request", message } });
  }

  #reply({ reply, fds = [], handedOver = false }: ReplyWithFds): void {
    try {
      if (!this.#ended) this.#send(JSON.stringify(reply), fds);
    } finally {
      if (handedOver) for (const fd of fds) closeSync(fd);
    }
  }

  #send(text: string, fds: readonly number[]): void {
    if (!this.#channel.send(text, fds)) this.end("it does not read what it is sent");
  }
}

/** Every connection of a listening socket to the lender, until either is closed. */
export function serveOn(server: FdSocket, lender: Lender): void {
  server.onConnection((socket) => {
    const session = lender.accept(channelOf(socket));
    if (session === undefined) return;
    socket.onClose(() => session.closed());
    socket.onMessage((bytes, fds) => void session.packet(bytes.toString("utf8"), [...fds]));
  });
}

function channelOf(socket: FdSocket): Channel {
  return {
    peer: socket.credentials(),
    peerLives: () => {
      try {
        return socket.peerLives();
      } catch {
        return false; // EMFILE: what is not known speaks against the process.
      }
    },
    send: (text, fds) => {
      try {
        socket.send(Buffer.from(text), Int32Array.from(fds));
        return true;
      } catch {
        return false; // ENOBUFS, EPIPE: the session ends, and says so.
      }
    },
    close: () => socket.close(),
  };
}
