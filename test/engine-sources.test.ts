// Rules for the sources of native/engine that no compiler checks.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../native/engine/", import.meta.url));
const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.(cc|h)$/.test(file))
  .map((file) => ({ file, text: readFileSync(join(folder, file), "utf8").replace(/\/\/.*$/gm, "") }));

test("descriptors are closed in core/descriptor.cc alone, which takes them out of epoll first", () => {
  const bare = sources
    .filter(({ file, text }) => file !== "core/descriptor.cc" && /(?<![\w.>"])close\(|\bSO_LINGER\b/.test(text))
    .map(({ file }) => file);
  assert.deepEqual(bare, []);
});
