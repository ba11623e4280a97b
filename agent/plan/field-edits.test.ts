// Fields as a route leaves them, beside a list in which each edit is done for itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { editedHeader, type FieldEdit } from "./field-edits.ts";

const name = fc.constantFrom("x-role", "x_role", "x.role", "x-other");
const value = fc.constantFrom("a", "b", "c");
const edit: fc.Arbitrary<FieldEdit> = fc.oneof(
  fc.record({
    op: fc.constantFrom("set" as const, "add" as const),
    name,
    value,
  }),
  fc.record({ op: fc.constant("remove" as const), name }),
);

type Field = readonly [string, string];

const afterEach = (fields: readonly Field[], edits: readonly FieldEdit[]): readonly Field[] =>
  edits.reduce((now, each) => {
    const left = each.op === "add" ? now : now.filter(([sent]) => sent !== each.name);
    return each.op === "remove" ? left : [...left, [each.name, each.value] as const];
  }, fields);

test("what a route removes, sets and adds is read so under its own name and among all names that are alike", () => {
  const dashed = (text: string): string => text.replaceAll(/[_.]/g, "-");
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value)), fc.array(edit), name, (fields, edits, wanted) => {
      const header = editedHeader(
        (asked, spelled) =>
          fields.flatMap(([sent, each]) =>
            (spelled === undefined ? sent === asked : dashed(sent) === dashed(asked)) ? [each] : [],
          ),
        edits,
      );
      const left = afterEach(fields, edits);
      const own = left.flatMap(([sent, each]) => (sent === wanted ? [each] : []));
      const alike = left.flatMap(([sent, each]) => (dashed(sent) === dashed(wanted) ? [each] : []));
      assert.deepEqual(header(wanted), own);
      // Which of two equal values is which nobody can see.
      assert.deepEqual(header(wanted, "alike").toSorted(), alike.toSorted());
    }),
  );
});
