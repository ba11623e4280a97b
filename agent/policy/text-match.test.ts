// A long list of matches says what each match by itself says, and takes no text for longer than a few comparisons.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { StringMatch } from "../mesh/policies.ts";
import { anyOf, wanted } from "./text-match.ts";

/** The meaning, as Istio's documentation has it. */
function matches(match: StringMatch, text: string): boolean {
  if (match.kind === "presence") return text.length > 0;
  if (match.kind === "exact") return text === match.value;
  const { length } = match.value;
  const part = match.kind === "prefix" ? text.substring(0, length) : text.substring(text.length - length);
  return part === match.value;
}

// Few letters, so that prefixes begin with each other; beyond one byte, and halves of a pair.
const texts = fc
  .array(fc.constantFrom("a", "b", "/", "é", "\u{1f600}", "\ud83d"), { maxLength: 6 })
  .map((parts) => parts.join(""));
const match: fc.Arbitrary<StringMatch> = fc.oneof(
  { weight: 1, arbitrary: texts.map((value) => ({ kind: "exact", value }) as const) },
  { weight: 4, arbitrary: texts.map((value) => ({ kind: "prefix", value: `b${value}` }) as const) },
  { weight: 4, arbitrary: texts.map((value) => ({ kind: "suffix", value: `${value}b` }) as const) },
);

test("any match of a list, however long the list is", () => {
  let [taken, left] = [0, 0];
  fc.assert(
    fc.property(fc.array(match, { minLength: 1, maxLength: 80 }), fc.array(texts, { minLength: 20 }), (list, asked) => {
      const test = anyOf(list);
      for (const text of [...asked, ""]) {
        const expected = list.some((one) => matches(one, text));
        assert.equal(test(text), expected, JSON.stringify(text));
        if (expected) taken += 1;
        else left += 1;
      }
    }),
    { numRuns: 1_000 },
  );
  assert.ok(taken > 1_000 && left > 1_000, `${taken} texts were taken, ${left} were not`);
});

test("an empty prefix and an empty suffix take every text, in long lists, too", () => {
  for (const kind of ["prefix", "suffix"] as const) {
    const list = Array.from({ length: 40 }, (_, at): StringMatch => ({ kind, value: at === 20 ? "" : `${at}` }));
    assert.deepEqual(["", "x"].map(anyOf(list)), [true, true], kind);
  }
});

test("for people, a long list is its first values and how many others", () => {
  assert.equal(wanted(["a", "b"], true), "not a or b");
  const words = wanted(
    Array.from({ length: 20_000 }, (_, at) => `v${at}`),
    false,
  );
  assert.ok(words.startsWith("v0 or v1 or ") && words.endsWith("v31 or 19968 others"), words);
});
