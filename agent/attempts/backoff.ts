// any thread · jittered retry: how long to wait before the next attempt. The caller may pass its own source of randomness.
import { setTimeout as delay } from "node:timers/promises";

export type BackoffOptions = {
  /** The first wait is at most this long. */
  readonly baseMs: number;
  /** No wait is ever longer. */
  readonly capMs: number;
};

/**
 * Milliseconds to wait after failure number `attempt` (0 is the first). The ceiling doubles with each failure, up to the cap,
 * and the wait lies between half of the ceiling and all of it. So clients that lost the same server at the same time come back
 * at different times, and none of them at once.
 * @param random in [0, 1)
 */
export function backoffMs(attempt: number, options: BackoffOptions, random: () => number = Math.random): number {
  const ceiling = Math.min(options.capMs, options.baseMs * 2 ** Math.min(Math.max(attempt, 0), 30));
  return ceiling / 2 + (ceiling / 2) * random();
}

/** Counts the failures for `backoffMs`. */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Counts a failure and returns how many milliseconds to wait. */
  nextMs(): number {
    return backoffMs(this.#failures++, this.#options, this.#random);
  }

  /** After a success. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits `nextMs()`. Rejects with an AbortError when the signal is aborted. */
  async wait(signal?: AbortSignal): Promise<void> {
    await delay(this.nextMs(), undefined, signal ? { signal } : {});
  }
}
