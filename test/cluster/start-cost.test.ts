// start-cost.ts over starts whose cost is known.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Dice } from "../support/dice.ts";
import { addedAt, isMet, placebo, rankOf, type StartPair } from "./start-cost.ts";

/** Starts of 300 ms and an exponential tail, while the machine is slow for both of a pair in every tenth. */
function starts(dice: Dice, count: number, cost: (dice: Dice) => number): readonly StartPair[] {
  const noise = (): number => -30 * Math.log(1 - dice.roll(1_000_000) / 1_000_000);
  return Array.from({ length: count }, () => {
    const slow = dice.chance(10) ? 200 : 0;
    return { inMesh: 300 + slow + noise() + cost(dice), outside: 300 + slow + noise() };
  });
}

test("nearest ranks", () => {
  const values = Array.from({ length: 100 }, (_, at) => at + 1);
  assert.deepEqual(
    [0.5, 0.99, 1].map((part) => rankOf(values, part)),
    [50, 99, 100],
  );
  assert.equal(rankOf([7], 0.99), 7);
  assert.ok(Number.isNaN(rankOf([], 0.5)));
});

test("the interval holds what was added in seventeen of twenty runs, and the figure of no cost holds nothing", () => {
  const dice = new Dice(Number(process.env.ORLOP_SEED ?? 7));
  const held = { p50: 0, p99: 0, none: 0 };
  const RUNS = 20;
  for (let run = 0; run < RUNS; run += 1) {
    const pairs = starts(dice, 100, () => 20);
    const holds = ({ low, high }: { readonly low: number; readonly high: number }, ms: number): number =>
      low <= ms && ms <= high ? 1 : 0;
    held.p50 += holds(addedAt(pairs, 0.5, run + 1), 20);
    held.p99 += holds(addedAt(pairs, 0.99, run + 1), 20);
    held.none += holds(addedAt(placebo(pairs), 0.5, run + 1), 0);
  }
  assert.ok(held.p50 >= 0.85 * RUNS && held.p99 >= 0.85 * RUNS && held.none >= 0.85 * RUNS, JSON.stringify(held));
});

test("a cost that only one start in twenty has is seen at p99, and not at p50", () => {
  const pairs = starts(new Dice(3), 200, (dice) => (dice.chance(5) ? 800 : 0));
  assert.equal(isMet(addedAt(pairs, 0.99), 50), "missed");
  assert.equal(isMet(addedAt(pairs, 0.5), 50), "met");
});

test("met and missed are said only of what the error leaves no doubt about", () => {
  assert.equal(isMet({ ms: 20, low: -5, high: 49 }, 50), "met");
  assert.equal(isMet({ ms: 49, low: 40, high: 58 }, 50), "undecided");
  assert.equal(isMet({ ms: 90, low: 51, high: 120 }, 50), "missed");
});
