import assert from "node:assert/strict";
import { test } from "node:test";
import { LineLimit } from "./line-limit.ts";

test("so many lines a second, one line with the count of the others, and then anew", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const written: number[] = [];
  const leftOut: number[] = [];
  const limit = new LineLimit<number>({
    perSecond: 10,
    write: (line) => written.push(line),
    leftOut: (count) => leftOut.push(count),
  });
  for (let line = 0; line < 8_000; line++) limit.add(line);
  assert.equal(written.length, 10);
  assert.deepEqual(leftOut, []);
  t.mock.timers.tick(1_000);
  assert.deepEqual(leftOut, [7_990]);
  limit.add(9_000);
  t.mock.timers.tick(1_000);
  assert.equal(written.at(-1), 9_000);
  assert.deepEqual(leftOut, [7_990], "nothing was left out, nothing is told");
  for (let line = 0; line < 11; line++) limit.add(line);
  limit.close();
  assert.deepEqual(leftOut, [7_990, 1]);
});
