// tests · bodies in chunks: cases by hand, and random ones of which the engine's C++ and the grammar must say the same.
// ORLOP_HTTP1_SEED draws the same lines again.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { before, test } from "node:test";
import { seeded } from "../fuzz/mutate.ts";
import { chunkCases } from "./chunk-cases.ts";
import { type ChunkKind, chunkRefusals, readChunk } from "./chunk-grammar.ts";
import { randomChunk } from "./random-chunks.ts";
import { askReader, buildReader } from "./read-native.ts";

const COUNT = 150_000;
const SEED = Number(process.env.ORLOP_HTTP1_SEED ?? randomInt(1, 2 ** 31));
const BATCH = 10_000;
/** Of each refusal at least so many, or the lines are too tame to show anything. */
const LEAST = 30;

type Sample = { readonly kind: ChunkKind; readonly bytes: Buffer };

before(buildReader);

function agreed(samples: readonly Sample[]): string[] {
  const said = askReader(samples);
  for (const [index, { kind, bytes }] of samples.entries()) {
    const ours = readChunk(kind, bytes);
    if (said[index] === ours) continue;
    assert.equal(said[index], ours, `C++ and grammar differ: ${kind} ${JSON.stringify(bytes.toString("latin1"))}`);
  }
  return said;
}

test("chunk lines, their ends and trailers are read, or refused with their reason", () => {
  const samples = chunkCases.map(([, , text, kind = "chunk line"]) => ({ kind, bytes: Buffer.from(text, "latin1") }));
  const said = agreed(samples);
  for (const [index, [what, answer]] of chunkCases.entries()) {
    const expected =
      Object.entries(chunkRefusals)
        .find(([name]) => name === answer)
        ?.join(" ") ?? answer;
    if (answer !== "") assert.equal(said[index], expected, what);
  }
});

test("each refusal of a body in chunks has a case", () => {
  const missing = Object.keys(chunkRefusals).filter((name) => chunkCases.every(([, answer]) => answer !== name));
  assert.deepEqual(missing, []);
});

test("both readers say the same of random chunk lines, ends and trailers", () => {
  console.log(`again: ORLOP_HTTP1_SEED=${SEED} node --test test/http/chunks.test.ts`);
  const random = seeded(SEED);
  const outcomes = new Map<string, number>();
  for (let done = 0; done < COUNT; done += BATCH) {
    const samples = Array.from({ length: BATCH }, () => randomChunk(random));
    for (const line of agreed(samples)) {
      const [outcome = ""] = line.split(" ");
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  }
  console.log([...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(", "));
  const rare = Object.keys(chunkRefusals).filter((name) => (outcomes.get(name) ?? 0) < LEAST);
  assert.deepEqual(rare, [], "each refusal is reached");
  const accepted = ["chunk", "end", "trailers"].reduce((sum, name) => sum + (outcomes.get(name) ?? 0), 0);
  assert.ok(accepted >= 0.3 * COUNT, "three of ten are accepted");
});
