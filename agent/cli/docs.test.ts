// Tests of docs/: a page for every code, every deny reason, every response flag and every refusal, and no page too many.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { closeCauses } from "../abi.ts";
import { responseFlags, unjudgedReasons } from "../observe/record.ts";
import { routeAnswers } from "../observe/request-record.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const pages = (folder: string): string[] =>
  readdirSync(join(root, "docs", folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => name.slice(0, -3))
    .toSorted();

/** The words of a union type, from its text: types leave nothing to ask at run time. */
function union(file: string, type: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const body =
    new RegExp(`export type ${type} =((?:\\s*\\| "[^"]+"(?: *//[^\\n]*)?|\\s*//[^\\n]*|; *//[^\\n]*)+)`).exec(
      text,
    )?.[1] ?? "";
  return [...body.matchAll(/\| "([^"]+)"/g)].map(([, word = ""]) => word);
}

test("every ORL code in the sources has a page, and every page a code", () => {
  const files = readdirSync(join(root, "agent"), { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".ts") && !/\.(test|fake)\.ts$/.test(name),
  );
  const codes = new Set(
    files.flatMap((name) => readFileSync(join(root, "agent", name), "utf8").match(/\bORL\d{4}\b/g) ?? []),
  );
  assert.deepEqual(pages("codes"), [...codes].toSorted());
});

test("every page of a code says why, how to confirm and how to fix", () => {
  for (const code of pages("codes")) {
    const text = readFileSync(join(root, "docs/codes", `${code}.md`), "utf8");
    assert.ok(text.startsWith(`# ${code}: `), code);
    for (const heading of ["## Why it happens\n", "## How to confirm\n", "## How to fix\n"])
      assert.ok(text.includes(heading), `${code} ${heading}`);
  }
});

test("every deny reason, response flag, refusal and end of what is no HTTP has a page, and every page its word", () => {
  const reasons = union("agent/policy/decision.ts", "DenyReason");
  const refusals = union("agent/plan/outcome.ts", "Refusal");
  assert.ok(reasons.includes("no-allow-matched") && reasons.length >= 5);
  assert.ok(refusals.includes("policy") && refusals.length >= 14);
  // Of the engine's causes, those that rules about requests bring about, and the deadline of bytes that nobody takes.
  const explained = closeCauses.filter((cause) => cause.startsWith("http") || ["not-http", "unread"].includes(cause));
  assert.equal(explained.length, 5);
  const words = new Set([
    ...explained,
    ...reasons,
    ...responseFlags.filter((flag) => flag !== "-"),
    ...refusals,
    ...unjudgedReasons,
    ...routeAnswers,
  ]);
  assert.deepEqual(pages("reasons"), [...words].toSorted());
});

test("docs/policy.md explains every reason for which a port is read or not", () => {
  const reasons = union("agent/policy/http-need.ts", "HttpNeedReason");
  const page = readFileSync(join(root, "docs/policy.md"), "utf8");
  assert.equal(reasons.length, 8);
  for (const reason of reasons) assert.ok(page.includes(`\`${reason}\``), reason);
});
