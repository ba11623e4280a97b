// The access log of a node: written to its end, or off, or an error.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { openAccessLog } from "./access-log.ts";
import { scratch } from "./built.fake.ts";

describe("the access log", () => {
  test("writes what was added before it closes", async (t) => {
    const path = join(scratch(t), "access.log");
    const { thing, close } = openAccessLog(path);
    thing?.add(Buffer.from("one line\n"), 1);
    await close();
    assert.equal(readFileSync(path, "utf8"), "one line\n");
  });

  test("off has no writer; a path that cannot be opened is an error", async (t) => {
    const { thing, close } = openAccessLog("off");
    assert.equal(thing, null);
    await close();
    assert.throws(() => openAccessLog(join(scratch(t), "no", "such", "folder")), { code: "ENOENT" });
  });
});
