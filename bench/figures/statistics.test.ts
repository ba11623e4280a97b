import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { medianOf, quantileOf, ratioOf, rounded } from "./statistics.ts";

const finite = fc.double({ min: 0.001, max: 1e6, noNaN: true });

test("a quantile lies between its neighbours", () => {
  assert.equal(medianOf([3, 1, 2]), 2);
  assert.equal(medianOf([4, 1, 3, 2]), 2.5);
  assert.equal(quantileOf([10, 20, 30, 40, 50], 0.25), 20);
  assert.equal(quantileOf([10, 20], 0.9), 19);
  assert.equal(quantileOf([7], 0.99), 7);
  assert.throws(() => medianOf([]), RangeError);
});

test("a quantile never leaves the range of the values and never falls", () => {
  fc.assert(
    fc.property(fc.array(finite, { minLength: 1 }), fc.nat(100), fc.nat(100), (values, first, other) => {
      const [low, high] = [Math.min(first, other) / 100, Math.max(first, other) / 100];
      assert.ok(quantileOf(values, low) <= quantileOf(values, high));
      assert.ok(quantileOf(values, 0) >= Math.min(...values) && quantileOf(values, 1) <= Math.max(...values));
    }),
  );
});

test("the ratio is that of the pairs, not of the medians", () => {
  const pairs = [
    { ours: 10, peer: 1 },
    { ours: 2, peer: 1 },
    { ours: 3, peer: 3 },
  ];
  assert.deepEqual(ratioOf(pairs), { ours: 3, peer: 1, ratio: 2, min: 1, max: 10, pairs: 3 });
});

test("a drift of the machine that meets both sides of each pair alike leaves the ratio", () => {
  fc.assert(
    fc.property(fc.array(finite, { minLength: 1, maxLength: 20 }), (drifts) => {
      const { ratio, min, max } = ratioOf(drifts.map((drift) => ({ ours: 3 * drift, peer: 2 * drift })));
      for (const value of [ratio, min, max]) assert.equal(rounded(value), 1.5);
    }),
  );
});

test("a peer without a figure makes no ratio", () => {
  assert.throws(() => ratioOf([{ ours: 1, peer: 0 }]), RangeError);
  assert.throws(() => ratioOf([{ ours: Number.NaN, peer: 1 }]), RangeError);
  assert.throws(() => ratioOf([]), RangeError);
});
