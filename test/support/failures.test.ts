// tests · the reporter prints every failed test with its cause, also when the test's process cannot clone what was thrown.
import { doesNotMatch, match } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const reporter = fileURLToPath(new URL("./failures.ts", import.meta.url));
const thrown = {
  error: 'throw new Error("plain");',
  function: "deepEqual({ f: () => 1 }, { f: () => 2 });",
  rejects: "await rejects(Promise.resolve(1), (error) => error instanceof TypeError);",
  server: "deepEqual(createServer(), {});",
  signal: "AbortSignal.abort().throwIfAborted();",
  nothing: "throw undefined;",
  bare: "throw Object.create(null);",
};

test("every failure of a file is named with its cause, and none ends the run of the others", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "orlop-failures-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "fails.test.mjs");
  const tests = Object.entries(thrown).map(([name, body]) => `test("${name}", async () => { ${body} });`);
  const imports = [
    'import { deepEqual, rejects } from "node:assert/strict";',
    'import { createServer } from "node:net";',
    'import { test } from "node:test";',
  ];
  writeFileSync(file, [...imports, ...tests, 'test("well", () => {});'].join("\n"));
  const destination = join(folder, "failures");
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const reporters = [`--test-reporter=${reporter}`, `--test-reporter-destination=${destination}`];
  const run = spawnSync(process.execPath, ["--test", ...reporters, file], { encoding: "utf8", env });
  const said = readFileSync(destination, "utf8");
  for (const name of Object.keys(thrown)) match(said, new RegExp(`› ${name}\n {2}\\S`), `${name}: ${run.stderr}`);
  match(said, /Error: plain/);
  doesNotMatch(said, /› well/);
});
