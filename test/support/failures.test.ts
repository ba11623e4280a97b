// tests · the reporter prints every failed test with its cause, also when the test's process cannot clone what was thrown.
import { doesNotMatch, equal, match } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
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

/** What the reporter says of a file with this text. */
function reported(t: TestContext, text: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-failures-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "fails.test.mjs"), text.join("\n"));
  const destination = join(folder, "failures");
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const reporters = [`--test-reporter=${reporter}`, `--test-reporter-destination=${destination}`];
  const run = spawnSync(process.execPath, ["--test", ...reporters, "fails.test.mjs"], {
    encoding: "utf8",
    cwd: folder,
    env,
  });
  equal(run.status, 1, run.stderr);
  return readFileSync(destination, "utf8");
}

test("every failure of a file is named with its cause, and none ends the run of the others", (t) => {
  const tests = Object.entries(thrown).map(([name, body]) => `test("${name}", async () => { ${body} });`);
  const imports = [
    'import { deepEqual, rejects } from "node:assert/strict";',
    'import { createServer } from "node:net";',
    'import { test } from "node:test";',
  ];
  const said = reported(t, [...imports, ...tests, 'test("well", () => {});']);
  for (const name of Object.keys(thrown)) match(said, new RegExp(`› ${name}\n {2}\\S`), name);
  match(said, /Error: plain/);
  doesNotMatch(said, /› well/);
});

const ends = {
  "is killed": [
    'process.kill(process.pid, "SIGSEGV");',
    /ended with signal SIGSEGV; .*\n {2}line 21\n(.*\n){28} {2}line 50\n$/,
  ],
  exits: ["process.exit(3);", /ended with exit code 3; .*\n {2}line 21\n(.*\n){28} {2}line 50\n$/],
  throws: [
    'throw new Error("too late");',
    /ended with exit code 1; .*\n {2}line 22\n(.*\n){28} {2}.*Error: too late.*\n$/,
  ],
} as const;
for (const [how, [body, says]] of Object.entries(ends)) {
  test(`a process that ${how} after its last test is named with its end and its last lines`, (t) => {
    const lines = Array.from({ length: 50 }, (_, at) => `line ${at + 1}\n`).join("");
    const said = reported(t, [
      'import { writeSync } from "node:fs";',
      'import { test } from "node:test";',
      'test("well", () => {});',
      `setTimeout(() => { writeSync(2, ${JSON.stringify(lines)}); ${body} }, 100);`,
    ]);
    match(said, says);
  });
}
