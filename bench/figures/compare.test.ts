import assert from "node:assert/strict";
import { test } from "node:test";
import { readResults, regressions } from "./compare.ts";
import type { Better, Failure, Results, Row } from "./results.ts";

function row(better: Better, ratio: number, [min, max]: readonly [number, number]): Row {
  return {
    ...{ scenario: "bulk-1", figure: "throughput", unit: "Gb/s", peerName: "haproxy", better },
    ...{ ours: ratio, peer: 1, ratio, min, max, pairs: 5, also: {} },
  };
}
function results(rows: readonly Row[], failures: readonly Failure[] = []): Results {
  const machine = { kernel: "6.18", cpu: "a cpu", cores: 2, versions: {} };
  return {
    terms: { date: "2026-01-01T00:00:00.000Z", seed: 0, windowSeconds: 1, warmupSeconds: 0.3, ...machine },
    ...{ rows, failures },
  };
}
const worse = (before: Row, after: Row): boolean => regressions(results([before]), results([after])).length > 0;

test("worse beyond the noise of both is a regression, in the figure's own direction", () => {
  assert.ok(worse(row("more", 2, [1.9, 2.1]), row("more", 1.5, [1.4, 1.6])));
  assert.ok(worse(row("less", 0.5, [0.4, 0.6]), row("less", 0.9, [0.8, 1])));
  assert.ok(!worse(row("more", 1.5, [1.4, 1.6]), row("more", 2, [1.9, 2.1])));
  assert.ok(!worse(row("less", 0.9, [0.8, 1]), row("less", 0.5, [0.4, 0.6])));
});

test("what the noise covers is none", () => {
  assert.ok(!worse(row("more", 2, [1.4, 2.1]), row("more", 1.5, [1.4, 1.6])));
  assert.ok(!worse(row("less", 0.5, [0.4, 0.9]), row("less", 0.8, [0.7, 1])));
  // Disjoint, but scattered so far that the medians say little.
  assert.ok(!worse(row("less", 0.67, [0.65, 0.7]), row("less", 0.77, [0.71, 1.2])));
  // Disjoint, but by less than anybody could tell apart.
  assert.ok(!worse(row("more", 2, [1.999, 2.001]), row("more", 1.99, [1.98, 1.998])));
});

test("a row that can no longer be measured is a regression; one that is not asked for is none", () => {
  const before = results([row("more", 2, [1.9, 2.1])]);
  const failed = { scenario: "bulk-1", peerName: "haproxy", failed: "a byte was wrong" };
  assert.match(regressions(before, results([], [failed]))[0]?.text ?? "", /a byte was wrong/);
  assert.deepEqual(regressions(before, results([])), []);
});

test("only results files are compared with", () => {
  assert.throws(() => readResults("{}", "x.json"), /no results file/);
  assert.throws(() => readResults("nonsense", "x.json"), SyntaxError);
  const kept = results([row("more", 2, [1.9, 2.1])]);
  assert.deepEqual(readResults(JSON.stringify(kept), "x.json"), kept);
});
