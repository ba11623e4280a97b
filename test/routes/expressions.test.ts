// Random expressions and texts: our automaton says what JavaScript says, where both have words for the same.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { automatonOf } from "../../agent/l7/expression.ts";
import { Dice } from "../support/dice.ts";
import { randomExpression, randomText } from "./random-expressions.ts";

const wanted = Number(process.env.ORLOP_EXPRESSIONS ?? 10_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const TEXTS = 20;

test(`${wanted} random expressions: JavaScript takes the same texts (ORLOP_SEED=${seed})`, (t) => {
  const dice = new Dice(seed);
  const seen = { taken: 0, left: 0, expressions: 0, inOwnWords: 0, tooLarge: 0 };
  while (seen.expressions < wanted) {
    const folds = dice.chance(20);
    const { re2: words, js } = randomExpression(dice);
    const re2 = folds ? `(?i)${words}` : words;
    const automaton = automatonOf(re2);
    const texts = Array.from({ length: TEXTS }, () => randomText(dice));
    if ("what" in automaton) {
      assert.match(automaton.what, /larger automaton/, `seed ${seed}: ${re2}`);
      seen.tooLarge += 1;
      continue;
    }
    if (js === null) {
      seen.inOwnWords += 1;
      continue;
    }
    seen.expressions += 1;
    const oracle = new RegExp(`^(?:${js})$`, folds ? "i" : "");
    for (const text of texts) {
      const isTaken = oracle.test(text);
      const place = (): string => `seed ${seed}: ${re2} as ${js} of ${JSON.stringify(text)}`;
      if (automaton.takes(text) !== isTaken) assert.equal(automaton.takes(text), isTaken, place());
      seen[isTaken ? "taken" : "left"] += 1;
    }
  }
  t.diagnostic(JSON.stringify(seen));
  // Texts that all go one way would prove nothing.
  const least = Math.min(seen.taken, seen.left);
  assert.ok(least > (wanted * TEXTS) / 50, `${least} of ${wanted * TEXTS}, seed ${seed}`);
});
