// any thread · records of open connections in the order in which they were opened: to add and to remove one costs two references and no
// table, however many there are.

/** A member of one list; the list alone writes these. */
export type Listed<T> = { earlier: T | null; later: T | null };

export class OpenList<T extends Listed<T>> {
  #first: T | null = null;
  #last: T | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** As the latest. It must be in no list. */
  add(member: T): void {
    member.earlier = this.#last;
    if (this.#last === null) this.#first = member;
    else this.#last.later = member;
    this.#last = member;
    this.#size += 1;
  }

  /** It must be in this list. */
  remove(member: T): void {
    const { earlier, later } = member;
    if (earlier === null) this.#first = later;
    else earlier.later = later;
    if (later === null) this.#last = earlier;
    else later.earlier = earlier;
    member.earlier = null;
    member.later = null;
    this.#size -= 1;
  }

  /** The earliest first. The list must not change meanwhile. */
  *[Symbol.iterator](): Generator<T> {
    for (let member = this.#first; member !== null; member = member.later) yield member;
  }
}
