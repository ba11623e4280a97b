import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { honoured, passing, skipped } from "./features.ts";

const page = readFileSync(new URL("../../../docs/compatibility.md", import.meta.url), "utf8");
const [, section = ""] = page.split("\n## Gateway API for meshes\n");
const rows = section
  .slice(0, section.indexOf("\n## "))
  .split("\n")
  .filter((line) => /^\| [A-Z]\w+/.test(line) && !line.startsWith("| Feature"))
  .map((line) => line.split("|").map((cell) => cell.trim()));
const cells = (at: number, outcome: string): readonly string[] =>
  rows
    .filter((row) => row[3] === outcome)
    .flatMap((row) => (row[at] ?? "").split(", "))
    .toSorted();

test("the table of docs/compatibility.md has each test of the suite, with what comes of it", () => {
  assert.deepEqual(cells(2, "passes"), passing.toSorted());
  assert.deepEqual(cells(2, "not honoured"), Object.keys(skipped).toSorted());
});

test("and each feature that is honoured", () => {
  assert.deepEqual(cells(1, "passes"), ["GRPCRoute", "HTTPRoute", "Mesh", ...honoured].toSorted());
});
