// lookups-ahead.ts with a loader that a test lets go on.
import assert from "node:assert/strict";
import { closeSync, fstatSync, openSync } from "node:fs";
import { test } from "node:test";
import { LookupsAhead } from "./lookups-ahead.ts";

function setUp(rest = () => Promise.resolve()) {
  const asked: number[] = [];
  const loads: { readonly podIdx: number; readonly done: PromiseWithResolvers<number> }[] = [];
  const lookups = new LookupsAhead((podIdx) => {
    const done = Promise.withResolvers<number>();
    asked.push(podIdx);
    loads.push({ podIdx, done });
    return done.promise;
  }, rest);
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  /** The load that is under way ends, with a descriptor. */
  const loaded = async (): Promise<number> => {
    const fd = openSync("/dev/null", "r");
    loads.at(-1)?.done.resolve(fd);
    await turn();
    return fd;
  };
  const fail = async (): Promise<void> => {
    loads.at(-1)?.done.reject(new Error("no memory"));
    await turn();
  };
  return { lookups, asked, loaded, fail };
}
const isOpen = (fd: number): boolean => {
  try {
    return fstatSync(fd).isCharacterDevice();
  } catch {
    return false;
  }
};

test("copies are loaded one after the other, the soonest first, and each is given out once", async () => {
  const { lookups, asked, loaded } = setUp();
  lookups.expect([4, 5]);
  assert.deepEqual([asked, lookups.take(4)], [[4], undefined]);
  lookups.expect([4, 5]);
  const four = await loaded();
  assert.deepEqual(asked, [4, 5]);
  const five = await loaded();
  assert.deepEqual([asked, lookups.take(4), lookups.take(4), lookups.take(5)], [[4, 5], four, undefined, five]);
  for (const fd of [four, five]) closeSync(fd);
});

test("what is needed no more goes, also when it was being loaded; of a keeper that ends nothing stays", async () => {
  const { lookups, asked, loaded } = setUp();
  lookups.expect([1, 2]);
  const one = await loaded();
  lookups.expect([3]);
  assert.equal(isOpen(one), false);
  const two = await loaded();
  assert.deepEqual([asked, isOpen(two)], [[1, 2, 3], false]);
  const three = await loaded();
  assert.ok(isOpen(three));
  lookups.close();
  assert.equal(isOpen(three), false);
});

test("a copy that was taken while it was loaded is not kept", async () => {
  const { lookups, loaded } = setUp();
  lookups.expect([1]);
  assert.equal(lookups.take(1), undefined);
  assert.equal(isOpen(await loaded()), false);
});

test("after a failure the next call tries again", async () => {
  const { lookups, asked, fail, loaded } = setUp();
  lookups.expect([1, 2]);
  await fail();
  assert.deepEqual(asked, [1]);
  lookups.expect([1, 2]);
  const one = await loaded();
  assert.deepEqual([asked, lookups.take(1)], [[1, 1, 2], one]);
  closeSync(one);
  await fail();
});

test("while half of what is needed is there, the rest waits until pods that begin have the processors no more", async () => {
  const rested = Promise.withResolvers<void>();
  const { lookups, asked, loaded } = setUp(() => rested.promise);
  lookups.expect([1, 2, 3, 4]);
  const fds = [await loaded(), await loaded()];
  assert.deepEqual(asked, [1, 2]);
  rested.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(asked, [1, 2, 3]);
  lookups.close();
  assert.deepEqual([...fds, await loaded()].filter(isOpen), []);
});
