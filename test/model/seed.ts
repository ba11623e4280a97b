// test model · the number from which a run's steps are drawn.
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";

/**
 * ORLOP_MODEL_SEED: a number, or `random`. Without it the seed is the commit's: a run of CI takes the steps that the commit's author saw,
 * and the next commit takes others. Where there is no commit it is random.
 */
export function seedOfRun(): number {
  const given = process.env.ORLOP_MODEL_SEED;
  if (given !== undefined && given !== "random") return Number(given);
  const { status, stdout } = spawnSync("git", ["rev-parse", "HEAD"], { cwd: import.meta.dirname, encoding: "utf8" });
  const isOfCommit = given === undefined && status === 0 && /^[0-9a-f]{7}/.test(stdout);
  return isOfCommit ? Number.parseInt(stdout.slice(0, 7), 16) : randomInt(2 ** 31);
}
