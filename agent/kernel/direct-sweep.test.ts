import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DirectSweep } from "./direct-sweep.ts";

test("what joined is looked for in the pods that may have a connection to it, and nothing joined sweeps nobody", async () => {
  const asked: number[] = [];
  const directs = new DirectSweep({
    graceMs: 0,
    podsTo: (addresses) => (addresses === null ? [1, 2, 3] : addresses.map((address) => Number(address.at(-1)))),
    sever: async (podIdx) => void asked.push(podIdx),
    log: { warn: (message) => assert.fail(message) },
  });
  await directs.sweep([]);
  assert.deepEqual(asked.splice(0), []);
  await directs.sweep(["10.0.0.2", "10.0.0.3"]);
  assert.deepEqual(asked.splice(0), [2, 3]);
  await directs.sweepPod(9);
  assert.deepEqual(asked.splice(0), [9]);
  directs.opened();
  assert.deepEqual(asked.splice(0), [1, 2, 3]);
  directs.close();
});

test("a sweep that the keeper could not make is made again until it was, or the pod is gone", async () => {
  let fails = 2;
  let asked = 0;
  const warnings: unknown[] = [];
  const directs = new DirectSweep({
    graceMs: 0,
    podsTo: () => [1],
    sever: async () => {
      asked += 1;
      if (fails-- > 0) throw new Error("no keeper");
    },
    log: { warn: (_message, fields) => void warnings.push(fields) },
    retryMs: 1,
  });
  await directs.sweep(["10.0.0.1"]);
  for (let turn = 0; asked < 3 && turn < 1_000; turn++) await sleep(5);
  assert.equal(asked, 3);
  assert.deepEqual(warnings, [{ pods: 1 }, { pods: 1 }]);
  directs.close();
});

test("a connection to what joined may end by itself before it is ended", async () => {
  const order: string[] = [];
  const directs = new DirectSweep({
    graceMs: 20,
    podsTo: () => [1],
    sever: async () => void order.push("severed"),
    log: { warn: (message) => assert.fail(message) },
  });
  const swept = directs.sweep(["10.0.0.1"]);
  await sleep(0);
  order.push("under way");
  // The sweep's own timer keeps no process alive.
  const alive = setInterval(() => undefined, 1_000);
  await swept;
  clearInterval(alive);
  assert.deepEqual(order, ["under way", "severed"]);
  directs.close();
});

test("what joins the mesh during a sweep is looked for once more", async () => {
  let asked = 0;
  const directs: DirectSweep = new DirectSweep({
    graceMs: 0,
    podsTo: () => [1],
    sever: async () => {
      asked += 1;
      if (asked === 1) for (let i = 0; i < 5; i++) void directs.sweep(["10.0.0.1"]);
    },
    log: { warn: (message) => assert.fail(message) },
  });
  await directs.sweep(["10.0.0.1"]);
  assert.equal(asked, 2);
  directs.close();
});
