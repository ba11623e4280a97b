// 18 · data thread · what each endpoint costs the requests of each caller's identity, as this thread's own requests have seen it. What a
// caller provokes at an endpoint changes nothing for others; that nobody can be connected there, no caller provokes, and all learn of it.
import { costOf, type Estimate, failingOf, observed, type RequestSample, unseen } from "../plan/peak-ewma.ts";

/** Of callers and endpoints. */
const MOST = 20_000;

/** An endpoint as a caller's requests know it. */
export type EndpointCost = {
  readonly address: string;
  readonly port: number;
  estimate: Estimate;
  /** Requests that have no response yet. */
  pending: number;
};

export class EndpointCosts {
  readonly #now: () => number;
  readonly #limit: number;
  /** By caller, then by address: a request each comes by here, and a text of all three would cost more than the rest. */
  readonly #known = new Map<string, Map<string, EndpointCost[]>>();
  #size = 0;
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
    const known = this.#find(caller, address, port);
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

  /** A request goes there. `end` follows once. */
  begin(caller: string, address: string, port: number): EndpointCost {
    const cost = this.#find(caller, address, port) ?? this.#add(caller, address, port);
    cost.pending += 1;
    return cost;
  }

  /** The request has a response, or goes there no more; null: nothing was learned. */
  end(cost: EndpointCost, sample: RequestSample | null): void {
    cost.pending -= 1;
    if (sample === null) return;
    cost.estimate = observed(cost.estimate, sample, this.#now());
    // It was connected to.
    if (sample.isFailed === false && this.#unreached.size > 0) this.#unreached.delete(`${cost.address} ${cost.port}`);
  }

  /** Round robin: counts the requests of the caller to the Service. */
  turn(caller: string, service: string): number {
    const key = `${caller} ${service}`;
    const turn = this.#turns.get(key) ?? 0;
    if (turn === 0 && this.#turns.size >= this.#limit) this.#turns.clear();
    this.#turns.set(key, turn + 1);
    return turn;
  }

  #find(caller: string, address: string, port: number): EndpointCost | undefined {
    const at = this.#known.get(caller)?.get(address);
    if (at === undefined) return undefined;
    for (const cost of at) if (cost.port === port) return cost;
    return undefined;
  }

  #add(caller: string, address: string, port: number): EndpointCost {
    // What is learned is soon learned again.
    if (this.#size >= this.#limit) {
      this.#known.clear();
      this.#size = 0;
    }
    this.#size += 1;
    const cost = { address, port, estimate: unseen(this.#now()), pending: 0 };
    const callers = this.#known.get(caller) ?? new Map<string, EndpointCost[]>();
    this.#known.set(caller, callers);
    const at = callers.get(address);
    if (at === undefined) callers.set(address, [cost]);
    else at.push(cost);
    return cost;
  }
}
