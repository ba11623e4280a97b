// test peers · Go's regexp judges routes' regular expressions: random ones, whole and spoilt. What we read, it reads, and it takes the
// same texts; what it cannot read, we refuse.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import path from "node:path";
import { automatonOf } from "../../../agent/l7/expression.ts";
import { randomExpression, randomText } from "../../routes/random-expressions.ts";
import { Dice } from "../../support/dice.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { soak } from "../support/soak.ts";

const wanted = soak(30_000, 500_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const TEXTS = 20;
const AT_ONCE = 10_000;

type Answer = { readonly error?: string; readonly takes: readonly boolean[] };

const program = path.join(built("re2"), "bin/re2");

function judged(
  lines: readonly { readonly expression: string; readonly texts: readonly string[] }[],
): readonly Answer[] {
  const input = lines.map((line) => JSON.stringify(line)).join("\n");
  const done = spawnSync(program, { input, encoding: "utf8", maxBuffer: 1 << 28 });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Answer);
}

/** Characters that have a meaning, put in or taken out anywhere. */
const spoils = [
  "(",
  ")",
  "[",
  "]",
  "{",
  "}",
  "*",
  "+",
  "?",
  "|",
  "^",
  "$",
  "\\",
  "-",
  "{2}",
  "(?",
  "(?i",
  "\\Q",
  "\\E",
  "[:",
  "1",
  "x",
];

function spoilt(expression: string, dice: Dice): string {
  const at = dice.roll(expression.length + 1);
  return expression.slice(0, at) + (dice.chance(70) ? dice.pick(spoils) : "") + expression.slice(at + dice.roll(3));
}

function compare(spoil: boolean): Record<"taken" | "left" | "read" | "refusedByBoth" | "refusedByUs", number> {
  const dice = new Dice(spoil ? seed + 1 : seed);
  const seen = { taken: 0, left: 0, read: 0, refusedByBoth: 0, refusedByUs: 0 };
  for (let begun = 0; begun < wanted; begun += AT_ONCE) {
    const lines = Array.from({ length: AT_ONCE }, () => {
      const words = randomExpression(dice).re2;
      const expression = spoil ? spoilt(words, dice) : words;
      return { expression, texts: Array.from({ length: TEXTS }, () => randomText(dice)) };
    });
    const answers = judged(lines);
    assert.equal(answers.length, lines.length);
    for (const [at, { expression, texts }] of lines.entries()) {
      const automaton = automatonOf(expression);
      const { error, takes } = answers[at] ?? assert.fail();
      if ("what" in automaton) {
        if (error === undefined && !spoil)
          assert.match(automaton.what, /larger automaton/, `seed ${seed}: ${expression}`);
        seen[error === undefined ? "refusedByUs" : "refusedByBoth"] += 1;
        continue;
      }
      assert.equal(error, undefined, `seed ${seed}: we read ${JSON.stringify(expression)}`);
      seen.read += 1;
      for (const [nth, text] of texts.entries()) {
        const isTaken = automaton.takes(text);
        if (isTaken !== takes[nth])
          assert.equal(isTaken, takes[nth], `seed ${seed}: ${JSON.stringify(expression)} of ${JSON.stringify(text)}`);
        seen[isTaken ? "taken" : "left"] += 1;
      }
    }
  }
  return seen;
}

peerCase("re2", `${wanted} random expressions take the same texts (ORLOP_SEED=${seed})`, (t) => {
  const seen = compare(false);
  t.diagnostic(JSON.stringify(seen));
  assert.ok(seen.refusedByUs < wanted / 50 && seen.refusedByBoth === 0);
  assert.ok(Math.min(seen.taken, seen.left) > (wanted * TEXTS) / 50);
});

peerCase("re2", `${wanted} spoilt expressions: what is read is read alike (ORLOP_SEED=${seed})`, (t) => {
  const seen = compare(true);
  t.diagnostic(JSON.stringify(seen));
  assert.ok(seen.read > wanted / 10 && seen.refusedByBoth > wanted / 20);
});
