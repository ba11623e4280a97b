// The bytes are those of the texts, whatever is added.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encoded, LineBytes } from "./line-bytes.ts";

const part = fc.oneof(
  fc.record({ text: fc.string({ unit: "binary" }), as: fc.constantFrom("text", "bytes") }),
  fc.record({
    number: fc.oneof(
      fc.nat(),
      fc.maxSafeNat(),
      fc.double(),
      // Where the number of digits changes.
      fc.tuple(fc.nat(15), fc.constantFrom(-1, 0, 1)).map(([power, more]) => 10 ** power + more),
    ),
  }),
);

test("parts of any kind, in any order, over several hand-overs", () => {
  const line = new LineBytes();
  const property = fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
    let text = "";
    for (const each of parts) {
      if ("number" in each) line.addNumber(each.number);
      else if (each.as === "text") line.addText(each.text);
      else line.add(encoded(each.text));
      text += "number" in each ? String(each.number) : Buffer.from(each.text).toString();
    }
    assert.equal(Buffer.from(line.take()).toString(), text);
  });
  fc.assert(property, { numRuns: 500 });
});

test("grows far beyond what it holds at first; a hand-over keeps what it was given", () => {
  const line = new LineBytes();
  const long = "ä€𝄞x".repeat(40_000);
  line.addText("before ");
  line.add(encoded(long));
  line.addNumber(Number.MAX_SAFE_INTEGER);
  line.addText(long);
  const taken = line.take();
  line.addText("z".repeat(100));
  assert.equal(Buffer.from(taken).toString(), `before ${long}${Number.MAX_SAFE_INTEGER}${long}`);
  assert.equal(taken.byteLength, taken.buffer.byteLength, "a copy to another thread takes no more than that");
  assert.equal(Buffer.from(line.take()).toString(), "z".repeat(100));
  assert.equal(line.take().length, 0);
});
