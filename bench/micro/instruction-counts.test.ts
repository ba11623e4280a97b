import assert from "node:assert/strict";
import { test } from "node:test";
import { countsOf, tableOf, worse } from "./instruction-counts.ts";

const dump = (total: number): string => `version: 1\nevents: Ir\nfn=(1)\n0 5\ntotals: ${total}\n`;

test("a stretch is what lies between its two marks", () => {
  const counts = countsOf("one 10\ntwo 4\n", [dump(999), dump(1_000), dump(77), dump(10)]);
  assert.deepEqual(counts, { one: 100, two: 3 });
});

test("marks that do not fit, and stretches without a count, are errors", () => {
  assert.throws(() => countsOf("one 10\n", [dump(1)]), /1 marks of 2/);
  assert.throws(() => countsOf("one 10\n", [dump(1), "nothing"]), /nothing of one/);
});

test("worse is more than 2 % above, or gone; better is fine", () => {
  const baseline = { same: 100, more: 100, less: 100, gone: 100 };
  const counts = { same: 102, more: 103, less: 50, fresh: 1 };
  assert.deepEqual(worse(counts, baseline), ["more: 100 before, 103 now", "gone: counted before, not any more"]);
  const table = tableOf(counts, baseline);
  assert.match(table, /\| more \| 103 \| 100 \| 3\.00 % \|/);
  assert.match(table, /\| fresh \| 1 \| {2}\| {2}\|/);
});
