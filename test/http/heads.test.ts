// tests · heads of HTTP/1 that the engine's C++ must refuse, each with its reason, and heads that it must read.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, test } from "node:test";
import { bodyRefusals } from "./body-grammar.ts";
import { acceptedHeads, refusedHeads, type Said } from "./cases.ts";
import { chunkRefusals } from "./chunk-grammar.ts";
import { type Head, headOf, headRefusals, type Span } from "./head.ts";
import { askReader, buildReader } from "./read-native.ts";

before(buildReader);

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

test("what smuggles is refused, with its reason and its status", () => {
  const said = askReader(refusedHeads.map(([, , head, kind = "request"]) => ({ kind, bytes: latin1(head) })));
  assert.deepEqual(
    refusedHeads.map(([why], index) => `${why}: ${said[index]}`),
    refusedHeads.map(([why, refusal]) => `${why}: ${refusal} ${headRefusals[refusal]}`),
  );
});

test("each refusal of a head has a case", () => {
  const missing = Object.keys(headRefusals).filter((name) => refusedHeads.every(([, refusal]) => refusal !== name));
  assert.deepEqual(missing, []);
});

test("docs/reference/http1.md has each refusal with its status", () => {
  const page = readFileSync(new URL("../../docs/reference/http1.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `([a-z-]+)` \| (\d+) \|/gm)].map(
    ([, name = "", status = ""]) => `${name} ${status}`,
  );
  const all = Object.entries({ ...headRefusals, ...chunkRefusals, ...bodyRefusals }).map(
    ([name, status]) => `${name} ${status}`,
  );
  assert.deepEqual(rows.toSorted(), all.toSorted());
});

/** What is said of a head, as far as `asked` asks. */
function saidOf(head: Head, text: string, asked: Said): Said {
  const part = ([at, length]: Span): string => text.slice(at, at + length);
  const all = {
    ...head,
    method: part(head.method),
    target: part(head.target),
    path: part(head.path),
    authority: part(head.authority),
    values: head.fields.map(({ value }) => part(value)).join("|"),
    named: head.fields.flatMap(({ name, named }) => (named ? [part(name)] : [])).join("|"),
  };
  return Object.fromEntries(Object.entries(all).filter(([name]) => name in asked));
}

test("what honest programs send is read", () => {
  const said = askReader(acceptedHeads.map(([, , head, kind = "request"]) => ({ kind, bytes: latin1(head) })));
  for (const [index, [what, asked, text]] of acceptedHeads.entries()) {
    const head = headOf(said[index] ?? "");
    assert.ok(typeof head !== "string", `${what}: ${head}`);
    assert.deepEqual(saidOf(head, text, asked), asked, what);
  }
});

test("a head ends at its first empty line, also where the lines end wrongly", () => {
  const heads: readonly (readonly [bytes: string, end: number])[] = [
    ["", 0],
    ["a\r\n", 0],
    ["a\r\n\r", 0],
    ["a\r\n\r\n", 5],
    ["a\r\n\r\nb\r\n\r\n", 5],
    ["a\n\nb", 3],
    ["a\n\r\nb", 4],
    ["\r\na\r\n\r\n", 7],
    ["\r\n\r\na", 4],
    ["a\r\r\n\r\n", 6],
  ];
  const said = askReader(heads.map(([text]) => ({ kind: "end of head", bytes: latin1(text) })));
  assert.deepEqual(
    said.map(Number),
    heads.map(([, end]) => end),
  );
});
