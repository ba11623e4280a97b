// 18 · data thread · how many requests may be sent again: a share of all that a rule has taken, so that retries never multiply the load of
// what is already failing. Of each caller's identity and each rule for itself.

/** Retries are at most this share of the requests of the last ten seconds (gateway-api:geps/gep-3388, its example). */
const SHARE = 0.2;
/** So many a second are always allowed, on all threads of the node together. */
export const FLOOR_PER_SECOND = 10;
const SLOTS = 10;
const SLOT_MS = 1_000;
const MOST_KEYS = 4_096;

type Window = { readonly requests: Float64Array; readonly retries: Float64Array; newest: number };

export type RetryBudgetOptions = {
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** Data threads of the node: each has its part of the floor, and the share of what it has sent itself. */
  readonly threads: number;
};

export class RetryBudget {
  readonly #now: () => number;
  readonly #floor: number;
  /** In the order of their last use. */
  readonly #windows = new Map<string, Window>();

  constructor({ now, threads }: RetryBudgetOptions) {
    this.#now = now;
    this.#floor = (FLOOR_PER_SECOND * SLOTS) / threads;
  }

  /** A request that may be retried has come. */
  requested(key: string): void {
    const { requests, newest } = this.#windowOf(key);
    requests[newest % SLOTS] = (requests[newest % SLOTS] ?? 0) + 1;
  }

  /** Counts a retry. False: there were enough, and it is none. */
  take(key: string): boolean {
    const { requests, retries, newest } = this.#windowOf(key);
    if (sum(retries) + 1 > Math.max(this.#floor, SHARE * sum(requests))) return false;
    retries[newest % SLOTS] = (retries[newest % SLOTS] ?? 0) + 1;
    return true;
  }

  #windowOf(key: string): Window {
    const now = Math.floor(this.#now() / SLOT_MS);
    const known = this.#windows.get(key);
    const window = known ?? { requests: new Float64Array(SLOTS), retries: new Float64Array(SLOTS), newest: now };
    if (known === undefined && this.#windows.size >= MOST_KEYS) {
      // Whose window is forgotten begins with the floor.
      const [oldest] = this.#windows.keys();
      if (oldest !== undefined) this.#windows.delete(oldest);
    }
    this.#windows.delete(key);
    this.#windows.set(key, window);
    for (let passed = Math.max(window.newest + 1, now - SLOTS + 1); passed <= now; passed += 1) {
      window.requests[passed % SLOTS] = 0;
      window.retries[passed % SLOTS] = 0;
    }
    window.newest = Math.max(window.newest, now);
    return window;
  }
}

const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
