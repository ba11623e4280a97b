// main thread · the requests that all threads hand over, added up, as metrics.
import { type Histogram, type Metric, metric, type Sample, single } from "./metric.ts";
import {
  histogramWidth,
  requestBounds,
  requestFamilies,
  requestHistograms,
  requestLabels,
  requestRowWidth,
} from "./request-series.ts";
import type { RowDeltas } from "./row-deltas.ts";
import { asOverflow } from "./series.ts";
import { ThreadTotals } from "./thread-totals.ts";

export class RequestTotals {
  readonly #rows: ThreadTotals<(typeof requestLabels)[number]>;
  #overflowed = 0;

  /**
   * @param now milliseconds
   * @param limit most label sets on the page; requests beyond them count under "other"
   */
  constructor(now: () => number, limit: number) {
    this.#rows = new ThreadTotals({ labels: requestLabels, width: requestRowWidth, now, limit, asOverflow });
  }

  add(thread: number, deltas: RowDeltas): void {
    this.#rows.add(thread, deltas);
    this.#overflowed += deltas.overflowed;
  }

  metrics(): readonly Metric[] {
    const rows = this.#rows.rows();
    const histograms = requestHistograms.map((family, nth) =>
      metric(
        family,
        rows.map(({ labels, totals }) => ({ labels, value: histogramIn(totals, nth * histogramWidth) })),
      ),
    );
    const requests = rows.map(
      ({ labels, totals }): Sample<typeof requestFamilies.total> => ({ labels, value: countIn(totals) }),
    );
    return [
      metric(requestFamilies.total, requests),
      ...histograms,
      single(requestFamilies.overflowed, this.#overflowed),
    ];
  }
}

function histogramIn(totals: Float64Array, at: number): Histogram {
  const buckets = requestBounds.length + 1;
  return {
    bounds: requestBounds,
    counts: [...totals.subarray(at, at + buckets)],
    sum: totals[at + buckets] ?? 0,
  };
}

/** Each request is in one bucket of each histogram. */
function countIn(totals: Float64Array): number {
  let count = 0;
  for (let bucket = 0; bucket <= requestBounds.length; bucket++) count += totals[bucket] ?? 0;
  return count;
}
