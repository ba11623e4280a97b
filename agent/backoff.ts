// any thread · jittered retry: how long to wait before the next try. One implementation; the randomness is handed in.
import { setTimeout as delay } from "node:timers/promises";

export type BackoffOptions = {
  /** The first wait is at most this long. */
  readonly baseMs: number;
  /** No wait is ever longer. */
  readonly capMs: number;
};

/**
 * Milliseconds to wait after failure number `attempt` (0 is the first): the ceiling doubles with each, up to the cap,
 * and the wait lies between half of it and all of it, so that many clients that lost the same server do not come back
 * together, and none comes back at once.
 * @param random in [0, 1)
 */
export function backoffMs(attempt: number, options: BackoffOptions, random: () => number = Math.random): number {
  const ceiling = Math.min(options.capMs, options.baseMs * 2 ** Math.min(Math.max(attempt, 0), 30));
  return ceiling / 2 + (ceiling / 2) * random();
}

/** The same with a memory of how often it failed. */
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

  /** Counts a failure and says how many milliseconds to wait. */
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
