// Protection never goes down on the way: held at every single write, with tables of every size.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { closeGroup, type TableRules, type TableWriter, tableChange, writeChange } from "./table-change.ts";

type Row = { readonly group: number; readonly port: number; readonly weakness: number };
const rules: TableRules<Row> = { keyOf: ({ group, port }) => `${group} ${port}`, weakness: ({ weakness }) => weakness };
const groups = [1, 2];
/** Port 9 has no row of its own: it meets its group's default. */
const ports = [1, 2, 3, 9];
const strictest = 0;
const weakest = 3;

const anyRows = fc.uniqueArray(
  fc.record({
    group: fc.constantFrom(...groups),
    port: fc.constantFrom(0, 1, 2, 3),
    weakness: fc.integer({ min: strictest, max: weakest }),
  }),
  { selector: rules.keyOf },
);

/** A table of at most `maxRows`, which looks at every port after each write. */
class Table {
  readonly rows = new Map<string, Row>();
  readonly #maxRows: number;
  readonly #miss: number;
  readonly #look: (table: Table) => void;

  constructor(rows: readonly Row[], miss: number, maxRows: number, look: (table: Table) => void) {
    for (const row of rows) this.rows.set(rules.keyOf(row), row);
    this.#miss = miss;
    this.#maxRows = maxRows;
    this.#look = look;
  }

  readonly writer: TableWriter<Row> = {
    put: (row) => {
      if (!this.rows.has(rules.keyOf(row)) && this.rows.size >= this.#maxRows) return false;
      this.rows.set(rules.keyOf(row), row);
      this.#look(this);
      return true;
    },
    remove: (row) => {
      this.rows.delete(rules.keyOf(row));
      this.#look(this);
    },
  };

  weaknessOf(group: number, port: number): number {
    return (this.rows.get(`${group} ${port}`) ?? this.rows.get(`${group} 0`))?.weakness ?? this.#miss;
  }
}

/** Every group and port with what it meets in a table of these rows. */
const all = (rows: readonly Row[], miss: number): Map<string, number> => {
  const table = new Table(rows, miss, Number.POSITIVE_INFINITY, () => {});
  return new Map(
    groups.flatMap((group) => ports.map((port) => [`${group} ${port}`, table.weaknessOf(group, port)] as const)),
  );
};

const noWeakerThan =
  (...limits: readonly Map<string, number>[]) =>
  (table: Table): void => {
    for (const group of groups) {
      for (const port of ports) {
        const limit = Math.max(...limits.map((each) => each.get(`${group} ${port}`) ?? strictest));
        const now = table.weaknessOf(group, port);
        assert.ok(now <= limit, `group ${group} port ${port}: ${now} is weaker than ${limit}`);
      }
    }
  };

const miss = fc.integer({ min: strictest, max: weakest });

test("from any table to any other: no moment is weaker than both, and the end is what was desired", () => {
  fc.assert(
    fc.property(anyRows, anyRows, miss, (written, desired, missing) => {
      const look = noWeakerThan(all(written, missing), all(desired, missing));
      const table = new Table(written, missing, Number.POSITIVE_INFINITY, look);
      assert.equal(writeChange(tableChange(written, desired, rules), table.writer), true);
      const sorted = (rows: Iterable<Row>) => [...rows].map((row) => JSON.stringify(row)).sort();
      assert.deepEqual(
        sorted([...table.rows.values()].map(({ group, port, weakness }) => ({ group, port, weakness }))),
        sorted(desired.map(({ group, port, weakness }) => ({ group, port, weakness }))),
      );
      assert.deepEqual(tableChange(desired, desired, rules), { put: [], remove: [] });
    }),
    { numRuns: 5_000, verbose: true },
  );
});

test("a table that is full: the group is closed without a weaker moment, whatever was written of it", () => {
  fc.assert(
    fc.property(anyRows, anyRows, miss, fc.nat(8), (written, others, missing, room) => {
      const desired = [...written.filter(({ group }) => group === 2), ...others.filter(({ group }) => group === 1)];
      const refusal: Row = { group: 1, port: 0, weakness: strictest };
      const look = noWeakerThan(all(written, missing), all(desired, missing));
      const table = new Table(written, missing, Math.max(room, written.length), look);
      if (writeChange(tableChange(written, desired, rules), table.writer)) return;
      const rows = [...written, ...desired].filter(({ group }) => group === 1);
      // Where the group had no row, rows of others fill the table: what is left is a miss.
      const fits = closeGroup(rows, refusal, rules, {
        ...table.writer,
        remove: (row) => table.rows.delete(rules.keyOf(row)) && closed(table, written, desired, missing),
      });
      assert.equal(fits, table.rows.has("1 0"));
      for (const port of ports) assert.equal(table.weaknessOf(1, port), fits ? strictest : missing);
    }),
    { numRuns: 5_000, verbose: true },
  );
});

/** While a group is closed, a port may be as weak as before, after, or as a miss. */
function closed(table: Table, written: readonly Row[], desired: readonly Row[], missing: number): void {
  noWeakerThan(all(written, missing), all(desired, missing), all([], missing))(table);
}
