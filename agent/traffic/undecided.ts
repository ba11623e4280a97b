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
  /** Gives the engine an answer that comes later than its event. */
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

  /** The peer was not reached, and nothing was sent to it. While the connection waits to be decided anew, changes of policy need not look at it. */
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

  /** A change of either end may send a waiting connection elsewhere, or let its peer be reached: those are decided anew. */
  workloadsChanged(workloads: ReadonlySet<string>): void {
    const isOf = ({ workload }: Party): boolean => workload !== null && workloads.has(workload.uid);
    this.#options.context.unreached.changed(({ source, destination }) => isOf(source) || isOf(destination));
  }

  /** The connection has ended by itself. @returns what it still lacked; null: it did not wait */
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

  /** Tries once more to decide. @returns what is still missing; undefined: it was answered, allowed or refused */
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
