// test cluster · prints how soon pods began, and what the mesh has added to their starts, beside its aim.
import { loadavg } from "node:os";
import { type Dawn, type Pace, quantiles } from "./dawns.ts";
import { addedAt, isMet, placebo, type StartPair } from "./start-cost.ts";

/** What the plug-in may add to the start of a pod, ms: p99. Printed beside what it has added. */
const BAR_MS = 50;

/** How soon pods began and were answered. */
export function say(what: string, all: readonly Dawn[]): void {
  const [starts, answers] = [all.map(({ startMs }) => startMs), all.map(({ answerMs }) => answerMs)];
  console.log(
    `${what}: from its creation to a pod's first instruction ${quantiles(starts)}; to its first answer ${quantiles(answers)}`,
  );
}

/** Both of a pair begin one right after the other, and each of them first as often as the other. */
export function sayAdded(pairs: readonly StartPair[], pace: Pace): void {
  const [p50, p99, none] = [addedAt(pairs, 0.5), addedAt(pairs, 0.99), addedAt(placebo(pairs), 0.99)];
  const said = ({ ms, low, high }: typeof p50): string => `${ms} ms (95 %: ${low} to ${high})`;
  console.log(
    `added to a pod's start, by ${pairs.length} pairs, ${pace.atOnce} pods at once: p50 ${said(p50)}, p99 ${said(p99)}`,
  );
  console.log(`  the aim of ${BAR_MS} ms at p99 is ${isMet(p99, BAR_MS)}; load ${loadavg()[0]?.toFixed(1)}`);
  console.log(
    `  the same between pods that are both outside of the mesh, which says what the machine does to it: p99 ${said(none)}`,
  );
}
