// test model · when something is allowed: spans of time, opened before the change that allows it and closed after the last
// effect of the change that forbids it has been seen. Times are microseconds since the epoch.

export const nowUs = (): number => Math.round((performance.timeOrigin + performance.now()) * 1000);

/** Clocks of two programs read the same clock, but JavaScript's is derived from another one at its start. */
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
