// Success rates: who is served worse than the others is left out by what all data threads have seen together, with real threads; and against
// a reference that counts otherwise.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import type { OutlierDetection } from "../../agent/mesh/traffic-policy.ts";
import { type SeenRate, servedWorse } from "../../agent/plan/success-rate.ts";
import { EjectionCells } from "../../agent/traffic/ejection-cells.ts";
import { MOST_RATES, RateCells } from "../../agent/traffic/rate-cells.ts";
import { Dice } from "../support/dice.ts";
import { endpoints, FIRST, type RateCallerOptions, STEPS, SWEEPS } from "./rate-caller.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
const successRate = { intervalMs: 1_000, minimumHosts: 5, requestVolume: 100, stdevFactor: 1.9 };
const outliers: OutlierDetection = {
  ...{ consecutive5xx: 0, consecutiveGateway: 0, baseMs: 60_000, maxEjected: 50, minHealthy: 0, successRate },
};

for (const threads of [1, 2, 4, 8])
  test(`${threads} threads: a single thread sweeps each interval, and leaves out who is served worse by what all have seen`, async () => {
    // Of an interval 1,200 requests, 200 for each endpoint: of four threads and more no thread has 100.
    const [upTo, stepsPerMs] = [6_000n, 1n];
    const options: RateCallerOptions = {
      ...{ ejections: EjectionCells.buffer(), rates: RateCells.buffer(), upTo, stepsPerMs },
      ...{ counts: new SharedArrayBuffer(8 * (FIRST + endpoints.length)) },
      outliers: { ...outliers, successRate: { ...successRate, intervalMs: 1_200 } },
    };
    const workers = Array.from({ length: threads }, () => {
      return new Worker(new URL("./rate-caller.ts", import.meta.url), { workerData: options });
    });
    await Promise.all(workers.map((worker) => once(worker, "exit")));
    const words = new BigInt64Array(options.counts);
    const { ejections } = new EjectionCells(options.ejections).counts;
    assert.deepEqual(
      ejections.map(({ reason, count }) => [reason, count]),
      [
        ["consecutive-5xx", 0],
        ["consecutive-gateway", 0],
        ["probe-failed", 0],
        ["success-rate", 1],
      ],
    );
    const got = Number(words[FIRST]);
    // Its share of the first interval; who sweeps may be held up in the midst of it, while others go on.
    assert.ok(got >= 150 && (threads > 1 || got === 200), `${got} requests at the endpoint that fails`);
    assert.ok(Number(words[STEPS]) >= upTo);
    // Of 1,000 steps each, six and what other threads add at the end.
    assert.ok(Number(words[SWEEPS]) >= 6 && Number(words[SWEEPS]) <= 7, `${words[SWEEPS]} sweeps`);
  });

test(`what threads count is counted once, whatever the interval, and an interval is forgotten by the next but one (seed ${seed})`, () => {
  const dice = new Dice(seed);
  const cells = new RateCells(RateCells.buffer());
  const key = cells.keyOf("endpoint");
  const expected = new Map<number, { total: number; served: number }>();
  let now = dice.roll(2 ** 31);
  const intervalMs = 1_000 + dice.roll(200_000);
  for (let nth = 0; nth < 20_000; nth += 1) {
    now += dice.roll(100) === 0 ? dice.roll(2 * intervalMs) : dice.roll(intervalMs / 100);
    const interval = Math.floor(now / intervalMs);
    const isServed = dice.roll(3) > 0;
    assert.ok(cells.add(key, isServed, now, intervalMs));
    const seen = expected.get(interval) ?? { total: 0, served: 0 };
    expected.set(interval, { total: seen.total + 1, served: seen.served + (isServed ? 1 : 0) });
    const before = expected.get(interval - 1) ?? null;
    assert.deepEqual(cells.before(key, now, intervalMs), before, `seed ${seed} step ${nth}`);
  }
});

test("where there is no room an endpoint is not counted, and room comes when nobody was asked for a while", () => {
  const cells = new RateCells(RateCells.buffer());
  const add = (name: number, now: number): boolean => cells.add(cells.keyOf(`endpoint ${name}`), true, now, 1_000);
  let kept = 0;
  for (let name = 0; name < 4 * MOST_RATES; name += 1) kept += add(name, 5_000) ? 1 : 0;
  assert.equal(kept, MOST_RATES);
  assert.ok(!add(9 * MOST_RATES, 300_000));
  assert.ok(add(9 * MOST_RATES, 700_000));
});

test(`100,000 services: who is left out is who a reference names (seed ${seed})`, () => {
  const dice = new Dice(seed);
  let [left, near] = [0, 0];
  for (let nth = 0; nth < 100_000; nth += 1) {
    const hosts = Array.from({ length: dice.roll(12) }, (_, at) => {
      const total = dice.pick([0, 50, 99, 100, 101, 1_000]) + dice.roll(3);
      const served = dice.roll(4) === 0 ? dice.roll(total + 1) : total - dice.roll(Math.min(total, 5) + 1);
      return { at, total, served };
    });
    const rule = { ...successRate, minimumHosts: 1 + dice.roll(8), stdevFactor: dice.pick([0, 0.5, 1, 1.9, 3]) };
    const found = new Set(servedWorse(hosts, rule).map(({ at }) => at));
    for (const host of hosts) {
      const below = reference(hosts, host, rule);
      // Sums in another order may differ in the last digit.
      if (Math.abs(below) < 1e-9) near += 1;
      else assert.equal(found.has(host.at), below > 0, `seed ${seed} case ${nth}`);
    }
    left += found.size;
  }
  assert.ok(left > 5_000, `${left} of them are left out, ${near} are at the edge`);
});

/** How far the host is below the lowest rate; not above 0: it stays. By the mean of squares. */
function reference(hosts: readonly SeenRate[], host: SeenRate, rule: typeof successRate): number {
  const rates = hosts.flatMap(({ total, served }) => (total >= rule.requestVolume ? [served / total] : []));
  if (rates.length < rule.minimumHosts || host.total < rule.requestVolume) return -1;
  const mean = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0) / of.length;
  const variance = Math.max(0, mean(rates.map((rate) => rate * rate)) - mean(rates) ** 2);
  return mean(rates) - rule.stdevFactor * Math.sqrt(variance) - host.served / host.total;
}
