import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ProgramName, permissionText, programs, readCommandLine } from "./command-line.ts";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const names = Object.keys(programs) as ProgramName[];

test("a line with a file, and the flags of its program", () => {
  assert.deepEqual(readCommandLine("agent", ["-c", "a.yaml"]), { config: "a.yaml", flags: new Set() });
  assert.deepEqual(readCommandLine("keeper", ["--remove-on-exit", "--config=a.yaml"]), {
    ...{ config: "a.yaml", flags: new Set(["remove-on-exit"]) },
  });
  assert.deepEqual(readCommandLine("uninstall", ["-c", "a.yaml", "--state", "--dry-run"]), {
    ...{ config: "a.yaml", flags: new Set(["state", "dry-run"]) },
  });
});

test("what is wrong is said with its fix, and no program starts", () => {
  for (const name of names) {
    for (const line of [[], ["-c"], ["-c", ""], ["--bogus"], ["-c", "a.yaml", "b.yaml"], ["-c", "a.yaml", "--forc"]]) {
      const answer = readCommandLine(name, line);
      assert.ok("exit" in answer && answer.exit === 64, `${name} ${line.join(" ")}`);
      assert.match(
        answer.text,
        new RegExp(`^orlop ${name}: [a-z-].* {2}ORL6004\n {2}why: .+\n {2}do: {2}orlop ${name} .+\n$`),
      );
    }
  }
  const answer = readCommandLine("agent", ["-c", "a.yaml", "--remove-on-exit"]);
  assert.ok("exit" in answer, "a flag of another program");
});

test("each program has its help, also where it would need a privilege, and by `orlop help`", () => {
  for (const name of names) {
    const asked = execFileSync(process.execPath, [main, name, "--help"], { encoding: "utf8" });
    assert.match(asked, new RegExp(`^Usage: orlop ${name} -c `));
    assert.equal(execFileSync(process.execPath, [main, "help", name], { encoding: "utf8" }), asked);
  }
  const refused = spawnSync(process.execPath, [main, "run", "--bogus"], { encoding: "utf8" });
  assert.deepEqual([refused.status, refused.stdout], [64, ""]);
  assert.match(refused.stderr, /^orlop run: unknown option '--bogus' {2}ORL6004\n/);
});

test("a permission that is missing is said without a stack; other errors are not taken for that", () => {
  const refused = Object.assign(new Error("EACCES: permission denied, mkdir '/run/orlop'"), { code: "EACCES" });
  assert.match(
    permissionText("agent", refused) ?? "",
    /^orlop agent: EACCES: .+\n {2}why: .+\n {2}do: {2}run it as root/,
  );
  for (const other of [new TypeError("a bug"), Object.assign(new Error("full"), { code: "ENOSPC" }), "EACCES"])
    assert.equal(permissionText("agent", other), undefined);
});
