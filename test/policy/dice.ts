// Random choices that can be repeated from a seed.
import type { StringMatch } from "../../agent/mesh/policies.ts";

/** mulberry32: enough for choosing test cases, and a run can be repeated from its seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, below). */
  roll(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.roll(from.length)];
    if (picked === undefined) throw new RangeError("nothing to pick from");
    return picked;
  }

  /** Up to `most` values; empty in all but `percent` of cases. */
  some<T>(percent: number, most: number, make: () => T): T[] {
    return this.chance(percent) ? Array.from({ length: 1 + this.roll(most) }, make) : [];
  }
}

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
