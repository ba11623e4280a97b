// main thread · adds up the requests that all threads hand over.
import { type Metric, metric } from "./metric.ts";
import { type RequestCount, requestFamily, requestLabels } from "./request-series.ts";

/** A label set that nothing was counted under for this long is forgotten, when its last number has been scraped. */
const FORGET_MS = 3_600_000;
const MOST_LABEL_SETS = 20_000;

export class RequestTotals {
  readonly #now: () => number;
  readonly #totals = new Map<string, { readonly labels: readonly string[]; requests: number; usedAtMs: number }>();

  /** @param now milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  add(counts: readonly RequestCount[]): void {
    for (const { labels, requests } of counts) {
      const key = labels.join("\u0000");
      const total = this.#totals.get(key) ?? { labels, requests: 0, usedAtMs: 0 };
      total.requests += requests;
      total.usedAtMs = this.#now();
      // The latest are at the end, so that the oldest make room.
      this.#totals.delete(key);
      this.#totals.set(key, total);
    }
    this.#forget();
  }

  metric(): Metric {
    const samples = [...this.#totals.values()].map(({ labels, requests }) => ({
      labels: Object.fromEntries(requestLabels.map((name, index) => [name, labels[index] ?? "unknown"])) as Record<
        (typeof requestLabels)[number],
        string
      >,
      value: requests,
    }));
    return metric(requestFamily, samples);
  }

  #forget(): void {
    for (const [key, { usedAtMs }] of this.#totals) {
      if (this.#totals.size <= MOST_LABEL_SETS && this.#now() - usedAtMs < FORGET_MS) return;
      this.#totals.delete(key);
    }
  }
}
