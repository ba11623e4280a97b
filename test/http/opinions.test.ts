// tests · the engine's C++, the grammar and llhttp say the same of every committed input of the fuzzers, and of what smugglers say on a
// whole connection. ORLOP_HTTP1_SEED draws the same again (docs/reference/failures.md, B1).
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { readdirSync } from "node:fs";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { seeded } from "../fuzz/mutate.ts";
import { mutantOf } from "../peers/mutants/mutant.ts";
import { messageAt } from "./messages.ts";
import { opinionsOn, talkOpinions } from "./opinions.ts";
import { buildReader } from "./read-native.ts";

const COUNT = 6_000;
const SEED = Number(process.env.ORLOP_HTTP1_SEED ?? randomInt(1, 2 ** 31));

before(buildReader);

for (const target of ["http1-head", "http1-body", "http1-exchange"]) {
  test(`all say the same of the fuzzer's inputs: ${target}`, () => {
    const folder = fileURLToPath(new URL(`../fuzz/corpus/${target}/`, import.meta.url));
    const files = readdirSync(folder).map((name) => folder + name);
    assert.ok(files.length > 0);
    assert.deepEqual(opinionsOn(target, files, seeded(1)), []);
  });
}

test("all say the same of mutants of whole connections", () => {
  console.log(`again: ORLOP_HTTP1_SEED=${SEED} node --test test/http/opinions.test.ts`);
  const mutants = Array.from({ length: COUNT }, (_, id) => mutantOf(SEED, id).bytes);
  assert.deepEqual(talkOpinions(mutants, seeded(SEED)).slice(0, 10), []);
  const whole = mutants.filter((bytes) => {
    const first = messageAt(bytes, 0);
    return typeof first !== "string" && first.body.word === "end";
  });
  assert.ok(whole.length >= 0.3 * COUNT, "three of ten begin with a request that goes on");
});
