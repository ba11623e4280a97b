// 7, 10 · data thread · what an HBONE tunnel must find at its far end: sets of identities, interned to integers.

/** Most sets remembered; the set that is longest unused goes first. A set lives on in the engine's key of its tunnels. */
const MAX_SETS = 65_536;

/** Equal sets have equal integers while remembered, so that the engine may compare tunnels by them. */
export class ExpectedPeers {
  readonly #byKey = new Map<string, number>();
  readonly #byInteger = new Map<number, ReadonlySet<string>>();
  readonly #limit: number;
  #next = 1;

  constructor(limit: number = MAX_SETS) {
    this.#limit = limit;
  }

  /** The integer of this set of SPIFFE IDs; order and repetition do not matter. */
  intern(identities: readonly string[]): number {
    const set = new Set(identities);
    const key = [...set].sort().join("\n");
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      // Moved to the end: a dial in flight belongs to a set used a moment ago, which is never the oldest.
      this.#byKey.delete(key);
      this.#byKey.set(key, known);
      return known;
    }
    for (const [oldest, integer] of this.#byKey) {
      if (this.#byKey.size < this.#limit) break;
      this.#byKey.delete(oldest);
      this.#byInteger.delete(integer);
    }
    const integer = this.#next;
    this.#next += 1;
    this.#byKey.set(key, integer);
    this.#byInteger.set(integer, set);
    return integer;
  }

  /** Is `identity` (canonical text) in the set? A forgotten or unknown set admits nobody. */
  admits(expect: number, identity: string): boolean {
    return this.#byInteger.get(expect)?.has(identity) ?? false;
  }
}
