// test model · what a run says in the end: why it failed, cut down where somebody waits for that, and what was taken how often.
import assert from "node:assert/strict";
import type { Kind, ModelWorld } from "./kind.ts";
import { type RunResult, runTrace } from "./run-model.ts";
import { shrunk } from "./shrink.ts";
import { type Step, stepText } from "./step.ts";

const traceText = (trace: readonly Step[]): string => trace.map((step, at) => `${at} ${stepText(step)}`).join("\n");

export function explained<W>({ violations, trace, output }: RunResult<W>, about: string): string {
  return `${about}\n${violations.join("\n")}\n\n${traceText(trace)}\n\n${output}`;
}

/** With ORLOP_MODEL_SHRINK, a failed run with the shortest trace that still fails. */
export async function shortened<W extends ModelWorld>(
  result: RunResult<W>,
  open: () => Promise<W>,
  kinds: readonly Kind<W>[],
): Promise<RunResult<W>> {
  if (result.violations.length === 0 || process.env.ORLOP_MODEL_SHRINK === undefined) return result;
  const fails = async (steps: readonly Step[]): Promise<boolean> =>
    (await runTrace(open, kinds, steps)).violations.length > 0;
  return { ...result, trace: await shrunk(result.trace, fails) };
}

function takenTimes<W>(kinds: readonly Kind<W>[], runs: readonly RunResult<W>[]): ReadonlyMap<string, number> {
  const taken = new Map(kinds.map(({ name }) => [name, 0]));
  for (const { kind } of runs.flatMap(({ trace }) => trace)) taken.set(kind, (taken.get(kind) ?? 0) + 1);
  return taken;
}

export function takenText<W>(kinds: readonly Kind<W>[], runs: readonly RunResult<W>[]): string {
  return [...takenTimes(kinds, runs)].map(([kind, count]) => `${kind} ${count}`).join(", ");
}

/** A kind that was hardly taken proves nothing. */
export function holdToTimes<W>(kinds: readonly Kind<W>[], runs: readonly RunResult<W>[], each: number): void {
  for (const [kind, count] of takenTimes(kinds, runs)) assert.ok(count >= each, `${kind} was taken ${count} times`);
}
