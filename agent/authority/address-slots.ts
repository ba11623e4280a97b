// any thread · how much each address holds open at once, so that a single address cannot take what all of them share.

export class AddressSlots {
  readonly #most: number;
  /** By address; an address that holds nothing has no entry. */
  readonly #held = new Map<string, number>();

  /** @param most slots of each address */
  constructor(most: number) {
    this.#most = most;
  }

  /** Takes a slot of `address`; false: it holds as many as it may. */
  take(address: string): boolean {
    const held = this.#held.get(address) ?? 0;
    if (held >= this.#most) return false;
    this.#held.set(address, held + 1);
    return true;
  }

  /** Gives back a slot that `take` gave. */
  give(address: string): void {
    const left = (this.#held.get(address) ?? 1) - 1;
    if (left > 0) this.#held.set(address, left);
    else this.#held.delete(address);
  }
}
