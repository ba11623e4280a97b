// main thread · the two clocks and the timer that certificates live by, handed in so that tests can turn them.

export interface Clock {
  /** Never jumps; counts from no particular point. ms. */
  monotonicMs(): number;
  /** What other machines would call now; may jump. ms since the epoch. */
  wallMs(): number;
  /** Calls back once after at least `ms`; the returned function cancels. Does not keep the process alive. */
  after(ms: number, call: () => void): () => void;
}

/** setTimeout's longest delay; longer ones fire at once. */
const LONGEST_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(ms, call) {
    const due = performance.now() + ms;
    let timer: NodeJS.Timeout;
    const arm = (): void => {
      const left = due - performance.now();
      timer = setTimeout(left > LONGEST_MS ? arm : call, Math.min(Math.max(left, 0), LONGEST_MS));
      timer.unref();
    };
    arm();
    return () => clearTimeout(timer);
  },
};
