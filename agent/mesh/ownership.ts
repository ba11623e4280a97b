// any thread · values several objects may claim at once (an address, a host name), with a lawful order among the claimants.

/**
 * One claimant is the rule and costs no list. The order is total and independent of arrival, so that every node that
 * knows the same objects resolves alike.
 */
export class Claims<T> {
  readonly #byClaim = new Map<string, T | T[]>();
  readonly #precedes: (a: T, b: T) => boolean;
  #shared = 0;

  /** T must not be an array itself. */
  constructor(precedes: (a: T, b: T) => boolean) {
    this.#precedes = precedes;
  }

  add(claim: string, claimant: T): void {
    const held = this.#byClaim.get(claim);
    if (held === undefined) {
      this.#byClaim.set(claim, claimant);
      return;
    }
    const list = Array.isArray(held) ? held : [held];
    if (list.length === 1) this.#shared += 1;
    const at = list.findIndex((other) => this.#precedes(claimant, other));
    this.#byClaim.set(claim, at < 0 ? [...list, claimant] : list.toSpliced(at, 0, claimant));
  }

  /** By identity of the value: the very object that was added. */
  remove(claim: string, claimant: T): void {
    const held = this.#byClaim.get(claim);
    if (held === claimant) this.#byClaim.delete(claim);
    if (!Array.isArray(held)) return;
    const [first, ...rest] = held.filter((other) => other !== claimant);
    if (first === undefined) this.#byClaim.delete(claim);
    else this.#byClaim.set(claim, rest.length === 0 ? first : [first, ...rest]);
    if (held.length === 2 && rest.length === 0) this.#shared -= 1;
  }

  /** How many claims have several claimants. */
  get shared(): number {
    return this.#shared;
  }

  /** The only claimant, or what `choose` takes of several, which it gets in their order. */
  chosen(claim: string, choose: (claimants: readonly T[]) => T | undefined): T | undefined {
    const held = this.#byClaim.get(claim);
    return Array.isArray(held) ? choose(held) : held;
  }

  first(claim: string): T | undefined {
    const held = this.#byClaim.get(claim);
    return Array.isArray(held) ? held[0] : held;
  }

  /** In their order. */
  all(claim: string): readonly T[] {
    const held = this.#byClaim.get(claim);
    return Array.isArray(held) ? held : held === undefined ? [] : [held];
  }

  /** Claims with several claimants, which are in their order. */
  *disputes(): Generator<readonly [claim: string, claimants: readonly T[]]> {
    if (this.#shared === 0) return;
    for (const [claim, held] of this.#byClaim) if (Array.isArray(held) && held.length > 1) yield [claim, held];
  }

  /** Every claimant, once for each of its claims. */
  *values(): Generator<T> {
    for (const held of this.#byClaim.values()) {
      if (Array.isArray(held)) yield* held;
      else yield held;
    }
  }

  /** The first that `prefers` likes, else the first. */
  preferred(claim: string, prefers: (claimant: T) => boolean): T | undefined {
    const held = this.#byClaim.get(claim);
    return Array.isArray(held) ? (held.find(prefers) ?? held[0]) : held;
  }
}
