import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("a file that holds something open behind its tests ends in time, as a failure", { timeout: 60_000 }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), "orlop-run-file-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const pathOf = (name: string): string => JSON.stringify(fileURLToPath(new URL(name, import.meta.url)));
  // In a process that is no test, since node:test runs no files within a test.
  const program = join(folder, "program.mjs");
  writeFileSync(
    program,
    `import { runFile } from ${pathOf("./run-file.ts")};
    const seen = [];
    const events = runFile(${pathOf("./never-ends.ts")}, { deadlineMs: 4_000, toEndMs: 2_000 });
    events.on("test:pass", ({ name }) => seen.push("pass: " + name)).on("test:fail", () => seen.push("fail"));
    for await (const _ of events);
    console.log(seen.join(", "));`,
  );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, stderr } = spawnSync(process.execPath, [program], { env, encoding: "utf8", timeout: 50_000 });
  assert.equal(stdout.trim(), "pass: it passes, fail", stderr);
});
