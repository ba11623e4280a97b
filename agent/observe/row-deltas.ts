// any thread · rows of numbers by label set, as a data thread hands them to the main thread. Plain data: crosses by structured clone.

export type RowDeltas = {
  /** Label sets that main has not seen yet from this thread. */
  readonly fresh: readonly { readonly id: number; readonly labels: readonly string[] }[];
  /** Rows that changed: the id, then the numbers that were counted since the last hand-over. */
  readonly rows: Float64Array;
  /** Ids forgotten because nothing happened for an hour. Ids are never used again. */
  readonly dropped: readonly number[];
  /** What was counted under "other" because the budget was spent. */
  readonly overflowed: number;
};

/** A row without news for this long gives its share of the budget back, ms. */
const IDLE_MS = 3_600_000;
const SWEEP_MS = 60_000;

/** Says when a thread looks for idle rows, and which rows are idle. Pure but for its state. */
export class IdleRows {
  #sweptAtMs: number;

  constructor(nowMs: number) {
    this.#sweptAtMs = nowMs;
  }

  /** The idle rows; none, more often than once a minute. */
  *of<Row extends { readonly usedAtMs: number }>(rows: Iterable<Row>, nowMs: number): Generator<Row> {
    if (nowMs - this.#sweptAtMs < SWEEP_MS) return;
    this.#sweptAtMs = nowMs;
    for (const row of rows) if (nowMs - row.usedAtMs >= IDLE_MS) yield row;
  }
}

/** What a hand-over says of rows that are new to the main thread. */
export function freshOf(
  rows: readonly { readonly id: number; readonly labels: readonly string[] }[],
): RowDeltas["fresh"] {
  return rows.map(({ id, labels }) => ({ id, labels }));
}
