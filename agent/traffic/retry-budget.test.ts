// Retries are a share of what was asked, with a floor; each caller and rule has a budget of its own.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "./mesh.fake.ts";
import { RetryBudget } from "./retry-budget.ts";

test("without load ten a second are allowed, in ten seconds a hundred, and no other key's are touched", () => {
  let nowMs = 5_000;
  const budget = new RetryBudget({ now: () => nowMs, threads: 1 });
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
  const part = new RetryBudget({ now: () => nowMs, threads: 4 });
  let count = 0;
  while (part.take("a")) count += 1;
  assert.equal(count, 25);
});

test("where everything fails, retries never are more than a fifth of the requests of any ten seconds", (context) => {
  const seed = randomInt(2 ** 31);
  context.diagnostic(`seed ${seed}`);
  const random = seeded(seed);
  let nowMs = 0;
  const budget = new RetryBudget({ now: () => nowMs, threads: 1 });
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

test("more keys than are kept cost nothing but the memory of the longest unused", () => {
  const budget = new RetryBudget({ now: () => 0, threads: 1 });
  for (let nth = 0; nth < 10_000; nth++) budget.requested(`key ${nth}`);
  assert.ok(budget.take("key 1"));
});
