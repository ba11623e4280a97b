// 7 · data thread · outbound connections that are not decided: until what is missing has come, or until a peer that was not reached may be.
import type { Answer } from "../engine/answers.ts";
import type { Accepted, ConnRef, NotReached } from "../engine/events.ts";
import type { Party } from "../observe/record.ts";
import type { Connection } from "./connection.ts";
import type { TrafficContext } from "./context.ts";
import { answerOutbound } from "./outbound.ts";
import { type Missing, WaitingConnections, type WaitingOptions } from "./waiting.ts";

export type UndecidedOptions = WaitingOptions & {
  readonly context: TrafficContext;
  /** Answers that come later. */
  readonly answer: (answer: Answer) => void;
  /** An exception of ours while doing `what`; the connection was refused. */
  readonly fault: (error: unknown, what: string) => void;
};

export class UndecidedConnections {
  readonly #options: UndecidedOptions;
  readonly #waiting: WaitingConnections;

  constructor(options: UndecidedOptions) {
    this.#options = options;
    this.#waiting = new WaitingConnections(options);
  }

  /** undefined: something is missing, and the answer comes later. */
  decide(event: Accepted, connection: Connection): Answer | undefined {
    const { context, answer } = this.#options;
    const first = answerOutbound(event, connection, context);
    if (typeof first !== "string") return first;
    const again = (): Missing | undefined => this.#again(event, connection);
    this.#waiting.park(event, first, again, (missing) => answer(connection.refuse(missing, null)));
    return undefined;
  }

  /** Nothing of it was sent. Until it is decided anew, no change can forbid it. */
  notReached(event: NotReached, connection: Connection): void {
    const { live, unreached } = this.#options.context;
    live.remove(connection);
    const decide = (): void => this.#decideAnew(connection);
    if (!unreached.wait(connection, event.to.address, decide)) decide();
  }

  /** A workload, a pod or a certificate has come or gone: all that wait are tried again. */
  retry(): void {
    this.#waiting.retry();
  }

  /** What changed about its two ends may send a connection elsewhere, or let it be reached. */
  workloadsChanged(workloads: ReadonlySet<string>): void {
    const isOf = ({ workload }: Party): boolean => workload !== null && workloads.has(workload.uid);
    this.#options.context.unreached.changed(({ source, destination }) => isOf(source) || isOf(destination));
  }

  /** It has ended by itself. What it still lacked; null: it did not wait. */
  forget(ref: ConnRef, connection: Connection): Missing | null {
    const missing = this.#waiting.forget(ref);
    this.#options.context.unreached.forget(connection);
    return missing;
  }

  /** Refuses those that wait for what is missing. */
  close(): void {
    this.#waiting.close();
  }

  #decideAnew(connection: Connection): void {
    const { answer, fault } = this.#options;
    try {
      const later = this.decide(connection.accepted, connection);
      if (later !== undefined) answer(later);
    } catch (error) {
      fault(error, "deciding anew");
      answer(connection.refuse("fault", null));
    }
  }

  /** One more try of what waits: what is still missing, or undefined once answered, either way. */
  #again(event: Accepted, connection: Connection): Missing | undefined {
    const { context, answer, fault } = this.#options;
    try {
      const later = answerOutbound(event, connection, context);
      if (typeof later === "string") return later;
      answer(later);
    } catch (error) {
      fault(error, "a late answer");
      answer(connection.refuse("fault", null));
    }
    return undefined;
  }
}
