import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { LimitCells, MOST_KEYS, type Rate } from "../../agent/policy/limit-cells.ts";
import { Dice } from "../support/dice.ts";
import type { CallerOptions } from "./limit-caller.ts";

const SECOND = 1_000_000_000n;
const rateOf = (perSecond: number, burst: number): Rate => {
  const intervalNs = SECOND / BigInt(perSecond);
  return { intervalNs, aheadNs: intervalNs * BigInt(burst - 1) };
};
const admits = (cells: LimitCells, key: bigint, rate: Rate, nowNs: bigint): boolean =>
  cells.take(key, rate, nowNs).waitNs === 0n;

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));

test(`3,000 random ways: exactly what a bucket of tokens admits, in no span more than rate × span + burst (seed ${seed})`, () => {
  const dice = new Dice(seed);
  let refused = 0;
  for (let way = 0; way < 3_000; way += 1) {
    const burst = 1 + dice.roll(50);
    const rate = rateOf(1 + dice.roll(1_000), burst);
    const cells = new LimitCells(LimitCells.buffer());
    const key = cells.keyOf("a");
    // The bucket in another form: credit that time adds, up to the burst.
    const full = rate.intervalNs * BigInt(burst);
    let credit = full;
    let nowNs = 1n + BigInt(dice.roll(1_000_000));
    const admitted: bigint[] = [];
    for (let nth = 0; nth < 120; nth += 1) {
      const gap = dice.pick([0, 0, 1_200, 20_000]);
      const passed = (rate.intervalNs * BigInt(dice.roll(gap + 1))) / 1_000n;
      nowNs += passed;
      credit = credit + passed > full ? full : credit + passed;
      const { waitNs } = cells.take(key, rate, nowNs);
      assert.equal(waitNs === 0n, credit >= rate.intervalNs, `way ${way}, request ${nth}`);
      if (waitNs === 0n) {
        credit -= rate.intervalNs;
        admitted.push(nowNs);
        continue;
      }
      refused += 1;
      assert.equal(waitNs, rate.intervalNs - credit, `way ${way}, request ${nth}: how long to wait`);
    }
    for (const [index, from] of admitted.entries())
      for (let last = index; last < admitted.length; last += 1) {
        const span = (admitted[last] ?? 0n) - from;
        assert.ok(last - index + 1 <= Number(span / rate.intervalNs) + burst, `way ${way}: a span of ${span} ns`);
      }
  }
  assert.ok(refused > 10_000, `${refused} refused`);
});

/** Of 30 s at 100/s with a burst of 20, asked for at 20,000/s: as many steps as the callers make together. */
const LIMIT = { perSecond: 100, burst: 20, seconds: 30, asked: 20_000 };

async function hammered(
  threads: number,
  kill: boolean,
): Promise<{ admitted: number; cells: LimitCells; isKilledInTime: boolean }> {
  const { perSecond, burst, seconds, asked } = LIMIT;
  const buffer = LimitCells.buffer();
  const attempts = new SharedArrayBuffer(8);
  const options: CallerOptions = {
    ...{ cells: buffer, attempts, upTo: BigInt(seconds * asked), stepNs: SECOND / BigInt(asked) },
    ...{ ...rateOf(perSecond, burst), keys: ["whole"] },
  };
  const callers = Array.from(
    { length: threads },
    () => new Worker(new URL("./limit-caller.ts", import.meta.url), { workerData: options }),
  );
  const ended = callers.map((caller) => once(caller, "exit"));
  let isKilledInTime = false;
  if (kill) {
    const clock = new BigInt64Array(attempts);
    // Somewhere within the first half.
    while (Atomics.load(clock, 0) < options.upTo / 4n) await new Promise((resolve) => setTimeout(resolve, 1));
    await callers[0]?.terminate();
    isKilledInTime = Atomics.load(clock, 0) < options.upTo;
  }
  await Promise.all(ended);
  const cells = new LimitCells(buffer);
  return { admitted: cells.counts.admitted, cells, isKilledInTime };
}

const expected = LIMIT.perSecond * LIMIT.seconds + LIMIT.burst;

for (const threads of [1, 2, 4, 8])
  test(`${threads} threads that ask at once are admitted as a single thread is: 100/s for 30 s, within 2 %`, async () => {
    const { admitted, cells } = await hammered(threads, false);
    assert.ok(admitted <= expected * 1.02, `${admitted} of ${expected}`);
    assert.ok(admitted >= expected * 0.98, `${admitted} of ${expected}`);
    assert.equal(cells.counts.admitted + cells.counts.limited, LIMIT.seconds * LIMIT.asked);
    assert.equal(cells.counts.overflowed, 0);
  });

test("a thread that is ended while it asks takes nothing along: the others get all of the limit, and no bucket stays taken", async () => {
  let run = await hammered(4, true);
  // On a machine with other work all four may have finished before this thread runs again.
  for (let more = 20; !run.isKilledInTime && more > 0; more -= 1) run = await hammered(4, true);
  assert.ok(run.isKilledInTime, "the thread ended before the others had finished");
  const { admitted, cells } = run;
  assert.ok(admitted <= expected * 1.02 && admitted >= expected * 0.98, `${admitted} of ${expected}`);
  assert.equal(cells.busyKeys(2n * BigInt(LIMIT.seconds) * SECOND), 0);
});

test("keys beyond the quota share a single bucket at the limit's rate; once buckets are full again new keys have their own", () => {
  const cells = new LimitCells(LimitCells.buffer());
  const rate = rateOf(10, 2);
  const now = 5n * SECOND;
  let own = 0;
  let shared = 0;
  let sharedAdmitted = 0;
  for (let nth = 0; nth < 10 * MOST_KEYS; nth += 1) {
    const taken = cells.take(cells.keyOf(`user ${nth}`), rate, now);
    if (taken.isShared) shared += 1;
    else own += 1;
    if (taken.isShared && taken.waitNs === 0n) sharedAdmitted += 1;
    if (!taken.isShared) assert.equal(taken.waitNs, 0n);
  }
  assert.equal(own, MOST_KEYS, "each set is full");
  assert.equal(sharedAdmitted, 2, "the burst of a single bucket, however many keys");
  assert.equal(cells.counts.overflowed, shared);
  assert.equal(cells.busyKeys(now), MOST_KEYS);
  // A key that has a bucket keeps it while others knock.
  assert.ok(!cells.take(cells.keyOf("user 0"), rate, now).isShared);
  assert.ok(cells.take(cells.keyOf("user 999999"), rate, now).isShared);
  const later = now + SECOND;
  assert.equal(cells.busyKeys(later), 0);
  assert.ok(!cells.take(cells.keyOf("user 999999"), rate, later).isShared);
});

test("keys do not spend each other's requests, on four threads that ask for all of them in turn", async () => {
  const buffer = LimitCells.buffer();
  const keys = Array.from({ length: 50 }, (_, nth) => `user ${nth}`);
  const [perSecond, burst, seconds, asked] = [10, 5, 20, 25_000];
  const options: CallerOptions = {
    ...{ cells: buffer, attempts: new SharedArrayBuffer(8), upTo: BigInt(seconds * asked) },
    ...{ stepNs: SECOND / BigInt(asked), ...rateOf(perSecond, burst), keys },
  };
  const callers = Array.from(
    { length: 4 },
    () => new Worker(new URL("./limit-caller.ts", import.meta.url), { workerData: options }),
  );
  await Promise.all(callers.map((caller) => once(caller, "exit")));
  const { admitted, overflowed } = new LimitCells(buffer).counts;
  const all = keys.length * (perSecond * seconds + burst);
  assert.equal(overflowed, 0);
  assert.ok(admitted <= all * 1.02 && admitted >= all * 0.98, `${admitted} of ${all}`);
});

test("what is given back may be taken again", () => {
  const cells = new LimitCells(LimitCells.buffer());
  const rate = rateOf(1, 1);
  const key = cells.keyOf("a");
  assert.ok(admits(cells, key, rate, 7n));
  assert.ok(!admits(cells, key, rate, 7n));
  cells.giveBack(key, rate, 7n);
  assert.ok(admits(cells, key, rate, 7n));
  assert.ok(!admits(cells, key, rate, 7n));
});
