// The heartbeat: only while every thread moves, and at once again when the hung one does.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Heartbeat } from "./heartbeat.ts";

test("a hung thread stops the beat; it returns with the thread", () => {
  let now = 0n;
  const beats: bigint[] = [];
  const told: (readonly number[])[] = [];
  const ticks = new Int32Array(new SharedArrayBuffer(8));
  const heart = new Heartbeat({
    gate: { beat: (at) => beats.push(at) },
    ticks,
    stalledAfterMs: 500,
    now: () => now,
    onStalled: (threads) => told.push(threads),
  });
  const turn = (ms: number, ...moved: number[]): boolean => {
    now += BigInt(ms) * 1_000_000n;
    for (const thread of moved) Atomics.add(ticks, thread, 1);
    return heart.turn();
  };
  assert.equal(turn(100, 0, 1), true);
  assert.equal(turn(400, 0), true, "late, but not yet hung");
  assert.equal(turn(101, 0), false, "thread 1 has not moved for 501 ms");
  assert.deepEqual(heart.stalled, [1]);
  assert.equal(turn(100, 0), false);
  assert.equal(turn(100, 0, 1), true);
  assert.deepEqual(told, [[1], []]);
  assert.deepEqual(beats, [100_000_000n, 500_000_000n, 801_000_000n]);
});

test("a loop that has slept beats at its second turn: it reads first what the keeper said meanwhile", () => {
  let now = 0n;
  const heart = new Heartbeat({
    gate: { beat: () => {} },
    ticks: new Int32Array(0),
    stalledAfterMs: 1_000,
    now: () => now,
  });
  const turn = (ms: number): boolean => {
    now += BigInt(ms) * 1_000_000n;
    return heart.turn();
  };
  assert.deepEqual([turn(0), turn(100), turn(1_000), turn(1_001), turn(100)], [true, true, true, false, true]);
});

test("the clock is the kernel's, and without data threads main beats for itself", () => {
  const beats: bigint[] = [];
  const heart = new Heartbeat({ gate: { beat: (at) => beats.push(at) }, ticks: new Int32Array(0), stalledAfterMs: 1 });
  const before = process.hrtime.bigint();
  heart.start();
  heart.stop();
  assert.equal(beats.length, 1);
  assert.ok((beats[0] ?? 0n) >= before);
});
