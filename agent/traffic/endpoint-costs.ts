// 18 · data thread · what each endpoint costs the requests of each caller's identity, as this thread's own requests have seen it. What a
// caller provokes at an endpoint changes nothing for others; that nobody can be connected there, no caller provokes, and all learn of it.
import type { RequestSample } from "../plan/peak-ewma.ts";
import { costOf, type Estimate, failingOf, observed, unseen } from "../plan/peak-ewma.ts";

/** Of callers and endpoints; then the longest unused is forgotten. */
const MOST = 20_000;

type KnownCost = { estimate: Estimate; pending: number };

export class EndpointCosts {
  readonly #now: () => number;
  readonly #limit: number;
  /** In the order of their last use. */
  readonly #known = new Map<string, KnownCost>();
  /** Of all callers: endpoints that could not be connected to, until somebody is answered there. */
  readonly #unreached = new Map<string, Estimate>();
  /** Per caller and Service: whose turn it is. */
  readonly #turns = new Map<string, number>();

  /** @param now monotonic, milliseconds */
  constructor(now: () => number, limit: number = MOST) {
    this.#now = now;
    this.#limit = limit;
  }

  of(caller: string, address: string, port: number): number {
    const now = this.#now();
    const known = this.#known.get(keyOf(caller, address, port));
    const own = known === undefined ? costOf(unseen(now), 0, now) : costOf(known.estimate, known.pending, now);
    const unreached = this.#unreached.size === 0 ? undefined : this.#unreached.get(`${address} ${port}`);
    return unreached === undefined ? own : own * failingOf(unreached, now);
  }

  /** A connection there was refused, or its host is not reached: by no doing of its caller. */
  unreached(address: string, port: number): void {
    const key = `${address} ${port}`;
    const now = this.#now();
    const estimate = observed(this.#unreached.get(key) ?? unseen(now), { elapsedMs: 0, isFailed: true }, now);
    this.#unreached.delete(key);
    const [oldest] = this.#unreached.keys();
    if (oldest !== undefined && this.#unreached.size >= this.#limit) this.#unreached.delete(oldest);
    this.#unreached.set(key, estimate);
  }

  /** A request goes there. The result is called once, when it has a response or goes there no more; without a sample nothing was learned. */
  begin(caller: string, address: string, port: number): (sample: RequestSample | null) => void {
    const key = keyOf(caller, address, port);
    const known = this.#known.get(key) ?? { estimate: unseen(this.#now()), pending: 0 };
    this.#known.delete(key);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size < this.#limit) break;
      this.#known.delete(oldest);
    }
    this.#known.set(key, known);
    known.pending += 1;
    return (sample) => {
      known.pending -= 1;
      // It was connected to.
      if (sample?.isFailed === false && this.#unreached.size > 0) this.#unreached.delete(`${address} ${port}`);
      if (sample !== null) known.estimate = observed(known.estimate, sample, this.#now());
    };
  }

  /** Round robin: counts the requests of the caller to the Service. */
  turn(caller: string, service: string): number {
    const key = `${caller} ${service}`;
    const turn = this.#turns.get(key) ?? 0;
    if (turn === 0 && this.#turns.size >= this.#limit) this.#turns.clear();
    this.#turns.set(key, turn + 1);
    return turn;
  }
}

const keyOf = (caller: string, address: string, port: number): string => `${caller} ${address} ${port}`;
