// Caps of requests under way, with real threads.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { UnderWayCells } from "../../agent/traffic/under-way-cells.ts";
import { Dice } from "../support/dice.ts";
import type { HoldingCallerOptions } from "./holding-caller.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));

function callers(threads: number, given: Pick<HoldingCallerOptions, "most" | "times" | "keeps">) {
  const cells = UnderWayCells.buffer(threads);
  const held = new SharedArrayBuffer(16);
  const workers = Array.from({ length: threads }, (_, thread) => {
    const workerData: HoldingCallerOptions = { cells, threads, thread, held, ...given };
    return new Worker(new URL("./holding-caller.ts", import.meta.url), { workerData });
  });
  return { workers, cells: new UnderWayCells(cells, threads), held: new Int32Array(held) };
}

for (const threads of [1, 2, 4, 8])
  test(`${threads} threads: never more are under way than the cap, and in the end none`, async () => {
    const { workers, cells, held } = callers(threads, { most: 2, times: 40_000, keeps: 0 });
    await Promise.all(workers.map((worker) => once(worker, "exit")));
    const [left = -1, most = -1, taken = 0, refused = 0] = held;
    assert.equal(left, 0);
    assert.ok(most >= 1 && most <= 2, `${most} at once`);
    assert.equal(taken + refused, threads * 40_000);
    // A request beyond the cap is refused, and never all of them.
    assert.ok(taken > 1_000 && (threads > 1 || refused === 0), `${taken} taken, ${refused} refused`);
    assert.equal(cells.underWay(cells.keyOf("web to api")), 0);
  });

test("a thread that is ended with requests under way leaks no place", async () => {
  const { workers, cells } = callers(4, { most: 100, times: 0, keeps: 5 });
  const key = cells.keyOf("web to api");
  await Promise.all(workers.map((worker) => once(worker, "message")));
  await Promise.all(workers.map((worker) => worker.terminate()));
  assert.equal(cells.underWay(key), 20);
  for (const thread of [0, 1]) cells.ended(thread);
  assert.equal(cells.underWay(key), 10);
  assert.equal(cells.take(key, 0, 10), undefined);
  for (const thread of [2, 3]) cells.ended(thread);
  assert.notEqual(cells.take(key, 0, 1), undefined);
  await later(0);
});

test(`random ways of one thread: as a counter per key has it, also where keys share the last cell (seed ${seed})`, () => {
  const dice = new Dice(seed);
  const cells = new UnderWayCells(UnderWayCells.buffer(3), 3);
  const counts = new Map<string, number>();
  const open: { readonly name: string; readonly at: number; readonly thread: number }[] = [];
  for (let nth = 0; nth < 50_000; nth += 1) {
    const [last] = open.splice(dice.roll(open.length + 1), 1);
    if (last !== undefined && dice.roll(2) === 0) {
      cells.release(last.at, last.thread);
      counts.set(last.name, (counts.get(last.name) ?? 0) - 1);
      continue;
    }
    if (last !== undefined) open.push(last);
    const [name, thread, most] = [`key ${dice.roll(20)}`, dice.roll(3), 1 + dice.roll(5)];
    const at = cells.take(cells.keyOf(name), thread, most);
    const before = counts.get(name) ?? 0;
    assert.equal(at === undefined, before + 1 > most, `seed ${seed}, step ${nth}: ${before} of ${most}`);
    if (at === undefined) continue;
    counts.set(name, before + 1);
    open.push({ name, at, thread });
  }
  const full = new UnderWayCells(UnderWayCells.buffer(1), 1);
  let taken = 0;
  for (let nth = 0; nth < 20_000; nth += 1) if (full.take(full.keyOf(`key ${nth}`), 0, 1) !== undefined) taken += 1;
  assert.equal(taken, 256 * 16 + 1, "all that have no cell are as a single key");
});
