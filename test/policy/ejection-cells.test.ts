// What data threads share of endpoints that fail, with real threads: a probe belongs to a single request over all of them.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import type { OutlierDetection } from "../../agent/mesh/traffic-policy.ts";
import { blank, ejectionReasons, FORGOTTEN_MS, PROBE_MS } from "../../agent/plan/ejection.ts";
import { decode, EjectionCells, encode, MOST_CELLS } from "../../agent/traffic/ejection-cells.ts";
import { EndpointHealth } from "../../agent/traffic/endpoint-health.ts";
import { RateCells } from "../../agent/traffic/rate-cells.ts";
import { Dice } from "../support/dice.ts";
import { type FailingCallerOptions, failing, GOT, MOST, requestsTo } from "./failing-caller.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
const outliers: OutlierDetection = {
  ...{ consecutive5xx: 5, consecutiveGateway: 0, baseMs: 10, maxEjected: 50, minHealthy: 0 },
};

function caller(options: FailingCallerOptions): Worker {
  return new Worker(new URL("./failing-caller.ts", import.meta.url), { workerData: options });
}

function shared(): Pick<FailingCallerOptions, "cells" | "counts"> {
  return { cells: EjectionCells.buffer(), counts: new SharedArrayBuffer(32) };
}

for (const threads of [1, 2, 4, 8])
  test(`${threads} threads: an endpoint that fails gets a single request at a time to find out whether it serves`, async () => {
    const { cells: buffer, counts } = shared();
    const options = { cells: buffer, counts, upTo: 100_000n, stepsPerMs: 100n, outliers, keepsProbe: false };
    await Promise.all(Array.from({ length: threads }, () => once(caller(options), "exit")));
    const words = new BigInt64Array(counts);
    const cells = new EjectionCells(buffer);
    const probes = cells.counts.probes;
    assert.equal(words[MOST], 1n, "at once");
    // It is out for 10, 20, 30 … ms of 1,000: between probes nothing is lost. A thread that the kernel does not run while it probes keeps the
    // probe, and the others go on with their time.
    assert.ok(probes >= (threads === 1 ? 9 : 1) && probes <= 14, `${probes} probes`);
    const ejections = cells.counts.ejections.map(({ count }) => count);
    assert.deepEqual(ejections, [1, 0, probes, 0]);
    // Beside the five by which it was ejected, those that were on their way with the fifth.
    const before = Number(words[GOT]) - probes;
    assert.ok(before >= 5 && before <= 5 + threads, `${before} requests before it was ejected`);
  });

test("a thread that is ended with a probe under way keeps it until its time is over, and no longer", async () => {
  const { cells: buffer, counts } = shared();
  const options = { cells: buffer, counts, upTo: 100_000n, stepsPerMs: 100n, outliers, keepsProbe: true };
  const worker = caller(options);
  await once(worker, "message");
  const startedMs = Number(new BigInt64Array(counts)[0]) / 100;
  await worker.terminate();
  let now = startedMs;
  const health = new EndpointHealth(
    { ejections: new EjectionCells(buffer), rates: new RateCells(RateCells.buffer()) },
    () => now,
  );
  const to = requestsTo(outliers);
  const other = { ...failing, address: "10.0.0.2" };
  const used = (): readonly string[] => health.narrow(to, [failing, other], () => true).map(({ address }) => address);
  assert.deepEqual(used(), [other.address]);
  now = startedMs + PROBE_MS - 2;
  assert.deepEqual(used(), [other.address]);
  now = startedMs + PROBE_MS + 1;
  assert.deepEqual(used(), [failing.address]);
  const hold = health.hold(to, failing);
  assert.ok(hold !== "taken" && hold !== null);
  hold.end("served");
  assert.deepEqual(used(), [failing.address, other.address]);
});

test(`100,000 states are read as they were written (seed ${seed})`, () => {
  const dice = new Dice(seed);
  for (let nth = 0; nth < 100_000; nth += 1) {
    const state = {
      ...{ phase: dice.pick(["in", "probed", ...ejectionReasons] as const), failures: dice.roll(256) },
      ...{ gatewayFailures: dice.roll(256), times: dice.roll(32), atMs: dice.roll(2 ** 31) * dice.roll(512) },
    };
    assert.deepEqual(decode(encode(state)), state);
  }
});

test("what has not failed for a while makes room; where there is none nothing is kept, and that is counted", () => {
  const cells = new EjectionCells(EjectionCells.buffer());
  const fail = (name: number, nowMs: number): boolean =>
    cells.change(cells.keyOf(`endpoint ${name}`), nowMs, (state) => ({ ...state, failures: 1, atMs: nowMs })) !== null;
  const now = 10 * FORGOTTEN_MS;
  let kept = 0;
  for (let name = 0; name < 4 * MOST_CELLS; name += 1) kept += fail(name, now) ? 1 : 0;
  assert.equal(kept, MOST_CELLS);
  assert.equal(cells.counts.untracked, 3 * MOST_CELLS);
  assert.ok(fail(9 * MOST_CELLS, now + FORGOTTEN_MS));
  const key = cells.keyOf("endpoint 0");
  const at = cells.find(key);
  if (at !== undefined) assert.equal(cells.read(at, key, now + FORGOTTEN_MS), blank);
});
