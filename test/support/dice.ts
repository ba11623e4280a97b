// test support · random choices that can be repeated from a seed.

/** mulberry32: enough for choosing test cases. Each call gives the next 32 bits, as a number without a sign. */
export function seededBits(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** In place of Math.random: uniform in [0, 1). */
export function seeded(seed: number): () => number {
  const bits = seededBits(seed);
  return () => bits() / 2 ** 32;
}

export class Dice {
  readonly #bits: () => number;

  constructor(seed: number) {
    this.#bits = seededBits(seed);
  }

  /** Uniform in [0, below). */
  roll(below: number): number {
    return this.#bits() % below;
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
