// any thread · jittered retry: how long to wait before the next try. One implementation; the randomness is handed in.
import { setTimeout as delay } from "node:timers/promises";

export type BackoffOptions = {
  /** First wait at most this long. */
  readonly firstMs: number;
  /** No wait is ever longer. */
  readonly capMs: number;
  /** In [0, 1). */
  readonly random?: () => number;
};

/**
 * Doubles the ceiling with each failure, up to the cap, and waits between half of it and all of it: many clients that
 * lost the same server do not come back together, and none comes back at once.
 */
export class Backoff {
  readonly #options: Required<BackoffOptions>;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = { random: Math.random, ...options };
  }

  get failures(): number {
    return this.#failures;
  }

  /** Counts a failure and says how many milliseconds to wait. */
  nextMs(): number {
    const { firstMs, capMs, random } = this.#options;
    const ceiling = Math.min(capMs, firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return ceiling / 2 + (ceiling / 2) * random();
  }

  /** After a success. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits `nextMs()`. Rejects with the signal's reason when it is aborted. */
  async wait(signal?: AbortSignal): Promise<void> {
    await delay(this.nextMs(), undefined, signal ? { signal } : {});
  }
}
