// any thread · so many acts in a while, for each of many names: a token bucket as one time per name. Bounded in memory.

export type RateLimitOptions = {
  /** Acts per second in the long run. */
  readonly perSecond: number;
  /** Acts at once after a rest. */
  readonly burst: number;
  /** Names kept; beyond that the names that have rested longest are forgotten, which gives them a full burst. */
  readonly names?: number;
};

export class RateLimit {
  readonly #options: Required<RateLimitOptions>;
  /** When the name's bucket will be full again, ms; in the order of their last acts. */
  readonly #full = new Map<string, number>();

  constructor(options: RateLimitOptions) {
    this.#options = { names: 10_000, ...options };
  }

  get size(): number {
    return this.#full.size;
  }

  /** Takes one act of `name`, if it has any left. @param nowMs of a clock that does not jump */
  take(name: string, nowMs: number): boolean {
    const { perSecond, burst, names } = this.#options;
    const eachMs = 1_000 / perSecond;
    const full = Math.max(this.#full.get(name) ?? 0, nowMs) + eachMs;
    if (full - nowMs > burst * eachMs) return false;
    this.#full.delete(name);
    this.#full.set(name, full);
    if (this.#full.size > names) {
      const oldest = this.#full.keys().next();
      if (!oldest.done) this.#full.delete(oldest.value);
    }
    return true;
  }
}
