// main thread · adds up the requests that all threads hand over.
import { type Histogram, type Metric, metric, type Sample, single } from "./metric.ts";
import {
  histogramWidth,
  type RequestDeltas,
  requestBounds,
  requestFamilies,
  requestHistograms,
  requestLabels,
  requestRowWidth,
} from "./request-series.ts";
import { asOverflow } from "./series.ts";

type RequestLabels = Readonly<Record<(typeof requestLabels)[number], string>>;
type RequestTotal = {
  readonly labels: RequestLabels;
  readonly totals: Float64Array;
  /** Threads that know it. */
  users: number;
  idleSinceMs: number;
};

/** A label set that no thread knows any more stays this long, so that the last numbers are scraped. */
const FORGET_MS = 3_600_000;
const WIDTH = requestRowWidth + 1;

export class RequestTotals {
  readonly #now: () => number;
  readonly #limit: number;
  /** By thread, then by the thread's own number of the row. */
  readonly #byThread = new Map<number, Map<number, RequestTotal>>();
  readonly #labelSets = new Map<string, RequestTotal>();
  #overflowed = 0;

  /**
   * @param now milliseconds
   * @param limit most label sets on the page; requests beyond them count under "other"
   */
  constructor(now: () => number, limit: number) {
    this.#now = now;
    this.#limit = limit;
  }

  add(thread: number, deltas: RequestDeltas): void {
    const known = this.#byThread.get(thread) ?? new Map<number, RequestTotal>();
    this.#byThread.set(thread, known);
    for (const { id, labels } of deltas.fresh) known.set(id, this.#use(labels));
    for (let at = 0; at + WIDTH <= deltas.rows.length; at += WIDTH) {
      const totals = known.get(deltas.rows[at] ?? -1)?.totals;
      if (totals === undefined) continue;
      for (let column = 0; column < requestRowWidth; column++)
        totals[column] = (totals[column] ?? 0) + (deltas.rows[at + 1 + column] ?? 0);
    }
    for (const id of deltas.dropped) this.#release(known, id);
    this.#overflowed += deltas.overflowed;
    this.#forgetIdle();
  }

  metrics(): readonly Metric[] {
    const labelSets = [...this.#labelSets.values()];
    const histograms = requestHistograms.map((family, nth) =>
      metric(
        family,
        labelSets.map(({ labels, totals }) => ({ labels, value: histogramIn(totals, nth * histogramWidth) })),
      ),
    );
    const requests = labelSets.map(
      ({ labels, totals }): Sample<typeof requestFamilies.total> => ({ labels, value: countIn(totals) }),
    );
    return [
      metric(requestFamilies.total, requests),
      ...histograms,
      single(requestFamilies.overflowed, this.#overflowed),
    ];
  }

  #use(values: readonly string[]): RequestTotal {
    const key = values.join("\u0000");
    let labelSet = this.#labelSets.get(key);
    if (labelSet === undefined) {
      const others = values.map(asOverflow);
      // Several threads together may know more than the page has room for.
      if (this.#labelSets.size >= this.#limit && key !== others.join("\u0000")) return this.#use(others);
      const entries = requestLabels.map((name, index) => [name, values[index] ?? "unknown"]);
      labelSet = {
        labels: Object.fromEntries(entries) as RequestLabels,
        totals: new Float64Array(requestRowWidth),
        users: 0,
        idleSinceMs: 0,
      };
      this.#labelSets.set(key, labelSet);
    }
    labelSet.users += 1;
    return labelSet;
  }

  #release(known: Map<number, RequestTotal>, id: number): void {
    const labelSet = known.get(id);
    if (labelSet === undefined) return;
    known.delete(id);
    labelSet.users -= 1;
    labelSet.idleSinceMs = this.#now();
  }

  #forgetIdle(): void {
    const now = this.#now();
    for (const [key, { users, idleSinceMs }] of this.#labelSets)
      if (users === 0 && now - idleSinceMs >= FORGET_MS) this.#labelSets.delete(key);
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
