// any thread · requests and retries of the last ten seconds on all data threads together, in memory that they share. Each count is a step on one
// word, so that a thread that ends leaves nothing wrong behind.
import { type Cell, type CellShape, KeyedCells } from "./keyed-cells.ts";

/** Seconds that count. */
export const SECONDS = 10;
const SHAPE: CellShape = { sets: 256, words: 1 + SECONDS, header: 0 };
/** A word is a second: its number, requests and retries. */
const COUNT_BITS = 20n;
const COUNT = (1n << COUNT_BITS) - 1n;
const RETRY = 1n;
const REQUEST = 1n << COUNT_BITS;
const SECOND_AT = 2n * COUNT_BITS;

export type RetryWindow = { readonly requests: number; readonly retries: number };

export class RetryCells {
  readonly #cells: KeyedCells;

  constructor(buffer: SharedArrayBuffer) {
    this.#cells = new KeyedCells(buffer, SHAPE);
  }

  static buffer(): SharedArrayBuffer {
    return KeyedCells.buffer(SHAPE);
  }

  keyOf(text: string): bigint {
    return this.#cells.keyOf(text);
  }

  /** A request in this second. Where there is no room for its key, nothing is counted: then its retries have the floor alone. */
  requested(key: bigint, second: number): void {
    const at = this.#claim(key, second);
    if (at !== undefined) this.#add(at, second, REQUEST);
  }

  /**
   * Counts a retry, if with it there are no more than `mayBe` says of the window. Each thread counts its own before it looks: together they
   * are never more, and two that come at once may both be refused the last. Null: there is no room for the key, and nothing is counted.
   */
  take(key: bigint, second: number, mayBe: (window: RetryWindow) => boolean): boolean | null {
    const at = this.#claim(key, second);
    if (at === undefined) return null;
    this.#add(at, second, RETRY);
    if (mayBe(this.#window(at, second))) return true;
    this.#add(at, second, -RETRY);
    return false;
  }

  #claim(key: bigint, second: number): Cell | undefined {
    return this.#cells.claim(key, (at) => {
      const { requests, retries } = this.#window(at, second);
      return requests + retries === 0;
    });
  }

  #window(at: Cell, second: number): RetryWindow {
    let requests = 0;
    let retries = 0;
    for (let nth = 1; nth <= SECONDS; nth += 1) {
      const word = Atomics.load(this.#cells.words, at + nth);
      const age = second - Number(word >> SECOND_AT);
      if (age < 0 || age >= SECONDS) continue;
      requests += Number((word >> COUNT_BITS) & COUNT);
      retries += Number(word & COUNT);
    }
    return { requests, retries };
  }

  #add(at: Cell, second: number, what: bigint): void {
    const { words } = this.#cells;
    const place = at + 1 + (second % SECONDS);
    for (;;) {
      const word = Atomics.load(words, place);
      const held = Number(word >> SECOND_AT);
      // A thread whose second is over by now counts in the next.
      const now = held === second || (held > second && held - second < SECONDS) ? word : BigInt(second) << SECOND_AT;
      const count = what === REQUEST ? (now >> COUNT_BITS) & COUNT : now & COUNT;
      if (what > 0n ? count === COUNT : count === 0n) return;
      if (Atomics.compareExchange(words, place, word, now + what) === word) return;
    }
  }
}
