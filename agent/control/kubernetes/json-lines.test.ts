// Lines come out as they were written, however the network cuts them.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonLines, LineTooLong, MAX_LINE_BYTES } from "./json-lines.ts";

test("any text, cut anywhere, gives its lines", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme" })), fc.infiniteStream(fc.nat(7)), (texts, cuts) => {
      const lines = texts.map((text) => JSON.stringify(text));
      const bytes = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
      const splitter = new JsonLines();
      const read: string[] = [];
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + (cuts.next().value ?? 0);
        read.push(...splitter.of(bytes.subarray(at, end)));
        at = end;
      }
      assert.deepEqual(read, lines);
      assert.equal(splitter.isTorn, false);
    }),
  );
});

test("a line without an end is bounded, and bytes that are no text are refused", () => {
  const chunk = new Uint8Array(1024 * 1024).fill(0x20);
  const splitter = new JsonLines();
  assert.throws(() => {
    for (let at = 0; at <= MAX_LINE_BYTES; at += chunk.length) assert.deepEqual([...splitter.of(chunk)], []);
  }, LineTooLong);
  assert.throws(() => [...new JsonLines().of(Uint8Array.of(0x22, 0xff, 0x22, 0x0a))], TypeError);
});
