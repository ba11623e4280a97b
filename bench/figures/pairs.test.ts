import assert from "node:assert/strict";
import { test } from "node:test";
import { type Contestant, type Figures, measurePairs, rowOf } from "./pairs.ts";

function contestants(): { order: string[]; ours: Contestant; peer: Contestant } {
  const order: string[] = [];
  const contestant = (name: string, value: number): Contestant => ({
    name,
    measure: async (): Promise<Figures> => {
      order.push(name);
      return { gbps: value, cpu: value / 10 };
    },
  });
  return { order, ours: contestant("A", 6), peer: contestant("B", 3) };
}
const late = Number.POSITIVE_INFINITY;
const about = { scenario: "bulk-1", figure: "throughput", unit: "Gb/s", peerName: "b", better: "more" } as const;

test("the sides take turns in beginning, and an odd seed lets the peer begin", async () => {
  const even = contestants();
  await measurePairs(even.ours, even.peer, { pairs: 4, seed: 0, deadline: late });
  assert.equal(even.order.join(""), "ABBAABBA");
  const odd = contestants();
  await measurePairs(odd.ours, odd.peer, { pairs: 3, seed: 7, deadline: late });
  assert.equal(odd.order.join(""), "BAABBA");
});

test("past the deadline three pairs are still measured, and no more", async () => {
  const { order, ours, peer } = contestants();
  const pairs = await measurePairs(ours, peer, { pairs: 9, seed: 0, deadline: 0 });
  assert.equal(pairs.length, 3);
  assert.equal(order.length, 6);
});

test("a measurement that fails is no pair", async () => {
  const { ours } = contestants();
  const broken: Contestant = { name: "B", measure: () => Promise.reject(new Error("a byte was wrong")) };
  await assert.rejects(measurePairs(ours, broken, { pairs: 5, seed: 0, deadline: late }), /a byte was wrong/);
});

test("a row holds the figure, and beside it what both sides also have", async () => {
  const { ours, peer } = contestants();
  const pairs = await measurePairs(ours, peer, { pairs: 3, seed: 0, deadline: late });
  const row = rowOf(pairs, "gbps", { ...about, target: { atLeast: 1.5 }, limits: { cpu: 1 } });
  assert.deepEqual(
    { ours: row.ours, peer: row.peer, ratio: row.ratio, min: row.min, max: row.max, pairs: row.pairs },
    { ours: 6, peer: 3, ratio: 2, min: 2, max: 2, pairs: 3 },
  );
  assert.deepEqual(row.also, { cpu: { ours: 0.6, peer: 0.3, ratio: 2 } });
  assert.deepEqual(row.limits, [{ key: "cpu", atMost: 1, ours: 0.6 }]);
});

test("a figure that one side does not have is an error, not a zero", () => {
  assert.throws(() => rowOf([{ ours: { gbps: 1 }, peer: {} }], "gbps", about), /no figure "gbps"/);
  // No processes, no CPU: nothing to divide by.
  assert.throws(() => rowOf([{ ours: { cpu: 1 }, peer: { cpu: 0 } }], "cpu", about), RangeError);
});
