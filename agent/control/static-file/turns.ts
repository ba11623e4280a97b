// main thread · long work in turns: it gives the loop back after a while, so that heartbeats go on.

/** Work gives the loop back after this long, ms. */
const TURN_MS = 20;

/** Gives the loop back when this work has had it for long enough. */
export class Turns {
  readonly #signal: AbortSignal;
  #since = performance.now();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async through<T>(steps: Generator<void, T>): Promise<T> {
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      await this.mayPass();
    }
  }

  /** Resolves at once, or after everything else that waits; rejects when the signal was aborted meanwhile. */
  async mayPass(): Promise<void> {
    if (performance.now() - this.#since < TURN_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#signal.throwIfAborted();
    this.#since = performance.now();
  }
}
