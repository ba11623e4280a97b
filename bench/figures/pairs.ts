// bench · A B B A: two contestants measured in turns, so that a drift of the machine meets both alike.

import type { Row } from "./results.ts";
import { medianOf, type Pair, ratioOf, rounded } from "./statistics.ts";

/** All figures of one measurement, by name. */
export type Figures = Readonly<Record<string, number>>;
export type Contestant = {
  readonly name: string;
  /** One measurement, warm-up included. Throws when it cannot be had or when a byte was wrong. */
  measure(): Promise<Figures>;
};

export type PairsPlan = {
  readonly pairs: number;
  /** Even: ours begins; odd: the peer. */
  readonly seed: number;
  /** No further pair is begun that would end after this time (performance.now(), milliseconds); three always are. */
  readonly deadline: number;
};
export type FigurePairs = readonly { readonly ours: Figures; readonly peer: Figures }[];

const FEWEST_PAIRS = 3;

export async function measurePairs(ours: Contestant, peer: Contestant, plan: PairsPlan): Promise<FigurePairs> {
  const pairs: { ours: Figures; peer: Figures }[] = [];
  const began = performance.now();
  while (pairs.length < plan.pairs) {
    const perPair = (performance.now() - began) / Math.max(1, pairs.length);
    if (pairs.length >= FEWEST_PAIRS && performance.now() + perPair > plan.deadline) break;
    if ((pairs.length + plan.seed) % 2 === 0) {
      const first = await ours.measure();
      pairs.push({ ours: first, peer: await peer.measure() });
    } else {
      const first = await peer.measure();
      pairs.push({ ours: await ours.measure(), peer: first });
    }
  }
  return pairs;
}

export type RowAbout = Omit<Row, "ours" | "peer" | "ratio" | "min" | "max" | "pairs" | "also" | "limits"> & {
  readonly limits?: Readonly<Record<string, number>>;
};

/** The row of one figure; all others that both sides have stand beside it. @throws when a side lacks the figure. */
export function rowOf(pairs: FigurePairs, wanted: string, { limits, ...about }: RowAbout): Row {
  const main = ratioOf(pairs.map((pair) => pick(pair, wanted)));
  const first = pairs[0];
  const also: Record<string, { ours: number; peer: number; ratio: number }> = {};
  for (const name of Object.keys(first?.ours ?? {})) {
    if (name === wanted || first?.peer[name] === undefined) continue;
    const both = pairs.map((pair) => pick(pair, name));
    const ratio = medianOf(both.map((pair) => pair.ours / pair.peer));
    also[name] = {
      ours: rounded(medianOf(both.map((pair) => pair.ours))),
      peer: rounded(medianOf(both.map((pair) => pair.peer))),
      // A side without processes of its own uses no CPU: there is no ratio to it.
      ratio: Number.isFinite(ratio) ? rounded(ratio) : 0,
    };
  }
  const { ours, peer, ratio, min, max, pairs: count } = main;
  const oursOf = (key: string): number => rounded(medianOf(pairs.map((pair) => pick(pair, key).ours)));
  return {
    ...about,
    ...{ ours: rounded(ours), peer: rounded(peer), ratio: rounded(ratio), min: rounded(min), max: rounded(max) },
    pairs: count,
    ...(limits && { limits: Object.entries(limits).map(([key, atMost]) => ({ key, atMost, ours: oursOf(key) })) }),
    also,
  };
}

function pick(pair: { readonly ours: Figures; readonly peer: Figures }, name: string): Pair {
  const ours = pair.ours[name];
  const peer = pair.peer[name];
  if (ours === undefined || peer === undefined) throw new Error(`one side has no figure "${name}"`);
  return { ours, peer };
}
