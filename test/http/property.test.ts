// tests · the engine's C++ and the grammar say the same of random heads, byte for byte; what Node's own parser (llhttp) refuses is
// refused here, too. ORLOP_HTTP1_SEED draws the same heads again, ORLOP_HTTP1_HEADS more of them.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { before, test } from "node:test";
import { seeded } from "../fuzz/mutate.ts";
import { acceptedHeads, refusedHeads } from "./cases.ts";
import { readHead } from "./grammar.ts";
import { headRefusals, lineOf } from "./head.ts";
import { whyRefusedByLlhttp } from "./llhttp.ts";
import { randomHead, type Sample } from "./random-heads.ts";
import { askReader, buildReader } from "./read-native.ts";

const HEADS = Number(process.env.ORLOP_HTTP1_HEADS ?? 250_000);
const SEED = Number(process.env.ORLOP_HTTP1_SEED ?? randomInt(1, 2 ** 31));
const BATCH = 5_000;
/** Of each refusal at least so many in 100,000 heads, or the heads are too tame to show anything. */
const LEAST = 20;

before(buildReader);

const shown = ({ kind, bytes }: Sample): string =>
  `${kind} ${JSON.stringify(bytes.toString("latin1").slice(0, 2_000))}`;

/** What is said of the samples; both readers must say it. */
function agreed(samples: readonly Sample[]): string[] {
  const said = askReader(samples);
  for (const [index, sample] of samples.entries()) {
    const ours = lineOf(readHead(sample.kind, sample.bytes));
    if (said[index] !== ours) assert.equal(said[index], ours, `C++ and grammar differ: ${shown(sample)}`);
  }
  return said;
}

test("both readers say the same of the cases by hand", () => {
  const cases = [...refusedHeads, ...acceptedHeads];
  agreed(cases.map(([, , head, kind = "request"]) => ({ kind, bytes: Buffer.from(head, "latin1") })));
});

test("both readers say the same of random heads; llhttp refuses nothing that they accept", () => {
  console.log(`again: ORLOP_HTTP1_SEED=${SEED} ORLOP_HTTP1_HEADS=${HEADS} node --test test/http/property.test.ts`);
  const random = seeded(SEED);
  const outcomes = new Map<string, number>();
  let other: Buffer = Buffer.alloc(0);
  let more = 0;
  for (let done = 0; done < HEADS; done += BATCH) {
    const samples = Array.from({ length: BATCH }, () => {
      const sample = randomHead(random, other);
      other = sample.bytes;
      return sample;
    });
    for (const [index, line] of agreed(samples).entries()) {
      const [outcome = ""] = line.split(" ");
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      const sample = samples[index];
      if (sample === undefined) continue;
      const why = whyRefusedByLlhttp(sample.kind, sample.bytes);
      if (outcome === "head") assert.equal(why, undefined, `llhttp refuses what we accept: ${shown(sample)}`);
      else if (why === undefined) more++;
    }
  }
  console.log([...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(", "));
  console.log(`llhttp accepts ${more} of those that are refused`);
  const rare = Object.keys(headRefusals).filter((name) => (outcomes.get(name) ?? 0) < (LEAST * HEADS) / 100_000);
  assert.deepEqual(rare, [], "each refusal is reached");
  assert.ok((outcomes.get("head") ?? 0) >= 0.3 * HEADS, "three of ten heads are accepted");
});
