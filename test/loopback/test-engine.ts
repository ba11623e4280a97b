// tests · one engine on loopback without keeper and kernel programs: its sockets are plain ones, pools are refilled at once.
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
