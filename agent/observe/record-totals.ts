// main thread · adds up what the recorders of all threads hand over: a counter of the page is the sum over threads.
import { LabelledCounts } from "./labelled-counts.ts";
import { type Metric, metric, single } from "./metric.ts";
import { type RecordDeltas, recordFamilies } from "./recorder.ts";
import { REQUEST_LABEL_SETS } from "./request-series.ts";
import { RequestTotals } from "./request-totals.ts";
import { seriesFamilies, seriesValues, type TrafficLabels, trafficLabels } from "./series.ts";

type LabelSet = {
  readonly labels: TrafficLabels;
  readonly totals: Record<(typeof seriesValues)[number], number>;
  /** Threads that know it. */
  users: number;
  idleSinceMs: number;
};

/** A label set that no thread knows any more stays this long, so that the last numbers are scraped. */
const FORGET_MS = 3_600_000;
const WIDTH = seriesValues.length + 1;

export class RecordTotals {
  readonly #now: () => number;
  /** By thread, then by the thread's own number of the series. */
  readonly #byThread = new Map<number, Map<number, LabelSet>>();
  readonly #labelSets = new Map<string, LabelSet>();
  readonly #decisions = new Map<string, number>();
  readonly #dryRunDenied = new LabelledCounts("policy");
  readonly #audited = new LabelledCounts("policy");
  readonly #requests: RequestTotals;
  readonly #httpRefused = new Map<string, number>();
  #overflowed = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.#requests = new RequestTotals(now, REQUEST_LABEL_SETS);
  }

  /** Adds what one thread counted since its last hand-over. */
  add(thread: number, deltas: RecordDeltas): void {
    const known = this.#byThread.get(thread) ?? new Map<number, LabelSet>();
    this.#byThread.set(thread, known);
    for (const { id, labels } of deltas.fresh) known.set(id, this.#use(labels));
    for (let at = 0; at + WIDTH <= deltas.rows.length; at += WIDTH) {
      const totals = known.get(deltas.rows[at] ?? -1)?.totals;
      if (totals === undefined) continue;
      seriesValues.forEach((name, column) => {
        totals[name] += deltas.rows[at + column + 1] ?? 0;
      });
    }
    for (const id of deltas.dropped) this.#release(known, id);
    this.#overflowed += deltas.overflowed;
    for (const [key, value] of Object.entries(deltas.decisions)) {
      this.#decisions.set(key, (this.#decisions.get(key) ?? 0) + value);
    }
    for (const [policy, value] of Object.entries(deltas.dryRunDenied)) this.#dryRunDenied.add(policy, value);
    for (const [policy, value] of Object.entries(deltas.audited)) this.#audited.add(policy, value);
    this.#requests.add(thread, deltas.requests);
    for (const [key, value] of Object.entries(deltas.httpRefused))
      this.#httpRefused.set(key, (this.#httpRefused.get(key) ?? 0) + value);
    this.#forgetIdle();
  }

  metrics(): readonly Metric[] {
    const labelSets = [...this.#labelSets.values()];
    // A label set that failed once has its own `response_flags`; a value that never was is left out, not shown as 0.
    const traffic = seriesValues.map((name) =>
      metric(
        seriesFamilies[name],
        labelSets.flatMap(({ labels, totals }) => (totals[name] > 0 ? [{ labels, value: totals[name] }] : [])),
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
    return [
      ...traffic,
      ...this.#requests.metrics(),
      metric(recordFamilies.decisions, decisions),
      metric(recordFamilies.dryRunDenied, this.#dryRunDenied.samples()),
      metric(recordFamilies.audited, this.#audited.samples()),
      single(recordFamilies.overflowed, this.#overflowed),
      metric(recordFamilies.httpRefused, httpRefused),
    ];
  }

  #use(values: readonly string[]): LabelSet {
    const key = values.join("\u0000");
    let labelSet = this.#labelSets.get(key);
    if (labelSet === undefined) {
      const entries = trafficLabels.map((name, index) => [name, values[index] ?? "unknown"]);
      labelSet = {
        labels: Object.fromEntries(entries) as TrafficLabels,
        totals: { opened: 0, closed: 0, failed: 0, sentBytes: 0, receivedBytes: 0 },
        users: 0,
        idleSinceMs: 0,
      };
      this.#labelSets.set(key, labelSet);
    }
    labelSet.users += 1;
    return labelSet;
  }

  #release(known: Map<number, LabelSet>, id: number): void {
    const labelSet = known.get(id);
    if (labelSet === undefined) return;
    known.delete(id);
    labelSet.users -= 1;
    labelSet.idleSinceMs = this.#now();
  }

  #forgetIdle(): void {
    const now = this.#now();
    for (const [key, { users, idleSinceMs }] of this.#labelSets) {
      if (users === 0 && now - idleSinceMs >= FORGET_MS) this.#labelSets.delete(key);
    }
  }
}
