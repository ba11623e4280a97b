import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { conflictingPods, copyEntries, otherLayouts } from "./takeover.ts";

/** A map of 4-byte keys; `room` bounds it. */
class FakeMap {
  readonly name = "fake";
  readonly keyBytes: number = 4;
  readonly entries = new Map<number, Buffer>();
  readonly valueBytes: number;
  readonly cpus: number;
  readonly maxEntries: number;

  constructor(valueBytes: number, { cpus = 1, maxEntries = 100 } = {}) {
    this.valueBytes = valueBytes * cpus;
    this.cpus = cpus;
    this.maxEntries = maxEntries;
  }
  dump(): Buffer {
    return Buffer.concat([...this.entries].flatMap(([key, value]) => [keyOf(key), value]));
  }
  put(key: Uint8Array, value: Uint8Array): void {
    assert.equal(value.length, this.valueBytes);
    if (this.entries.size >= this.maxEntries) throw Object.assign(new Error("full"), { code: "E2BIG" });
    this.entries.set(Buffer.from(key).readUInt32LE(), Buffer.from(value));
  }
}

function keyOf(key: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(key);
  return bytes;
}

test("values grow with zeros and shrink at their end, there and back", () => {
  const [narrow, wide, again] = [new FakeMap(2), new FakeMap(4), new FakeMap(2)];
  narrow.entries.set(7, Buffer.from([1, 2]));
  assert.equal(copyEntries(narrow, wide), 1);
  assert.deepEqual(wide.entries.get(7), Buffer.from([1, 2, 0, 0]));
  copyEntries(wide, again);
  assert.deepEqual(again.entries, narrow.entries);
});

test("each CPU's value is fitted by itself", () => {
  const [from, to] = [new FakeMap(8, { cpus: 2 }), new FakeMap(16, { cpus: 2 })];
  from.entries.set(1, Buffer.concat([Buffer.alloc(8, 1), Buffer.alloc(8, 2)]));
  copyEntries(from, to);
  const expected = [Buffer.alloc(8, 1), Buffer.alloc(8), Buffer.alloc(8, 2), Buffer.alloc(8)];
  assert.deepEqual(to.entries.get(1), Buffer.concat(expected));
});

test("a longer array is cut; anything else that does not fit is an error", () => {
  const from = new FakeMap(4);
  for (let key = 0; key < 5; key++) from.entries.set(key, Buffer.alloc(4, key));
  assert.equal(copyEntries(from, new FakeMap(4, { maxEntries: 3 }), true), 3);
  assert.throws(() => copyEntries(from, new FakeMap(4, { maxEntries: 3 })), { code: "E2BIG" });
  const longKeys = new (class extends FakeMap {
    override readonly keyBytes = 8;
  })(4);
  assert.throws(() => copyEntries(from, longKeys), /keys/);
  assert.throws(() => copyEntries(from, new FakeMap(4, { cpus: 2 })), /per-CPU/);
});

test("an index is the same pod's in both layouts, or the takeover is refused", () => {
  assert.deepEqual(conflictingPods(["1-a", "2-b.c"], ["1-a", "2-b.c", "3-d"]), []);
  assert.deepEqual(conflictingPods(["1-a"], ["1-b"]), ["1-b"]);
  assert.deepEqual(conflictingPods(["1-a"], ["2-a"]), ["2-a"]);
});

test("other layouts are the directories beside ours, oldest first", () => {
  const node = mkdtempSync(join(tmpdir(), "orlop-layouts-"));
  for (const name of ["v3", "v10", "v2", "vX", "notes"]) mkdirSync(join(node, name));
  const found = otherLayouts(join(node, "v3")).map(({ version }) => version);
  rmSync(node, { recursive: true });
  assert.deepEqual(found, [2, 10]);
  assert.deepEqual(otherLayouts(join(node, "v3")), []);
});
