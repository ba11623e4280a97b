// `orlop` of a checkout runs JavaScript, and always what agent/ says by now: who edits a file need not think of make.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkout } from "./dockerfile.ts";

const root = fileURLToPath(checkout);
const copy = mkdtempSync(join(tmpdir(), "orlop-checkout-"));
after(() => rmSync(copy, { recursive: true }));
for (const path of ["agent", ".ci/orlop.js", ".ci/strip.js", "package.json"])
  cpSync(join(root, path), join(copy, path), { recursive: true, preserveTimestamps: true });
for (const path of ["node_modules", "native", "docs"]) symlinkSync(join(root, path), join(copy, path));
mkdirSync(join(copy, "build"));

const run = (...argv: readonly string[]) => spawnSync(process.execPath, argv, { cwd: copy, encoding: "utf8" });
const orlop = (): string => {
  const { stdout, stderr, status } = run(".ci/orlop.js", "version");
  assert.deepEqual([status, stderr], [0, ""]);
  return stdout;
};
const source = join(copy, "agent/cli/version.ts");
const program = join(copy, "build/program/agent/cli/version.js");
const says = (file: string, word: string): void => appendFileSync(file, `\nconsole.log("${word}");\n`);

test("without make it makes the program itself, and runs that", () => {
  assert.match(orlop(), /client +\d/);
  assert.equal(Math.floor(statSync(program).mtimeMs + 0.01), Math.floor(statSync(source).mtimeMs + 0.01));
  const { atime, mtime } = statSync(program);
  says(program, "from JavaScript");
  utimesSync(program, atime, mtime);
  assert.match(orlop(), /from JavaScript/);
});

test("a file that was edited, set back to an older state, or is new is in the next run", () => {
  says(source, "edited");
  assert.match(orlop(), /edited/);
  assert.doesNotMatch(orlop(), /from JavaScript/);
  cpSync(join(root, "agent/cli/version.ts"), source);
  utimesSync(source, new Date(1e12), new Date(1e12));
  assert.doesNotMatch(orlop(), /edited/);
  const [more, made] = [join(copy, "agent/cli/more.ts"), join(copy, "build/program/agent/cli/more.js")];
  says(more, "more");
  appendFileSync(source, '\nimport "./more.ts";\n');
  assert.match(orlop(), /^more$/m);
  rmSync(more);
  cpSync(join(root, "agent/cli/version.ts"), source);
  assert.doesNotMatch(orlop(), /^more$/m);
  assert.ok(!existsSync(made), "what is no longer in agent/ is no longer in the program");
});

test("where the program cannot be made it does not start, and says which file was edited", () => {
  says(source, "x;; let of: = 3");
  appendFileSync(source, "\nlet of: = 3\n");
  const { status, stdout, stderr } = run(".ci/orlop.js", "version");
  assert.deepEqual([status, stdout], [73, ""]);
  assert.match(
    stderr,
    /^orlop: agent\/cli\/version\.ts was edited since make, and cannot be made a program: run make\n/,
  );
});

test("positions in a program are those of its source", () => {
  cpSync(join(root, "agent/cli/version.ts"), source);
  appendFileSync(
    source,
    '\nconst words: readonly string[] = []; throw new Error("here" satisfies string, { cause: words });\n',
  );
  const { stderr } = run(".ci/orlop.js", "version");
  const { stderr: expected } = run("agent/main.ts", "version");
  const position = /version\.[jt]s:(\d+:\d+)/;
  assert.ok(position.exec(stderr)?.[1], stderr);
  assert.equal(position.exec(stderr)?.[1], position.exec(expected)?.[1]);
});
