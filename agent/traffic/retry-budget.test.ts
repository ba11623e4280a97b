// Retries are a share of what was asked, with a floor; each caller and rule has a budget of its own.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import { RetryBudget } from "./retry-budget.ts";
import { RetryCells } from "./retry-cells.ts";

test("without load ten a second are allowed, in ten seconds a hundred, and no other key's are touched", () => {
  let nowMs = 5_000;
  const budget = new RetryBudget({ now: () => nowMs, cells: new RetryCells(RetryCells.buffer()) });
  const taken = (key: string): number => {
    let count = 0;
    while (budget.take(key)) count += 1;
    return count;
  };
  assert.equal(taken("a"), 100);
  assert.equal(taken("b"), 100);
  nowMs += 9_999;
  assert.equal(taken("a"), 0);
  nowMs += 1;
  assert.equal(taken("a"), 100);
});

test("where everything fails, retries never are more than a fifth of the requests of any ten seconds", (context) => {
  const seed = randomInt(2 ** 31);
  context.diagnostic(`seed ${seed}`);
  const random = seeded(seed);
  let nowMs = 0;
  const budget = new RetryBudget({ now: () => nowMs, cells: new RetryCells(RetryCells.buffer()) });
  const requests: number[] = [];
  const retries: number[] = [];
  // As the budget has it: of whole seconds.
  const within = (times: readonly number[]): number =>
    times.filter((at) => Math.floor(at / 1_000) > Math.floor(nowMs / 1_000) - 10).length;
  for (let nth = 0; nth < 60_000; nth++) {
    nowMs += random() < 0.001 ? random() * 8_000 : random() * 2;
    budget.requested("a");
    requests.push(nowMs);
    if (!budget.take("a")) continue;
    retries.push(nowMs);
    if (nth % 50 > 0) continue;
    const most = Math.max(100, 0.2 * within(requests));
    assert.ok(within(retries) <= most, `seed ${seed}: ${within(retries)} of ${within(requests)}`);
  }
  assert.ok(retries.length > 0.15 * requests.length, "the share is given, too");
});

test("threads share a budget: what the one has asked for and sent again counts for all", () => {
  const cells = RetryCells.buffer();
  const [one, other] = [0, 1].map(() => new RetryBudget({ now: () => 5_000, cells: new RetryCells(cells) }));
  assert.ok(one !== undefined && other !== undefined);
  for (let nth = 0; nth < 1_000; nth++) one.requested("a");
  let count = 0;
  for (let nth = 0; nth < 1_000; nth++) if ((nth % 2 === 0 ? one : other).take("a")) count += 1;
  assert.equal(count, 200);
});

test("more keys than there is room for are not retried, and those that are known still are", () => {
  let nowMs = 0;
  const budget = new RetryBudget({ now: () => nowMs, cells: new RetryCells(RetryCells.buffer()) });
  for (let nth = 0; nth < 10_000; nth++) budget.requested(`key ${nth}`);
  assert.ok(budget.take("key 1"));
  assert.ok(!budget.take("key 9999"));
  nowMs = 10_000;
  assert.ok(budget.take("key 9999"), "whose window is empty has given up its place");
});
