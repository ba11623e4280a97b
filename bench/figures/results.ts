// bench · what a run says: one row per question, and the terms under which it was measured. Plain data.
import type { Ratio } from "./statistics.ts";

/** Whether more or less of the figure is better. */
export type Better = "more" | "less";
/** What the ratio should be. */
export type Target = { readonly atLeast: number } | { readonly atMost: number };

export type Limit = { readonly key: string; readonly atMost: number; readonly ours: number };

export type Row = Ratio & {
  readonly scenario: string;
  readonly figure: string;
  readonly unit: string;
  readonly peerName: string;
  readonly better: Better;
  readonly target?: Target;
  /** What Orlop's own figures should be at most. */
  readonly limits?: readonly Limit[];
  /** Further figures of the same runs, medians: name → both sides and their ratio. */
  readonly also: Readonly<Record<string, { readonly ours: number; readonly peer: number; readonly ratio: number }>>;
};
/** A row that could not be measured: the run has failed, and says why. */
export type Failure = { readonly scenario: string; readonly peerName: string; readonly failed: string };

export type Terms = {
  /** RFC 3339. */
  readonly date: string;
  readonly seed: number;
  readonly windowSeconds: number;
  readonly warmupSeconds: number;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly versions: Readonly<Record<string, string>>;
};

export type Results = {
  readonly terms: Terms;
  readonly rows: readonly Row[];
  readonly failures: readonly Failure[];
};

export const limitText = ({ key, atMost, ours }: Limit): string =>
  `${key} ${ours} ≤ ${atMost}: ${ours <= atMost ? "met" : "missed"}`;

export const targetText = (target: Target): string =>
  "atLeast" in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`;

export const met = ({ ratio }: { readonly ratio: number }, target: Target): boolean =>
  "atLeast" in target ? ratio >= target.atLeast : ratio <= target.atMost;
