// A dump that somebody else has written: whatever any of its texts holds, no command lets the terminal obey it or forges a line of it.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { apiVersion } from "../admin/api.ts";
import { fakeAgent, run } from "./cli.fake.ts";
import { exits } from "./output.ts";

const EVIL = "\u001b]0;x\u0007\u009b31m\u202e\u2028\u007f\r\nforged";
const kept: ReadonlySet<string> = new Set(["Dump", apiVersion]);

/** Every text, and the names of every map whose names are data, with EVIL behind it. */
function poisoned(value: unknown, isMap = false): unknown {
  if (typeof value === "string") return kept.has(value) ? value : value + EVIL;
  if (Array.isArray(value)) return value.map((item) => poisoned(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [isMap ? key + EVIL : key, poisoned(item, key === "labels")]),
  );
}

const commands = [
  "status",
  "check",
  "version",
  "log get",
  ...["workloads", "services", "policies", "routes", "limits", "ejected", "certs", "connections", "bpf"].map(
    (what) => `get ${what}`,
  ),
  "describe pod/web -n shop",
  "describe svc/api -n shop",
  "describe policy/callers -n shop",
  "dump",
];

for (const isPoisoned of [false, true])
  test(`no command prints what a terminal would obey${isPoisoned ? ", of a dump of which every text is hostile" : ""}`, async (t) => {
    const agent = await fakeAgent(t);
    const folder = mkdtempSync(join(tmpdir(), "orlop-dump-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "dump.json");
    const dump: unknown = JSON.parse((await agent.run("dump")).out);
    writeFileSync(file, JSON.stringify(isPoisoned ? poisoned(dump) : dump));
    for (const command of commands)
      for (const output of ["table", "wide", "json", "yaml", "name"]) {
        const line = `${command} -f ${file} -o ${output}`;
        const words = line
          .split(" ")
          .map((word) => (isPoisoned && /^(?:shop|[a-z]+\/[a-z]+)$/.test(word) ? word + EVIL : word));
        // A command may find that the dump makes no sense; it may not fall over it.
        const { exit, out, err } = await run(words);
        assert.ok(exit !== exits.badInput, `${line}: ${err}`);
        assert.doesNotMatch((out + err).replaceAll("\n", ""), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, line);
        assert.doesNotMatch(out + err, /^forged/m, line);
      }
  });
