import assert from "node:assert/strict";
import { test } from "node:test";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { canonicalPath } from "./canonical.ts";
import { RequestReader } from "./request-reader.ts";

setFlagsFromString("--expose-gc");
const collect: (how: { type: "minor" | "major" }) => void = runInNewContext("gc");

const REQUESTS = 5_000;
const FIELD_BYTES = 1_000;

const oldBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space")?.space_used_size ?? 0;

test("what was read of a request is garbage that the next scavenges free: of 5 MB of fields less than 1 MB gets old", (t) => {
  const reader = new RequestReader();
  const read = (nth: number): void => {
    const sent = `${nth} `.padEnd(FIELD_BYTES, "x");
    const path = canonicalPath("/");
    reader.begin({ method: "GET", path, header: (name) => [sent + name], target: `/?a=${nth}` });
    assert.equal(reader.field("x-user"), `${sent}x-user`);
    assert.equal(reader.field("x-user"), `${sent}x-user`);
    assert.equal(reader.parameter("a"), String(nth));
    reader.end();
    if (nth % 50 === 0) collect({ type: "minor" });
  };
  for (let nth = 0; nth < 500; nth++) read(nth);
  collect({ type: "major" });
  const before = oldBytes();
  for (let nth = 0; nth < REQUESTS; nth++) read(nth);
  const left = oldBytes() - before;
  t.diagnostic(`${Math.round(left / REQUESTS)} bytes a request`);
  assert.ok(left < (REQUESTS * FIELD_BYTES) / 5, `${left} bytes`);
});
