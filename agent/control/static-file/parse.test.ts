// YAML with positions: what is read, what is refused and where, and that no text at all throws anything but ConfigError.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { positionText } from "../../mesh/source-ref.ts";
import { ConfigError, type Value } from "../kinds/value.ts";
import { parseYaml } from "./parse.ts";

/** The value without its positions. */
function plain(value: Value): unknown {
  if (value.type === "map")
    return Object.fromEntries([...value.entries].map(([name, entry]) => [name, plain(entry.value)]));
  if (value.type === "list") return value.items.map(plain);
  return value.type === "null" ? null : value.value;
}

function refusal(text: string): string {
  try {
    parseYaml("f.yaml", text);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    const [first] = error.problems;
    assert.ok(first && first.what !== "" && first.why !== "" && first.fix !== "");
    return `${positionText(first.from)} ${first.what}`;
  }
  return "accepted";
}

test("documents, empty ones left out, every value with its own position", () => {
  const [first, second, ...more] = parseYaml(
    "f.yaml",
    "# nothing\n---\na: 1\nb:\n  - x\n  - {c: true}\n---\n---\nd: null\n",
  );
  assert.ok(first && second);
  assert.equal(more.length, 0);
  assert.deepEqual(plain(first), { a: 1, b: ["x", { c: true }] });
  assert.deepEqual(plain(second), { d: null });
  assert.ok(first.type === "map");
  const b = first.entries.get("b");
  assert.deepEqual(b?.keyFrom, { file: "f.yaml", line: 4, column: 1 });
  assert.ok(b?.value.type === "list");
  assert.deepEqual(b.value.items[1]?.from, { file: "f.yaml", line: 6, column: 5 });
  assert.deepEqual(second.from, { file: "f.yaml", line: 9, column: 1 });
});

test("YAML 1.2: yes, on and 0123 are what they look like", () => {
  const [value] = parseYaml("f", "a: yes\nb: on\nc: 0o17\nd: 1_000\ne: '8080'\nf: 1e3\n");
  assert.ok(value);
  assert.deepEqual(plain(value), { a: "yes", b: "on", c: 15, d: "1_000", e: "8080", f: 1000 });
});

test("numbers and truths as keys are read as text; two spellings of one key are one", () => {
  const [value] = parseYaml("f", "8080: a\ntrue: b\n");
  assert.ok(value);
  assert.deepEqual(plain(value), { "8080": "a", true: "b" });
  assert.match(refusal('8080: a\n"8080": b\n'), /f\.yaml:2:1 .*twice/);
});

test("a separator inside a block scalar still separates, in every reader", () => {
  assert.equal(parseYaml("f", "a: |\n  text\n---\nb: 1\n").length, 2);
});

test("a byte order mark and windows line ends are read, positions stay right", () => {
  const [value] = parseYaml("f", "\uFEFFa: 1\r\nb: 2\r\n");
  assert.ok(value?.type === "map");
  assert.deepEqual(value.entries.get("b")?.keyFrom, { file: "f", line: 2, column: 1 });
});

test("aliases are read where they are used, with the position of the value", () => {
  const [value] = parseYaml("f", "a: &x {c: 1}\nb: *x\n");
  assert.ok(value);
  assert.deepEqual(plain(value), { a: { c: 1 }, b: { c: 1 } });
});

const laughs = (depth: number): string =>
  [
    "a0: &a0 [x,x,x,x,x,x,x,x,x,x]",
    ...Array.from({ length: depth }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(",")}]`),
  ].join("\n");

for (const [name, text, expected] of [
  ["a key twice", "a: 1\nb: 2\na: 3\n", /^f\.yaml:3:1 .*twice/],
  ["in a later document", "a: 1\n---\nx:\n  b: 1\n  b: 2\n", /^f\.yaml:5:3 .*twice/],
  ["a tab", "a:\n\tb: 1\n", /^f\.yaml:2:1 .*tab/],
  ["an open bracket", "a: [1, 2\n", /^f\.yaml:\d+:\d+ /],
  ["an open quote", 'a: "b\n', /^f\.yaml:\d+:\d+ /],
  ["a tag", "a: !!js/function x\n", /^f\.yaml:1:4 .*tag/],
  ["an own tag", "a: !secret x\n", /^f\.yaml:1:4 .*tag/],
  ["an unknown alias", "a: *b\n", /^f\.yaml:1:4 /],
  ["an alias inside its own anchor", "a: &x [*x]\n", /^f\.yaml:1:\d+ /],
  ["a merge key", "a: &x {b: 1}\nc:\n  <<: *x\n", /^f\.yaml:3:3 .*merge/],
  ["a map as a key", "{a: 1}: 2\n", /^f\.yaml:1:\d+ .*key/],
  ["a directive", "# x\n%YAML 1.1\n---\na: yes\n", /^f\.yaml:2:1 .*directives/],
  ["a document larger than any object", `a: ${"x".repeat(600_000)}\n`, /^f\.yaml:1:1 .*larger/],
  ["infinity", "a: .inf\n", /^f\.yaml:1:4 .*infinity/],
  ["deep nesting", `a: ${"[".repeat(80)}${"]".repeat(80)}\n`, /nested too deeply/],
  ["nesting that would exhaust a stack", `a: ${"[".repeat(50_000)}`, /f\.yaml/],
  ["nesting by indentation", Array.from({ length: 3_000 }, (_, i) => `${" ".repeat(i)}- `).join("\n"), /f\.yaml/],
  ["a billion laughs", laughs(9), /more than/],
  ["documents without a separator", "a: 1\n...\nb: 2\n", /f\.yaml/],
] as const) {
  test(`refused: ${name}`, () => assert.match(refusal(text), expected));
}

test("a text larger than the limit is refused unread", () => {
  assert.match(refusal(" ".repeat(33 * 1024 * 1024)), /larger/);
});

test("any text is read or refused, and nothing else", () => {
  const token = fc.constantFrom(
    "a: ",
    "- ",
    "&x ",
    "*x",
    "\n",
    "  ",
    "---\n",
    "...",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    '"',
    "|\n",
    ">",
    "!t ",
    "#",
    ":",
    "?",
    "%YAML 1.1\n",
    "\t",
    "1",
    "null",
    "~",
    "<<: ",
    "\u0000",
    "é",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string({ unit: "binary" }),
        fc.array(token, { maxLength: 30 }).map((all) => all.join("")),
      ),
      (text) => {
        try {
          for (const value of parseYaml("f.yaml", text)) assert.match(positionText(value.from), /:[1-9]\d*:[1-9]\d*$/);
        } catch (error) {
          assert.ok(error instanceof ConfigError, `${JSON.stringify(text)}: ${error}`);
        }
      },
    ),
    { numRuns: 3_000 },
  );
});
