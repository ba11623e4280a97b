import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { quietJson, quietLines, quotedText } from "./terminal-text.ts";

const obeyed = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

test("a terminal obeys nothing of what is printed, JSON means the same, and no line begins that was not there", () => {
  const nasty = fc.constantFrom(
    "\u009b31m",
    "\u007f",
    "\u202e",
    "\u2028",
    "\r\n",
    "\u001b[2J",
    "\u{e0041}",
    "\u00ad",
    '"',
    "\\",
  );
  const text = fc.array(fc.oneof(fc.string({ unit: "binary" }), nasty)).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, (written) => {
      assert.equal(JSON.parse(quotedText(written)), written);
      assert.doesNotMatch(quotedText(written), obeyed);
      for (const indent of [0, 2]) {
        const value = { [written]: [written] };
        const quiet = quietJson(JSON.stringify(value, null, indent));
        assert.deepEqual(JSON.parse(quiet), value);
        assert.equal(quiet.split("\n").length, indent === 0 ? 1 : 5);
        assert.doesNotMatch(quiet.replaceAll("\n", ""), obeyed);
      }
      assert.doesNotMatch(quietLines(written).replaceAll("\n", ""), obeyed);
    }),
    { numRuns: 1_000 },
  );
});
