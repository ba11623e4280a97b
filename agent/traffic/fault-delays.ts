// 18 · data thread · requests that their rule's fault delays: each comes as an event again when its time is over, and is planned by what holds
// then. Their heads wait in the engine.
import type { Answer } from "../engine/answers.ts";
import type { Connection } from "./connection.ts";

export type FaultDelaysOptions = {
  readonly after: (ms: number, call: () => void) => () => void;
  /** Answers that come later. */
  readonly answer: (answer: Answer) => void;
};

export class FaultDelays {
  readonly #options: FaultDelaysOptions;
  /** By connection and number of the request: whether its time is over. */
  readonly #of = new WeakMap<Connection, Map<number, boolean>>();
  /** Each request asks here, and most threads never delay any: they need no look-up. */
  #hasDelayed = false;

  constructor({ after, answer }: FaultDelaysOptions) {
    this.#options = { after, answer };
  }

  begin(connection: Connection, request: number, ms: number): void {
    this.#hasDelayed = true;
    const requests = this.#of.get(connection) ?? new Map<number, boolean>();
    this.#of.set(connection, requests.set(request, false));
    this.#options.after(ms, () => {
      if (requests.get(request) !== false) return;
      requests.set(request, true);
      this.#options.answer({ type: "ask-again", ...connection.ref });
    });
  }

  /** "waiting": its delay goes on, and the engine asks for another reason. "over": its delay has ended; a second call says "none". */
  of(connection: Connection, request: number): "none" | "waiting" | "over" {
    if (!this.#hasDelayed) return "none";
    const requests = this.#of.get(connection);
    const isOver = requests?.get(request);
    if (isOver === undefined) return "none";
    if (!isOver) return "waiting";
    requests?.delete(request);
    return "over";
  }
}
