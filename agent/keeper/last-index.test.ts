// last-index.ts: what a keeper has written the next reads, and what is no index means that none is known.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setUp } from "./enrollment.fake.ts";
import { type LastIndex, lastIndexFile } from "./last-index.ts";
import { MAX_PODS } from "./requests.ts";

test("the next keeper reads what was written last", () => {
  const directory = mkdtempSync(join(tmpdir(), "orlop-index-"));
  const path = join(directory, "last-index");
  try {
    const file = lastIndexFile(path);
    assert.equal(file.read(), 0);
    for (const podIdx of [MAX_PODS, 7]) file.write(podIdx);
    for (const [text, expected] of [
      [undefined, 7],
      ["", 0],
      ["12345", 0],
      ["00x7", 0],
    ] as const) {
      if (text !== undefined) writeFileSync(path, text);
      assert.equal(lastIndexFile(path).read(), expected, text);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("what cannot be kept keeps no pod out of the mesh", async () => {
  const { enrollments } = setUp([], undefined, lastIndexFile("/nowhere/last-index"));
  const row = await enrollments.guard("p1", "web");
  assert.ok("podIdx" in row);
  await enrollments.close();
});

test("a keeper that starts again gives no index that the keeper before it gave last", async () => {
  let last = 0;
  const lastIndex: LastIndex = {
    read: () => last,
    write: (podIdx) => {
      last = podIdx;
    },
  };
  const given: number[] = [];
  for (let keepers = 0; keepers < 3; keepers++) {
    const { enrollments } = setUp([], undefined, lastIndex);
    for (let pods = 0; pods < 2; pods++) {
      const row = await enrollments.guard(`p${pods}`, "web");
      assert.ok("podIdx" in row);
      given.push(row.podIdx);
    }
    await enrollments.close();
  }
  assert.deepEqual(given, [1, 2, 3, 4, 5, 6]);
});
