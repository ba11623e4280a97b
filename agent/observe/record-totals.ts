// main thread · adds up what the recorders of all threads hand over: a counter of the page is the sum over threads.
import { LabelledCounts } from "./labelled-counts.ts";
import { type Metric, metric, single } from "./metric.ts";
import { type RecordDeltas, recordFamilies } from "./recorder.ts";
import { REQUEST_LABEL_SETS } from "./request-series.ts";
import { RequestTotals } from "./request-totals.ts";
import { seriesFamilies, seriesValues, trafficLabels } from "./series.ts";
import { ThreadTotals } from "./thread-totals.ts";

export class RecordTotals {
  readonly #connections: ThreadTotals<(typeof trafficLabels)[number]>;
  readonly #decisions = new Map<string, number>();
  readonly #dryRunDenied = new LabelledCounts("policy");
  readonly #audited = new LabelledCounts("policy");
  readonly #requests: RequestTotals;
  readonly #httpRefused = new Map<string, number>();
  readonly #retried = new Map<string, number>();
  readonly #mirrored = new LabelledCounts("outcome");
  #overflowed = 0;

  constructor(now: () => number) {
    this.#connections = new ThreadTotals({ labels: trafficLabels, width: seriesValues.length, now });
    this.#requests = new RequestTotals(now, REQUEST_LABEL_SETS);
  }

  /** Adds what one thread counted since its last hand-over. */
  add(thread: number, deltas: RecordDeltas): void {
    this.#connections.add(thread, deltas);
    this.#overflowed += deltas.overflowed;
    for (const [key, value] of Object.entries(deltas.decisions)) {
      this.#decisions.set(key, (this.#decisions.get(key) ?? 0) + value);
    }
    for (const [policy, value] of Object.entries(deltas.dryRunDenied)) this.#dryRunDenied.add(policy, value);
    for (const [policy, value] of Object.entries(deltas.audited)) this.#audited.add(policy, value);
    this.#requests.add(thread, deltas.requests);
    for (const [key, value] of Object.entries(deltas.httpRefused))
      this.#httpRefused.set(key, (this.#httpRefused.get(key) ?? 0) + value);
    for (const [key, value] of Object.entries(deltas.retried))
      this.#retried.set(key, (this.#retried.get(key) ?? 0) + value);
    for (const [outcome, value] of Object.entries(deltas.mirrored)) this.#mirrored.add(outcome, value);
  }

  metrics(): readonly Metric[] {
    const rows = this.#connections.rows();
    // A label set that failed once has its own `response_flags`; a value that never was is left out, not shown as 0.
    const traffic = seriesValues.map((name, column) =>
      metric(
        seriesFamilies[name],
        rows.flatMap(({ labels, totals }) => {
          const value = totals[column] ?? 0;
          return value > 0 ? [{ labels, value }] : [];
        }),
      ),
    );
    const decisions = [...this.#decisions].map(([key, value]) => {
      const [verdict = "", layer = "", reason = ""] = key.split("|");
      return { labels: { verdict, layer, reason }, value };
    });
    const httpRefused = [...this.#httpRefused].map(([key, value]) => {
      const [message = "", reason = ""] = key.split("|");
      return { labels: { message, reason }, value };
    });
    const retried = [...this.#retried].map(([key, value]) => {
      const [failure = "", then = ""] = key.split("|");
      return { labels: { failure, then }, value };
    });
    return [
      ...traffic,
      ...this.#requests.metrics(),
      metric(recordFamilies.decisions, decisions),
      metric(recordFamilies.dryRunDenied, this.#dryRunDenied.samples()),
      metric(recordFamilies.audited, this.#audited.samples()),
      single(recordFamilies.overflowed, this.#overflowed),
      metric(recordFamilies.httpRefused, httpRefused),
      metric(recordFamilies.retried, retried),
      metric(recordFamilies.mirrored, this.#mirrored.samples()),
    ];
  }
}
