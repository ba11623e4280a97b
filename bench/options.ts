// bench · the command line of `orlop-bench`. Pure.
import { parseArgs } from "node:util";
import { UsageError } from "./scenarios/scenario.ts";

export type Options = {
  /** One scenario by name; undefined: the whole plan. */
  readonly only?: string;
  readonly peer?: string;
  readonly json: boolean;
  readonly list: boolean;
  /** A results file to be no worse than. */
  readonly compare?: string;
  readonly pairs?: number;
  readonly seconds?: number;
  readonly seed: number;
};

export const usage = `orlop-bench [--only SCENARIO] [--peer NAME] [--json] [--pairs N] [--seconds S] [--seed N] [--compare FILE]
  --only     one scenario (--list shows them all); without it the whole plan runs and writes bench/results/
  --peer     against this peer instead of the scenario's own
  --json     print JSON instead of a table
  --pairs    measurements of each side (5; fewer, but at least 3, when --only would exceed its 45 seconds)
  --seconds  measured window of one measurement (0.8)
  --seed     0…; odd numbers let the peer begin (0)
  --compare  exit with 1 when a ratio is worse than in FILE by more than the noise of both
`;

/** @throws UsageError */
export function readOptions(args: readonly string[]): Options {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        only: { type: "string" },
        peer: { type: "string" },
        json: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        compare: { type: "string" },
        pairs: { type: "string" },
        seconds: { type: "string" },
        seed: { type: "string", default: "0" },
      },
    }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : undefined;
  };
  const number = (name: string, least: number, most: number): number | undefined => {
    const written = text(name);
    if (written === undefined) return undefined;
    const value = Number(written);
    if (!(value >= least && value <= most)) throw new UsageError(`--${name} takes ${least} to ${most}`);
    return value;
  };
  const [only, peer, compare] = [text("only"), text("peer"), text("compare")];
  if (peer !== undefined && only === undefined) throw new UsageError("--peer goes with --only");
  const pairs = number("pairs", 3, 101);
  const seconds = number("seconds", 0.1, 60);
  return {
    ...(only === undefined ? {} : { only }),
    ...(peer === undefined ? {} : { peer }),
    ...(compare === undefined ? {} : { compare }),
    ...(pairs === undefined ? {} : { pairs: Math.floor(pairs) }),
    ...(seconds === undefined ? {} : { seconds }),
    json: values.json === true,
    list: values.list === true,
    seed: Math.floor(number("seed", 0, 2 ** 31) ?? 0),
  };
}
