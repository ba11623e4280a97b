// Matches of strings as policies write them, drawn from a text that they may or may not match.
import type { StringMatch } from "../../agent/mesh/policies.ts";
import type { Dice } from "../support/dice.ts";

/** Exact, or cut anywhere, so that wildcards end inside a segment as often as at its border. */
export function randomMatch(dice: Dice, text: string): StringMatch {
  const cut = dice.roll(text.length + 1);
  const kind = dice.pick(["exact", "exact", "prefix", "suffix", "presence"] as const);
  if (kind === "presence") return { kind };
  if (kind === "exact") return { kind, value: text };
  // A lone star is presence, never an empty prefix.
  const value = kind === "prefix" ? text.slice(0, Math.max(1, cut)) : text.slice(Math.min(text.length - 1, cut));
  return { kind, value };
}
