import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DirectSweep } from "./direct-sweep.ts";
import type { TrafficRow } from "./traffic-sums.ts";

const row = (podIdx: number, over: Partial<TrafficRow> = {}): TrafficRow => ({
  ...{ podIdx, direction: "out", way: "direct", port: 443, opened: 2, closed: 1 },
  ...{ failed: 0, sentBytes: 0, receivedBytes: 0, srttUs: 0, retransmits: 0 },
  ...over,
});

test("pods with open direct connections are swept once, and no others", async () => {
  const asked: number[] = [];
  const rows = [
    ...[row(1), row(1, { port: 80 }), row(2, { closed: 2 })],
    ...[row(3, { way: "agent" }), row(4, { direction: "in" }), row(5)],
  ];
  const directs = new DirectSweep({
    rows: () => rows,
    sever: async (podIdx) => void asked.push(podIdx),
    log: { warn: (message) => assert.fail(message) },
  });
  await directs.sweep();
  assert.deepEqual(asked, [1, 5]);
  directs.close();
});

test("a sweep that the keeper could not make is made again until it was, or the pod is gone", async () => {
  let fails = 2;
  let asked = 0;
  const warnings: unknown[] = [];
  const directs = new DirectSweep({
    rows: () => [row(1)],
    sever: async () => {
      asked += 1;
      if (fails-- > 0) throw new Error("no keeper");
    },
    log: { warn: (_message, fields) => void warnings.push(fields) },
    retryMs: 1,
  });
  await directs.sweep();
  for (let turn = 0; asked < 3 && turn < 1_000; turn++) await sleep(5);
  assert.equal(asked, 3);
  assert.deepEqual(warnings, [{ pods: 1 }, { pods: 1 }]);
  directs.close();
});

test("what joins the mesh during a sweep is looked for once more", async () => {
  let asked = 0;
  const directs: DirectSweep = new DirectSweep({
    rows: () => [row(1)],
    sever: async () => {
      asked += 1;
      if (asked === 1) for (let i = 0; i < 5; i++) void directs.sweep();
    },
    log: { warn: (message) => assert.fail(message) },
  });
  await directs.sweep();
  assert.equal(asked, 2);
  directs.close();
});
