// Words of heads out of the arena: what is read is what lies there, whatever was read before, and the same words are the same object.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { HeadWords } from "../mesh/head-words.ts";
import { HeadTexts } from "./head-texts.ts";

const AT = 7;
const bytes = Buffer.alloc(1_024);

type Parts = readonly [method: string, target: string, authority: string];

function read(texts: HeadTexts, [method, target, authority]: Parts): HeadWords {
  bytes.fill(0xff);
  bytes.write(method + target + authority, AT, "latin1");
  const behindTarget = method.length + target.length;
  return texts.read(AT, method.length, behindTarget, behindTarget + authority.length);
}

const partsOf = ({ method, target, authority }: HeadWords): Parts => [method, target, authority];

const latin1 = fc.integer({ min: 1, max: 0xff }).map((code) => String.fromCharCode(code));
/** Few, so that they come again, and cut in different places. */
const few = fc.constantFrom("", "a", "ab", "b", "aab", "GET", "/accounts/1", "/accounts/2");
const part = fc.oneof(
  { weight: 4, arbitrary: few },
  { weight: 1, arbitrary: fc.string({ unit: latin1, maxLength: 200 }) },
);

const usual = fc.constantFrom<Parts>(["GET", "/a", "api"], ["GET", "/", "aapi"], ["GET", "/accounts/1", "api"]);

test("what is read is what lies there; words that come again next are the same object, and are known to be repeated", () => {
  let again = 0;
  fc.assert(
    fc.property(
      fc.array(fc.oneof<fc.Arbitrary<Parts>[]>(usual, fc.tuple(part, part, part)), { minLength: 20, maxLength: 60 }),
      (sent) => {
        const texts = new HeadTexts(bytes);
        const met = new Set<HeadWords>();
        for (const parts of sent) {
          const words = read(texts, parts);
          assert.deepEqual(partsOf(words), parts);
          assert.equal(words.isRepeated, met.has(words));
          if (met.has(words)) again += 1;
          met.add(words);
          const next = read(texts, parts);
          assert.deepEqual(partsOf(next), parts);
          // Longer words are made anew.
          assert.equal(next === words, parts.join("").length <= 256);
        }
      },
    ),
  );
  assert.ok(again > 100);
});

test("other words at the same place take it, and are not taken for those before", () => {
  const texts = new HeadTexts(bytes);
  const first = read(texts, ["GET", "/0", "api"]);
  for (let id = 1; id < 1_000; id += 1) assert.equal(read(texts, ["GET", `/${id}`, "api"]).target, `/${id}`);
  const later = read(texts, ["GET", "/0", "api"]);
  assert.deepEqual(partsOf(later), partsOf(first));
  assert.notEqual(later, first);
});

test("words that differ from those before in any single byte are other words", () => {
  const texts = new HeadTexts(bytes);
  for (let length = 1; length <= 256; length += 1) {
    const word = "w".repeat(length);
    for (let at = 0; at < length; at += 1) {
      const other = `${word.slice(0, at)}\xff${word.slice(at + 1)}`;
      assert.equal(read(texts, ["", other, ""]).target, other);
      assert.equal(read(texts, ["", word, ""]).target, word);
    }
  }
});
