import assert from "node:assert/strict";
import { test } from "node:test";
import { chartText, tableText } from "./report.ts";
import type { Results, Row } from "./results.ts";

const row: Row = {
  ...{ scenario: "bulk-1", figure: "throughput", unit: "Gb/s", peerName: "haproxy", better: "more" },
  ...{ ours: 14, peer: 7, ratio: 2, min: 1.9, max: 2.2, pairs: 5, target: { atLeast: 2 }, also: {} },
};
const results: Results = {
  terms: {
    ...{ date: "2026-01-01T00:00:00.000Z", seed: 3, windowSeconds: 1, warmupSeconds: 0.3, kernel: "6.18" },
    ...{ cpu: "a cpu", cores: 2, versions: { haproxy: "HAProxy 2.6" } },
  },
  rows: [row, { ...row, scenario: "rr-1", better: "less", target: { atMost: 1.5 } }],
  failures: [{ scenario: "rr-64", peerName: "nginx", failed: "nginx is not installed\nmore" }],
};

test("the table says terms, versions, ratios, targets and what failed", () => {
  const text = tableText(results);
  assert.match(text, /seed 3/);
  assert.match(text, /haproxy: HAProxy 2\.6/);
  assert.match(text, /\| bulk-1 .*\| 2 \(1\.9–2\.2\) \| 5 \| ≥ 2 \| met \|/);
  assert.match(text, /\| rr-1 .*\| ≤ 1\.5 \| missed \|/);
  assert.match(text, /\| rr-64 .*\| nginx .*\| not measured: nginx is not installed \|/);
  const widths = text.split("\n").filter((line) => line.startsWith("|"));
  assert.deepEqual(new Set(widths.map((line) => line.split("|").length)), new Set([11]));
});

test("our own limits are judged on our own figure", () => {
  const limited = { ...row, limits: [{ key: "p99Us", atMost: 10, ours: 12 }] };
  assert.match(tableText({ ...results, rows: [limited] }), /p99Us 12 ≤ 10: missed/);
});

test("a chart is well formed, also for names that look like markup and ratios without a logarithm", () => {
  const odd = { ...row, scenario: "<a&b>", ratio: -1, min: -2, max: 0.5, better: "less" } as const;
  const text = chartText('title "quoted"', [row, odd]);
  assert.match(text, /^<svg [^>]*>/);
  assert.ok(text.includes("&lt;a&amp;b&gt; · haproxy") && text.includes("&quot;quoted&quot;"));
  assert.doesNotMatch(text, /NaN|Infinity|undefined|width="-/);
  assert.equal(text.match(/<(text|rect|line|svg)\b/g)?.length, text.match(/<\/(text|svg)>|\/>/g)?.length);
});
