// 18 · data thread · what each endpoint costs the requests of each caller's identity, as this thread's own requests have seen it. What a
// caller provokes at an endpoint changes nothing for others.
import type { RequestSample } from "../plan/peak-ewma.ts";
import { costOf, type Estimate, observed, unseen } from "../plan/peak-ewma.ts";

/** Of callers and endpoints; then the longest unused is forgotten. */
const MOST = 20_000;

type KnownCost = { estimate: Estimate; pending: number };

export class EndpointCosts {
  readonly #now: () => number;
  readonly #limit: number;
  /** In the order of their last use. */
  readonly #known = new Map<string, KnownCost>();
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
    return known === undefined ? costOf(unseen(now), 0, now) : costOf(known.estimate, known.pending, now);
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
