// test model · when something is allowed: spans of time, opened before the change that allows it and closed after the last
// effect of the change that forbids it has been seen. Times are microseconds since the epoch.

/** By the clock that the native programs read: performance.now() parts from it where the machine's time is set or slewed meanwhile. */
export const nowUs = (): number => Date.now() * 1_000;

/** More than the whole milliseconds in which JavaScript reads it. */
const SLACK_US = 2_000;

export class Allowed {
  readonly #spans: { readonly from: number; to: number }[] = [];

  /** From a moment ago on. */
  open(): void {
    if (!this.isOpen) this.#spans.push({ from: nowUs() - SLACK_US, to: Number.POSITIVE_INFINITY });
  }

  close(): void {
    const last = this.#spans.at(-1);
    if (last !== undefined && this.isOpen) last.to = nowUs() + SLACK_US;
  }

  get isOpen(): boolean {
    return this.#spans.at(-1)?.to === Number.POSITIVE_INFINITY;
  }

  at(us: number): boolean {
    return this.#spans.some(({ from, to }) => us >= from && us <= to);
  }
}
