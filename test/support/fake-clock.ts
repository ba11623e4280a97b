// test double · a clock that moves only when a test turns it; wall and monotonic time can be turned apart.
import type { Clock } from "../../agent/identity/clock.ts";

type Timer = { readonly dueMs: number; readonly call: () => void };

export class FakeClock implements Clock {
  #monotonic = 1_000;
  #wall = Date.UTC(2026, 0, 1);
  #timers = new Set<Timer>();

  monotonicMs(): number {
    return this.#monotonic;
  }

  wallMs(): number {
    return this.#wall;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { dueMs: this.#monotonic + Math.max(0, ms), call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** The wall clock alone, as when somebody sets it. */
  jumpWall(ms: number): void {
    this.#wall += ms;
  }

  /** Both clocks, firing what falls due in order; promises settle between two timers. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    for (;;) {
      await settle();
      const next = [...this.#timers].filter((timer) => timer.dueMs <= end).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.#turn(next.dueMs);
      next.call();
    }
    this.#turn(end);
    await settle();
  }

  #turn(to: number): void {
    const by = Math.max(0, to - this.#monotonic);
    this.#monotonic += by;
    this.#wall += by;
  }
}

/** Lets every promise that can settle without a timer do so. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}
