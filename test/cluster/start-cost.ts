// test cluster · what the mesh adds to the start of a pod, from pairs of starts that follow each other, with the error of that figure. Pure.
import { Dice } from "../support/dice.ts";

/** Times of two pods that were started one right after the other, ms. */
export type StartPair = { readonly inMesh: number; readonly outside: number };

/** Milliseconds. With a probability of 95 % the figure of endlessly many starts lies between `low` and `high`. */
export type Added = { readonly ms: number; readonly low: number; readonly high: number };

const DRAWS = 2_000;
const TAIL = 0.025;

/** The least of the values that at least this part of them does not exceed (nearest rank): of a hundred values and 0.99 the second largest. */
export function rankOf(values: readonly number[], part: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

/**
 * How much later that part of the pods in the mesh begin than the same part of those outside. Whole pairs are drawn anew for the error
 * (bootstrap, percentiles), so that what slows both of a pair counts for neither.
 */
export function addedAt(pairs: readonly StartPair[], part: number, seed = 1): Added {
  const difference = (of: readonly StartPair[]): number =>
    rankOf(
      of.map(({ inMesh }) => inMesh),
      part,
    ) -
    rankOf(
      of.map(({ outside }) => outside),
      part,
    );
  const dice = new Dice(seed);
  const drawn = Array.from({ length: DRAWS }, () => difference(pairs.map(() => dice.pick(pairs))));
  return { ms: difference(pairs), low: rankOf(drawn, TAIL), high: rankOf(drawn, 1 - TAIL) };
}

/** Of pairs of which neither is in the mesh: what the same starts differ by from each other. */
export const placebo = (pairs: readonly StartPair[]): readonly StartPair[] =>
  pairs.flatMap(({ outside }, at) => {
    const next = pairs[at + 1];
    return at % 2 === 0 && next !== undefined ? [{ inMesh: outside, outside: next.outside }] : [];
  });

export const isMet = ({ low, high }: Added, barMs: number): "met" | "missed" | "undecided" =>
  high <= barMs ? "met" : low > barMs ? "missed" : "undecided";
