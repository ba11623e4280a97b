// 18 · data thread · how many requests may be sent again: a share of all that a rule has taken, so that retries never multiply the load of
// what is already failing. Of each caller's identity and each rule for itself, counted over all data threads together.
import { type RetryCells, type RetryWindow, SECONDS } from "./retry-cells.ts";

/** Retries are at most this share of the requests of the last ten seconds (gateway-api:geps/gep-3388, its example). */
const SHARE = 0.2;
/** So many a second are always allowed, on all threads of the node together. */
export const FLOOR_PER_SECOND = 10;
/** Hashes of keys that are remembered; then it begins anew. */
const MOST_KEYS = 4_096;

const mayBe = ({ requests, retries }: RetryWindow): boolean =>
  retries <= Math.max(FLOOR_PER_SECOND * SECONDS, SHARE * requests);

export type RetryBudgetOptions = {
  readonly cells: RetryCells;
  /** Of a clock that all data threads share, milliseconds. */
  readonly now: () => number;
};

export class RetryBudget {
  readonly #cells: RetryCells;
  readonly #now: () => number;
  readonly #keys = new Map<string, bigint>();

  constructor({ cells, now }: RetryBudgetOptions) {
    this.#cells = cells;
    this.#now = now;
  }

  /** A request that may be retried has come. */
  requested(key: string): void {
    this.#cells.requested(this.#keyOf(key), this.#second());
  }

  /** Counts a retry. False: there were enough, or nobody could count it, and it is none. */
  take(key: string): boolean {
    return this.#cells.take(this.#keyOf(key), this.#second(), mayBe) === true;
  }

  #second(): number {
    return Math.floor(this.#now() / 1_000);
  }

  #keyOf(text: string): bigint {
    const known = this.#keys.get(text);
    if (known !== undefined) return known;
    if (this.#keys.size >= MOST_KEYS) this.#keys.clear();
    const key = this.#cells.keyOf(text);
    this.#keys.set(text, key);
    return key;
  }
}
