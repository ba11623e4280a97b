// Each connection that exists on a node would be granted as a new call, or it ends: random calls of every kind and random
// changes of policy, membership and programs on two pairs of nodes; after each step what lives is what the oracle grants.
//   ORLOP_MODEL_SEED=n     the same steps again (seed.ts)  ORLOP_MODEL_ROUNDS=n   n times as many steps
//   ORLOP_MODEL_SHRINK=1   cut a failing trace down        ORLOP_MODEL_TRACE=file  only these steps, in one world
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, test } from "node:test";
import { linkKinds } from "./links-steps.ts";
import { LinksWorld } from "./links-world.ts";
import { compilePrograms, type Programs } from "./programs.ts";
import { explained, holdToTimes, shortened, takenText } from "./report.ts";
import { runDrawn, runTrace } from "./run-model.ts";
import { seedOfRun } from "./seed.ts";
import { readTrace } from "./step.ts";

const seed = seedOfRun();
const rounds = Number(process.env.ORLOP_MODEL_ROUNDS ?? 1);
const given = process.env.ORLOP_MODEL_TRACE;
const WORLDS = 2;
const STEPS = 500;
/** Of each kind, in all worlds together. */
const EACH = 20;
/** In one world the tables are long, so that what is written last is written late. */
const FILLERS = [0, 200] as const;

let programs: Programs;
before(() => {
  programs = compilePrograms();
});

const opening = (fillers: number) => () => LinksWorld.open({ programs, fillers });

if (given !== undefined) {
  test("the given trace", async () => {
    const result = await runTrace(opening(FILLERS[1]), linkKinds, readTrace(readFileSync(given, "utf8")));
    assert.ok(result.violations.length === 0, explained(result, given));
  });
} else {
  test(`${STEPS * rounds} random steps: what lives is what would be granted (ORLOP_MODEL_SEED=${seed})`, async (t) => {
    let failures = 0;
    const isOver = (): boolean => failures > 0;
    const options = { kinds: linkKinds, steps: (STEPS * rounds) / WORLDS, each: (EACH * rounds) / WORLDS, isOver };
    const began = performance.now();
    const runs = await Promise.all(
      FILLERS.map(async (fillers, world) => {
        const result = await runDrawn(opening(fillers), { ...options, seed: seed + world });
        failures += result.violations.length;
        return shortened(result, opening(fillers), linkKinds);
      }),
    );
    const failed = runs.flatMap((result, world) =>
      result.violations.length > 0 ? [explained(result, `world ${world} of seed ${seed}`)] : [],
    );
    assert.ok(failed.length === 0, failed.join("\n\n"));
    t.diagnostic(`${Math.round((performance.now() - began) / 1000)} s; ${takenText(linkKinds, runs)}`);
    holdToTimes(linkKinds, runs, EACH * rounds);
  });
}
