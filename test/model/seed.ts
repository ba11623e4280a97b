// test model · the number from which a run's steps are drawn.
import { spawnSync } from "node:child_process";
import { createHash, randomInt } from "node:crypto";

/** What a run of the models depends on: the programs and the models themselves. */
const JUDGED = ["agent", "bpf", "native", "test/box", "test/model"];

/**
 * ORLOP_MODEL_SEED: a number, or `random`. Without it the seed comes from the committed content of the programs and the models: CI
 * takes the steps that the author of a change saw, another change takes others, and a change of the documentation alone none. Where
 * there is no commit it is random.
 */
export function seedOfRun(): number {
  const given = process.env.ORLOP_MODEL_SEED;
  if (given !== undefined && given !== "random") return Number(given);
  const trees = JUDGED.map((folder) => `HEAD:${folder}`);
  const { status, stdout } = spawnSync("git", ["rev-parse", ...trees], { cwd: import.meta.dirname, encoding: "utf8" });
  if (given === "random" || status !== 0) return randomInt(2 ** 31);
  return createHash("sha256").update(stdout).digest().readUInt32BE() >>> 4;
}
