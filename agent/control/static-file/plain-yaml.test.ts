// The reader of plain documents against the library: what it reads, the library reads as the same values at the same positions; and it does
// read what meshes consist of.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Value } from "../kinds/value.ts";
import { parseByLibrary } from "./parse.ts";
import { readPlain } from "./plain-yaml.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = Number(process.env.ORLOP_RUNS ?? 10_000);

/** Returns whether it was read. */
function agrees(text: string): boolean {
  const plain = readPlain("f.yaml", text, 7);
  if (plain === undefined) return false;
  let library: Value | undefined;
  try {
    library = parseByLibrary("f.yaml", { text, line: 7 });
  } catch (error) {
    assert.fail(`the library refuses ${JSON.stringify(text)}: ${error}`);
  }
  assert.deepEqual(plain, library, JSON.stringify(text));
  return true;
}

const read = [
  "a: 1\n",
  "---\na: 1\nb: x",
  'apiVersion: v1\nkind: Service\nmetadata: {name: app-1, namespace: ns-1}\nspec: {clusterIP: "10.97.0.1", selector: {app: app-1}, ports: [{port: 80, targetPort: 8080}]}\n',
  'kind: AuthorizationPolicy\nspec:\n  action: ALLOW\n  rules:\n    - from: [{source: {principals: ["cluster.local/ns/a/sa/b"]}}]\n    - to:\n        - operation:\n            ports: ["80"]\n      when: []\n',
  "rules:\n- a: 1\n  b:\n  - x\n  - 'y z'\n\n- c: {}\nd: true\n",
  "a: 10.0.0.1\nb: 10.0.0.0/8\nc: spiffe://a/b\nd: a:b\ne: [a:b, c*d]\nf: 1a\ng: 0\n",
];
for (const text of read) test(`read: ${JSON.stringify(text.slice(0, 40))}`, () => assert.ok(agrees(text)));

const left = [
  "",
  "a:\n",
  "a: \n",
  "a: &x 1\n",
  "a: *x\n",
  "a: !t 1\n",
  "a: |\n  x\n",
  "a: b\n  c\n",
  "a: 'b\n  c'\n",
  'a: "b\\n"\n',
  "a: 'it''s'\n",
  "a: b # c\n",
  "a: 1\na: 2\n",
  "a: {b: 1, b: 2}\n",
  "<<: {a: 1}\n",
  "1: a\n",
  "a: 007\n",
  "a: 1.5\n",
  "a: 1e3\n",
  "a: 0x1f\n",
  "a: 0o17\n",
  "a: 9007199254740993\n",
  "a: null\n",
  "a: ~\n",
  "a: True\n",
  "a:\tb\n",
  "a: b\r\n",
  "a: é\n",
  "%YAML 1.1\n---\na: 1\n",
  "a: 1\n...\n",
  "--- a\n",
  "a: {b: 1,}\n",
  "a: {b}\n",
  "a: [1\n",
  "a: b: c\n",
  "a: b:\n",
  "a:\n  b: 1\n c: 2\n",
  "- a\n",
  "a: -1\n",
  "a: .5\n",
  `a: ${"[".repeat(30)}${"]".repeat(30)}\n`,
];
for (const text of left)
  test(`left to the library: ${JSON.stringify(text)}`, () => assert.equal(readPlain("f.yaml", text, 1), undefined));

test(`whatever it reads, the library reads alike (seed ${seed})`, () => {
  const token = fc.constantFrom(
    ...[
      "a: ",
      "b: ",
      "c:",
      "d",
      "- ",
      "-",
      "\n",
      "\n  ",
      "\n    ",
      "\n- ",
      "\n  - ",
      " ",
      "---\n",
      "...",
      "{",
      "}",
      "[",
      "]",
      ", ",
    ],
    ...[
      ",",
      "'",
      '"',
      "''",
      "'x y'",
      '"x"',
      "#",
      " #",
      ":",
      ": ",
      "?",
      "%",
      "|",
      ">",
      "&x ",
      "*x",
      "!t ",
      "@",
      "=",
      "+",
      "<<: ",
    ],
    ...[
      "1",
      "0",
      "08",
      "1.2",
      "1e3",
      "0x1",
      "0o7",
      "10.0.0.1/8",
      "true",
      "null",
      "~",
      "yes",
      "a:b",
      "a/b",
      "é",
      "\t",
      "\r\n",
      "_",
      ".",
    ],
  );
  const soup = fc.array(token, { maxLength: 24 }).map((all) => all.join(""));
  const easy = fc.constantFrom(
    "x",
    "1",
    "0",
    "a:b",
    "'q r'",
    '"s"',
    "true",
    "10.0.0.1",
    "a-1",
    "1_0",
    "x/y*z",
    "spiffe://a/b",
    "{}",
  );
  const hard = fc.constantFrom(
    "08",
    "null",
    "x*",
    "a: b",
    "'",
    "1.0",
    "No",
    "0x",
    "1e",
    "a b",
    "-1",
    "x#y",
    "x #y",
    "[",
    "~",
  );
  const scalar = fc.oneof({ arbitrary: easy, weight: 40 }, { arbitrary: hard, weight: 1 });
  const flow = fc.letrec<{ value: string; list: string; map: string }>((tie) => ({
    value: fc.oneof({ maxDepth: 3 }, scalar, tie("map"), tie("list")),
    list: fc.array(tie("value"), { maxLength: 3 }).map((all) => `[${all.join(", ")}]`),
    map: fc
      .array(tie("value"), { maxLength: 3 })
      .map((all) => `{${all.map((each, at) => `k${at}: ${each}`).join(", ")}}`),
  })).value;
  type Block = string | { readonly [key: string]: Block } | readonly Block[];
  const blocks = fc.letrec<{ value: Block; list: readonly Block[]; map: Readonly<Record<string, Block>> }>((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, flow, tie("map"), tie("list")),
    list: fc.array(tie("value"), { minLength: 1, maxLength: 3 }),
    map: fc.dictionary(fc.constantFrom("a", "b-c", "d.e/f", "g"), tie("value"), { minKeys: 1, maxKeys: 3 }),
  })).map;
  /** Characters put into it or taken out of it: as a rule it then is something else, or nothing that is YAML. */
  const hurt = fc.array(fc.tuple(fc.nat(), fc.boolean(), token), { maxLength: 2 });
  const block = fc.tuple(blocks, fc.boolean(), hurt).map(([map, isFlush, edits]) => {
    let text = written(map, 0, isFlush);
    for (const [at, isPut, what] of edits) {
      const place = at % (text.length + 1);
      text = `${text.slice(0, place)}${isPut ? what : ""}${text.slice(place + (isPut ? 0 : 1))}`;
    }
    return text;
  });
  let count = 0;
  const property = fc.property(fc.oneof(soup, block, block, block), (text) => {
    if (agrees(text)) count += 1;
  });
  fc.assert(property, { numRuns: RUNS, seed });
  assert.ok(count > RUNS / 8, `only ${count} were read`);

  /** As block style. @param isFlush lists are not indented */
  function written(value: Block, indent: number, isFlush: boolean): string {
    const space = " ".repeat(indent);
    if (typeof value === "string") return `${space}${value}\n`;
    if (Array.isArray(value))
      return value.map((item) => `${space}- ${written(item, indent + 2, isFlush).slice(indent + 2)}`).join("");
    return Object.entries(value)
      .map(([key, item]) => {
        if (typeof item === "string") return `${space}${key}: ${item}\n`;
        return `${space}${key}:\n${written(item, Array.isArray(item) && isFlush ? indent : indent + 2, isFlush)}`;
      })
      .join("");
  }
});
