// 7, 10 · data thread · what an HBONE tunnel must find at its far end: sets of identities, interned to integers.

/** Most sets remembered; the set that is longest unused goes first. A set lives on in the engine's key of its tunnels. */
const MAX_SETS = 65_536;

/** Equal sets have equal integers while remembered, so that the engine may compare tunnels by them. */
export class ExpectedPeers {
  readonly #byKey = new Map<string, number>();
  readonly #byInteger = new Map<number, ReadonlySet<string>>();
  readonly #limit: number;
  #next = 1;
  /** The set of the last call. Most connections go where the connection before them went. */
  #last: { readonly key: string; readonly integer: number } | undefined;

  constructor(limit: number = MAX_SETS) {
    this.#limit = limit;
  }

  /** The integer of this set of SPIFFE IDs; order and repetition do not matter. */
  intern(identities: readonly string[]): number {
    const [only] = identities;
    const key = only !== undefined && identities.length === 1 ? only : [...new Set(identities)].sort().join("\n");
    if (this.#last?.key === key) return this.#last.integer;
    const integer = this.#moveToEnd(key) ?? this.#remember(key, new Set(identities));
    this.#last = { key, integer };
    return integer;
  }

  /** A dial in flight belongs to a set used a moment ago, which is never the oldest. */
  #moveToEnd(key: string): number | undefined {
    const known = this.#byKey.get(key);
    if (known === undefined) return undefined;
    this.#byKey.delete(key);
    this.#byKey.set(key, known);
    return known;
  }

  #remember(key: string, set: ReadonlySet<string>): number {
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

  /** False: the set was forgotten, and what would be dialled with its integer finds nobody acceptable. */
  knows(expect: number): boolean {
    return this.#byInteger.has(expect);
  }

  /** Is `identity` (canonical text) in the set? A forgotten or unknown set admits nobody. */
  admits(expect: number, identity: string): boolean {
    return this.#byInteger.get(expect)?.has(identity) ?? false;
  }
}
