// main thread · adds up, by label set, the rows of numbers that all threads hand over.
import type { RowDeltas } from "./row-deltas.ts";

type TotalRow<Name extends string> = {
  readonly labels: Readonly<Record<Name, string>>;
  readonly totals: Float64Array;
  /** Threads that know it. */
  users: number;
  idleSinceMs: number;
};

export type ThreadTotalsOptions<Name extends string> = {
  /** Names of the labels, in the order in which threads send the values. */
  readonly labels: readonly Name[];
  /** Numbers in a row, its id not among them. */
  readonly width: number;
  /** Milliseconds. */
  readonly now: () => number;
  /** Most label sets; what comes beyond counts under the labels that `asOverflow` makes. Absent: each thread's own limit is enough. */
  readonly limit?: number;
  readonly asOverflow?: (value: string, index: number) => string;
};

/** A label set that no thread knows any more stays this long, so that the last numbers are scraped. */
const FORGET_MS = 3_600_000;

export class ThreadTotals<Name extends string> {
  readonly #options: ThreadTotalsOptions<Name>;
  /** By thread, then by the thread's own number of the row. */
  readonly #byThread = new Map<number, Map<number, TotalRow<Name>>>();
  readonly #rows = new Map<string, TotalRow<Name>>();

  constructor(options: ThreadTotalsOptions<Name>) {
    this.#options = options;
  }

  /** Adds what a thread counted since its last hand-over. */
  add(thread: number, { fresh, rows, dropped }: RowDeltas): void {
    const { width } = this.#options;
    const known = this.#byThread.get(thread) ?? new Map<number, TotalRow<Name>>();
    this.#byThread.set(thread, known);
    for (const { id, labels } of fresh) known.set(id, this.#use(labels));
    for (let at = 0; at + width < rows.length; at += width + 1) {
      const totals = known.get(rows[at] ?? -1)?.totals;
      if (totals === undefined) continue;
      for (let column = 0; column < width; column++)
        totals[column] = (totals[column] ?? 0) + (rows[at + 1 + column] ?? 0);
    }
    for (const id of dropped) this.#release(known, id);
    this.#forgetIdle();
  }

  rows(): readonly Pick<TotalRow<Name>, "labels" | "totals">[] {
    return [...this.#rows.values()];
  }

  #use(values: readonly string[]): TotalRow<Name> {
    const { labels, width, limit = Number.POSITIVE_INFINITY, asOverflow } = this.#options;
    const key = values.join("\u0000");
    let row = this.#rows.get(key);
    if (row === undefined) {
      // Several threads together may know more than the page has room for.
      const others = this.#rows.size >= limit && asOverflow !== undefined ? values.map(asOverflow) : values;
      if (key !== others.join("\u0000")) return this.#use(others);
      const entries = labels.map((name, index) => [name, values[index] ?? "unknown"]);
      row = {
        labels: Object.fromEntries(entries) as Record<Name, string>,
        totals: new Float64Array(width),
        users: 0,
        idleSinceMs: 0,
      };
      this.#rows.set(key, row);
    }
    row.users += 1;
    return row;
  }

  #release(known: Map<number, TotalRow<Name>>, id: number): void {
    const row = known.get(id);
    if (row === undefined) return;
    known.delete(id);
    row.users -= 1;
    row.idleSinceMs = this.#options.now();
  }

  #forgetIdle(): void {
    const now = this.#options.now();
    for (const [key, { users, idleSinceMs }] of this.#rows)
      if (users === 0 && now - idleSinceMs >= FORGET_MS) this.#rows.delete(key);
  }
}
