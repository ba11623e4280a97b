// 7 · data thread · connections whose answer is not ready: tried again when something arrived, refused after five seconds.
import type { ConnRef } from "../engine/events.ts";

/** How long a connection waits for its own workload or certificate; ztunnel waits as long. */
export const WAIT_LIMIT_MS = 5000;
/** Most connections that wait on one thread; the next is refused at once. */
const MAX_WAITING = 4096;

/** What is missing. A closed list: it is the reason when the wait ends in vain. */
export type Missing = "unknown-source" | "no-certificate";

/** One more try: undefined when it was answered (either way), else what is still missing. */
export type Attempt = () => Missing | undefined;

export type WaitingOptions = {
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** Calls back once after `ms`; the result takes it back. */
  readonly after: (ms: number, call: () => void) => () => void;
};

type Parked = {
  readonly generation: number;
  readonly attempt: Attempt;
  readonly giveUp: (missing: Missing) => void;
  readonly deadline: number;
  missing: Missing;
};

export class WaitingConnections {
  readonly #options: WaitingOptions;
  /** By connection slot. Insertion order is deadline order, since all wait equally long. */
  readonly #parked = new Map<number, Parked>();
  #cancelTimer: (() => void) | null = null;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#parked.size;
  }

  /** Parks what was tried and lacked `missing`. `giveUp` is called at most once, and never after an answered attempt. */
  park(ref: ConnRef, missing: Missing, attempt: Attempt, giveUp: (missing: Missing) => void): void {
    if (this.#parked.size >= MAX_WAITING) {
      giveUp(missing);
      return;
    }
    const deadline = this.#options.now() + WAIT_LIMIT_MS;
    this.#parked.delete(ref.conn);
    this.#parked.set(ref.conn, { generation: ref.generation, attempt, giveUp, deadline, missing });
    this.#arm();
  }

  /** Something arrived (a workload, a certificate): everyone tries again. */
  retry(): void {
    for (const [conn, parked] of [...this.#parked]) {
      const missing = parked.attempt();
      if (missing === undefined) this.#parked.delete(conn);
      else parked.missing = missing;
    }
    this.#arm();
  }

  /** The connection ended by itself. What it still lacked; null: it did not wait. */
  forget(ref: ConnRef): Missing | null {
    const parked = this.#parked.get(ref.conn);
    if (parked?.generation !== ref.generation) return null;
    this.#parked.delete(ref.conn);
    this.#arm();
    return parked.missing;
  }

  /** Refuses everyone who still waits. */
  close(): void {
    const rest = [...this.#parked.values()];
    this.#parked.clear();
    this.#arm();
    for (const parked of rest) parked.giveUp(parked.missing);
  }

  #expire(): void {
    this.#cancelTimer = null;
    const now = this.#options.now();
    for (const [conn, parked] of [...this.#parked]) {
      if (parked.deadline > now) break;
      this.#parked.delete(conn);
      parked.giveUp(parked.missing);
    }
    this.#arm();
  }

  /** One timer for the first deadline; none while nobody waits. */
  #arm(): void {
    const [first] = this.#parked.values();
    if (first === undefined) {
      this.#cancelTimer?.();
      this.#cancelTimer = null;
    } else if (this.#cancelTimer === null) {
      const ms = Math.max(1, first.deadline - this.#options.now());
      this.#cancelTimer = this.#options.after(ms, () => this.#expire());
    }
  }
}
