// A pod leaves the mesh only when somebody takes it out: four nodes at once live through random edits, deaths and shortages,
// while a host outside knocks at their pods in plaintext and a capture reads their wires. Policy says STRICT, so nothing is
// answered and nothing of the pods' own crosses the wire in the clear, except while the model's mesh lets a pod out.
//   ORLOP_MODEL_SEED=n     the same steps again (seed.ts)  ORLOP_MODEL_ROUNDS=n   n times as many steps
//   ORLOP_MODEL_SHRINK=1   cut a failing trace down        ORLOP_MODEL_TRACE=file  only these steps, in one world
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, test } from "node:test";
import { kinds } from "./kinds.ts";
import { compilePrograms, type Programs } from "./programs.ts";
import { explained, holdToTimes, shortened, takenText } from "./report.ts";
import { runDrawn, runTrace } from "./run-model.ts";
import { seedOfRun } from "./seed.ts";
import { readTrace } from "./step.ts";
import { otherMain } from "./steps-programs.ts";
import { World } from "./world.ts";

const seed = seedOfRun();
const rounds = Number(process.env.ORLOP_MODEL_ROUNDS ?? 1);
const given = process.env.ORLOP_MODEL_TRACE;
const WORLDS = 4;
const STEPS = 700;
/** Of each kind, in all worlds together. */
const EACH = 14;
const REFUSALS = 140;

const opening = (oneFile: boolean) => () => World.open({ programs, oneFile });

let programs: Programs;
before(() => {
  programs = compilePrograms();
  // A minute's work, which would stop the clocks of the worlds.
  otherMain();
});

if (given !== undefined) {
  test("the given trace", async () => {
    const result = await runTrace(opening(true), kinds, readTrace(readFileSync(given, "utf8")));
    assert.ok(result.violations.length === 0, explained(result, given));
  });
} else {
  test(`${STEPS * rounds} random steps: 0 answers, 0 bytes (ORLOP_MODEL_SEED=${seed})`, async (t) => {
    let failures = 0;
    const isOver = (): boolean => failures > 0;
    const options = { kinds, steps: (STEPS * rounds) / WORLDS, each: (EACH * rounds) / WORLDS, isOver };
    const began = performance.now();
    const runs = await Promise.all(
      Array.from({ length: WORLDS }, async (_, world) => {
        const open = opening(world % 2 === 1);
        const result = await runDrawn(open, { ...options, seed: seed + world });
        failures += result.violations.length;
        return shortened(result, open, kinds);
      }),
    );
    const failed = runs.flatMap((result, world) =>
      result.violations.length > 0 ? [explained(result, `world ${world} of seed ${seed}`)] : [],
    );
    assert.ok(failed.length === 0, failed.join("\n\n"));
    const refusals = runs.reduce((sum, { world }) => sum + world.refusals, 0);
    t.diagnostic(
      `${Math.round((performance.now() - began) / 1000)} s, ${refusals} refusals; ${takenText(kinds, runs)}`,
    );
    for (const { world } of runs) for (const [what, times] of world.counts) t.diagnostic(`${what}: ${times}`);
    holdToTimes(kinds, runs, EACH * rounds);
    assert.ok(refusals >= REFUSALS * rounds, `${refusals} refusals`);
  });
}
