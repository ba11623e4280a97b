// test cluster · reading the commands of a page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isExpected, isQuestion, sectionsOf } from "./page.ts";

test("commands are those of console blocks, by section, with what they print", () => {
  const page = [
    "# Page",
    "## First",
    "```sh",
    "$ not this",
    "```",
    "```console",
    "$ kubectl get \\",
    "    pods",
    "NAME",
    "web-…",
    "$ true",
    "```",
    "## Second",
  ].join("\n");
  assert.deepEqual(
    [...sectionsOf(page)],
    [
      [
        "First",
        [
          { line: 7, command: "kubectl get \\\n    pods", expected: ["NAME", "web-…"] },
          { line: 11, command: "true", expected: [] },
        ],
      ],
      ["Second", []],
    ],
  );
});

test("an ellipsis is the rest of a line, or any lines", () => {
  assert.ok(isExpected("pod/web-1 deleted\n", { expected: ["pod/web-… deleted"] }));
  assert.ok(!isExpected("pod/web-1 deleted\nmore\n", { expected: ["pod/web-… deleted"] }));
  assert.ok(isExpected("a\nb\nc   \nd\n", { expected: ["a", "…", "d"] }));
  assert.ok(isExpected("a\nd\n", { expected: ["a", "…", "d"] }));
  assert.ok(!isExpected("a (1)\n", { expected: ["a .1."] }));
  assert.ok(isExpected("anything\n", { expected: [] }));
});

test("of docs/kubernetes.md, what makes, changes or removes something is run once", () => {
  const page = readFileSync(new URL("../../docs/kubernetes.md", import.meta.url), "utf8");
  const steps = [...sectionsOf(page).values()].flat();
  assert.ok(steps.length > 25, `${steps.length} commands`);
  for (const step of steps.filter(isQuestion))
    assert.doesNotMatch(step.command, /\b(apply|create|delete|label|restart|rm)\b/, `line ${step.line}`);
  assert.ok(steps.some((step) => !isQuestion(step)));
});
