// What a change leaves behind is garbage that the next scavenges free. If it got old, all of the heap would be marked for it again and
// again: with 100,000 workloads that was half of what a change took of the processor.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MeshFiles } from "./mesh-files.ts";
import { folderOf, settings, workload } from "./source.fake.ts";

setFlagsFromString("--expose-gc");
const collect: (how: { type: "minor" | "major" }) => void = runInNewContext("gc");

const CHANGES = 200;
const TEXT_BYTES = 50_000;

/** Bytes of what has lived through two scavenges, and whatever is larger than they move. */
const oldBytes = (): number =>
  getHeapSpaceStatistics()
    .filter(({ space_name }) => space_name === "old_space" || space_name === "large_object_space")
    .reduce((sum, { space_used_size }) => sum + space_used_size, 0);

test(`${CHANGES} changes of a file of ${TEXT_BYTES} bytes leave less than twenty of its texts in the old generation`, async (t) => {
  const path = join(folderOf(t), "mesh.d");
  mkdirSync(path);
  const signal = new AbortController().signal;
  const files = new MeshFiles({ path, settings, quietMs: 0, stillMs: 0, wallMs: Date.now });
  const change = async (nth: number): Promise<void> => {
    writeFileSync(join(path, "a.yaml"), `${workload("a", nth % 250)}---\n# ${"x".repeat(TEXT_BYTES)}\n`);
    const names = new Set(["a.yaml"]);
    await files.look({ all: false, names, whole: names, arrived: new Set(), swapped: false }, signal);
    const taking = files.accept();
    assert.ok(taking.taken && taking.updates.length === 1);
    // The text that is in force at the moment lives through this, and is gone at the next.
    if (nth % 5 === 0) collect({ type: "minor" });
  };
  for (let nth = 0; nth < 20; nth++) await change(nth);
  collect({ type: "major" });
  const before = oldBytes();
  for (let nth = 0; nth < CHANGES; nth++) await change(100 + nth);
  const left = oldBytes() - before;
  t.diagnostic(`${Math.round(left / CHANGES)} bytes a change`);
  // All else that gets old with them is as much as nine or ten, on a busy machine more. A text that lived through a second collection would be
  // forty of them.
  assert.ok(left < 20 * TEXT_BYTES, `${left} bytes`);
});
