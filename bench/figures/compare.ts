// bench · a run against an older run: a regression is a ratio that got worse by more than the noise of both. Pure.
import type { Results, Row } from "./results.ts";

/** Even disjoint ranges say nothing below this share of the old ratio. */
const LEAST_CHANGE = 0.05;

export type Regression = { readonly scenario: string; readonly peerName: string; readonly text: string };

/** Rows of the old run that are worse now, or that could not be measured any more. */
export function regressions(old: Results, now: Results): Regression[] {
  const found: Regression[] = [];
  for (const before of old.rows) {
    const { scenario, peerName } = before;
    const same = ({ scenario: name, peerName: peer }: { scenario: string; peerName: string }): boolean =>
      name === scenario && peer === peerName;
    const failure = now.failures.find(same);
    if (failure !== undefined)
      found.push({ scenario, peerName, text: `measured before, failed now: ${failure.failed}` });
    const after = now.rows.find(same);
    if (after !== undefined && isWorse(before, after)) {
      found.push({ scenario, peerName, text: `${rangeText(before)} before, ${rangeText(after)} now` });
    }
  }
  return found;
}

/** The ranges must not touch, and the medians must lie further apart than both scatter: a wide range tells less. */
function isWorse(before: Row, after: Row): boolean {
  const loss = before.better === "more" ? before.ratio - after.ratio : after.ratio - before.ratio;
  const apart = before.better === "more" ? after.max < before.min : after.min > before.max;
  const scatter = (before.max - before.min + after.max - after.min) / 2;
  return apart && loss > Math.max(LEAST_CHANGE * Math.abs(before.ratio), scatter);
}

export const rangeText = ({ ratio, min, max }: Row): string => `${ratio} (${min}–${max})`;

/** @throws when the text is no results file. */
export function readResults(text: string, name: string): Results {
  const read: unknown = JSON.parse(text);
  if (typeof read !== "object" || read === null || !("rows" in read) || !Array.isArray(read.rows)) {
    throw new Error(`${name} is no results file: it has no rows`);
  }
  return read as Results;
}
