// 1 · main thread · how a table of verdicts becomes another, a row at a time, so that protection never goes down on the way: at
// each moment each port has a verdict no weaker than the weaker of before and after. Pure but for the rows it is given to write.

/** Rows of a table belong to groups (a pod, an address, a pair). Port 0 is the default of its group's other ports. */
export type TableRules<Row> = {
  readonly keyOf: (row: Row) => string;
  /** How much the row's verdict lets through: more is weaker. */
  readonly weakness: (row: Row) => number;
};

/** What is to be put, in this order, and then what is to be removed, in this order. */
export type TableChange<Row> = { readonly put: readonly Row[]; readonly remove: readonly Row[] };

/**
 * Rows in the order in which they may be written. The strictest are put first: an exception that refuses is there before a
 * default that opens. The weakest are removed first: a default that opens is gone before an exception that refuses.
 */
export function inOrder<Row>({ put, remove }: TableChange<Row>, { weakness }: TableRules<Row>): TableChange<Row> {
  return {
    put: put.toSorted((one, other) => weakness(one) - weakness(other)),
    remove: remove.toSorted((one, other) => weakness(other) - weakness(one)),
  };
}

/** What makes `desired` of `written`, in order. */
export function tableChange<Row>(
  written: readonly Row[],
  desired: readonly Row[],
  rules: TableRules<Row>,
): TableChange<Row> {
  const { keyOf, weakness } = rules;
  const have = new Map(written.map((row) => [keyOf(row), row]));
  const want = new Map(desired.map((row) => [keyOf(row), row]));
  const isNew = (row: Row): boolean => {
    const before = have.get(keyOf(row));
    return before === undefined || weakness(before) !== weakness(row);
  };
  const put = [...want.values()].filter(isNew);
  const remove = [...have.values()].filter((row) => !want.has(keyOf(row)));
  return inOrder({ put, remove }, rules);
}

/** `put` false: the table is full. A row with a key that is there already always fits. */
export type TableWriter<Row> = { readonly put: (row: Row) => boolean; readonly remove: (row: Row) => void };

/** False: a row did not fit. What was put by then stays, nothing was removed, and still no port is weaker than promised. */
export function writeChange<Row>({ put, remove }: TableChange<Row>, writer: TableWriter<Row>): boolean {
  if (!put.every((row) => writer.put(row))) return false;
  for (const row of remove) writer.remove(row);
  return true;
}

/**
 * Leaves `refusal`, its group's strictest default, as the only row of a group that does not fit as a whole. `rows` are those
 * that may be there; removing them makes the room where the default was not there to be overwritten. False: not even the
 * default fits, and a miss has to be strict enough.
 */
export function closeGroup<Row>(
  rows: readonly Row[],
  refusal: Row,
  { keyOf }: TableRules<Row>,
  writer: TableWriter<Row>,
): boolean {
  const fitted = writer.put(refusal);
  for (const row of rows) if (keyOf(row) !== keyOf(refusal)) writer.remove(row);
  return fitted || writer.put(refusal);
}
