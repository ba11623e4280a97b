// args.h in both addons: a wrong argument is refused with its position and what it must be, never taken for another value.
import assert from "node:assert/strict";
import { test } from "node:test";
import { KernelMap, RingBuffer } from "../../agent/engine/addon.ts";
import { KernelMap as KeeperMap, PodThread, Programs } from "../../agent/keeper/addon.ts";

const wrong = (value: unknown): never => value as never;

test("a descriptor is a whole number from 0 on", () => {
  for (const OneMap of [KernelMap, KeeperMap]) {
    for (const fd of [-1, 1.5, Number.NaN, "3", undefined, 2 ** 31]) {
      assert.throws(() => new OneMap(wrong(fd)), /argument 0 must be a whole number/);
    }
    assert.throws(() => new OneMap(2 ** 30), { code: "EBADF", errno: -9, syscall: "fcntl(F_DUPFD_CLOEXEC)" });
  }
  assert.throws(() => new RingBuffer(wrong("3")), /argument 0 must be a whole number/);
  assert.throws(() => new PodThread(wrong("3")), /argument 0 must be a whole number/);
});

test("options of the programs are checked before anything is loaded", () => {
  const good = { pinDir: "/nonexistent/orlop", heartbeatLimitNs: 1n };
  for (const bad of [
    undefined,
    {},
    { ...good, pinDir: 3 },
    { ...good, heartbeatLimitNs: 1 },
    { ...good, heartbeatLimitNs: 2n ** 64n },
    { ...good, maxEntries: 3 },
    { ...good, maxEntries: { gate: "3" } },
    { ...good, maxEntries: { gate: 0 } },
    { ...good, maxEntries: { gate: 2 ** 32 } },
  ]) {
    assert.throws(() => new Programs(wrong(bad)), /argument 0 must be an object/);
  }
  assert.throws(() => new Programs(good), { code: "ENOENT", syscall: "mkdir" });
});
