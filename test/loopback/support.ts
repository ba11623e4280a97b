// tests · one engine on loopback without keeper and kernel programs: its sockets are plain ones, pools are refilled at once.
import { once } from "node:events";
import net from "node:net";
import { listenSocket, unconnectedSocket } from "../../agent/engine/addon.ts";
import type { Answer } from "../../agent/engine/answers.ts";
import { BatchEngine } from "../../agent/engine/batch.ts";
import type { Closed, EngineEvent } from "../../agent/engine/events.ts";
import type { ListenerKind } from "../../agent/keeper/protocol.ts";

export type Decide = (event: EngineEvent, engine: TestEngine) => Answer | undefined;

export class TestEngine {
  readonly engine: BatchEngine;
  readonly events: EngineEvent[] = [];
  readonly errors: unknown[] = [];
  /** False: pools stay as empty as they are. */
  refill = true;
  readonly #waiting: {
    readonly wanted: (event: EngineEvent) => boolean;
    readonly found: (event: EngineEvent) => void;
  }[] = [];

  constructor(decide: Decide) {
    this.engine = new BatchEngine(
      (event) => {
        this.events.push(event);
        if (event.type === "pool-low" && this.refill) {
          const fds = Int32Array.from({ length: event.count }, () =>
            unconnectedSocket(event.kind.endsWith("4") ? 4 : 6),
          );
          this.engine.addSockets(event.podIdx, event.kind, fds);
        }
        const answer = decide(event, this);
        for (let i = this.#waiting.length - 1; i >= 0; i--) {
          const waiter = this.#waiting[i];
          if (waiter?.wanted(event)) {
            this.#waiting.splice(i, 1);
            waiter.found(event);
          }
        }
        return answer;
      },
      (error) => this.errors.push(error),
    );
  }

  /** The first event of the type that fits, past or future. */
  async event<T extends EngineEvent["type"]>(
    type: T,
    fits: (event: Extract<EngineEvent, { type: T }>) => boolean = () => true,
  ): Promise<Extract<EngineEvent, { type: T }>> {
    const wanted = (event: EngineEvent): event is Extract<EngineEvent, { type: T }> =>
      event.type === type && fits(event as Extract<EngineEvent, { type: T }>);
    const known = this.events.find(wanted);
    if (known) return known;
    return new Promise((resolve) => {
      this.#waiting.push({ wanted, found: (event) => wanted(event) && resolve(event) });
    });
  }

  /** The `closed` events so far. */
  closed(): Closed[] {
    return this.events.filter((event) => event.type === "closed");
  }

  /** A listener for pod `podIdx`; its port. */
  listen(podIdx: number, kind: ListenerKind, address = "127.0.0.1"): number {
    const { fd, port } = listenSocket(address, 0);
    this.engine.addListener(podIdx, kind, fd);
    return port;
  }

  [Symbol.dispose](): void {
    this.engine.close();
  }
}

export type Server = { readonly port: number; readonly connections: net.Socket[]; close(): void };

/** A TCP server on loopback; both halves are ended by hand. */
export async function serve(onConnection: (socket: net.Socket) => void, host = "127.0.0.1"): Promise<Server> {
  const connections: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    connections.push(socket);
    socket.on("error", () => {
      // Resets are part of what is tested; a test that cares listens, too.
    });
    onConnection(socket);
  });
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    connections,
    close() {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  };
}

/** Connected, both halves ended by hand. */
export async function dial(port: number, host = "127.0.0.1"): Promise<net.Socket> {
  const socket = net.connect({ port, host, allowHalfOpen: true });
  await once(socket, "connect");
  socket.on("error", () => {
    // As above: the engines of a test may end before its sockets.
  });
  return socket;
}

/** Everything until the peer's FIN. Rejects on a reset. */
export async function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** How a connection that is refused at once ends: its reset may come before `connect` is reported. */
export function dialRefused(port: number, host = "127.0.0.1"): Promise<string> {
  return howItEnds(net.connect({ port, host, allowHalfOpen: true }));
}

/** "end" for a FIN, else the error's code. */
export function howItEnds(socket: net.Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on("end", () => resolve("end"));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.resume();
  });
}
