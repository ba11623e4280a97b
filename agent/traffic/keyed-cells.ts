// any thread · cells that are found by a key, in memory that all data threads share. No lock: a cell is taken in a single step, and a thread that
// ends in the midst of a call leaves nothing locked. What a cell means, and when it is free, is for who uses it to say.
import { randomFillSync } from "node:crypto";
import { type SipKey, sipHash } from "../policy/sip-hash.ts";

/** Cells of a set, in which alone a key is looked for: who invents keys costs a look at so many words each time. */
const WAYS = 16;
/** Words of 64 bits before the cells: the key of the hash. */
const HEADER = 2;

export type CellShape = {
  /** A power of two. */
  readonly sets: number;
  /** Words of 64 bits for each cell, its key first. */
  readonly words: number;
  /** Words before the cells that are nobody's. */
  readonly header: number;
};

/** Place of a cell's key among the words. */
export type Cell = number;

export class KeyedCells {
  readonly words: BigInt64Array<SharedArrayBuffer>;
  readonly #shape: CellShape;
  readonly #sipKey: SipKey;

  constructor(buffer: SharedArrayBuffer, shape: CellShape) {
    this.words = new BigInt64Array(buffer);
    this.#shape = shape;
    const [a = 0, b = 0, c = 0, d = 0] = new Int32Array(buffer, 0, 4);
    this.#sipKey = [a, b, c, d];
  }

  /** The key of the hash is random: who calls cannot know which keys share a set. */
  static buffer({ sets, words, header }: CellShape): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(8 * (HEADER + header + sets * WAYS * words));
    randomFillSync(new Uint8Array(buffer, 0, 16));
    return buffer;
  }

  /** Place of the first of the words that are nobody's. */
  get header(): number {
    return HEADER;
  }

  /** The name of a cell, the same on all threads. */
  keyOf(text: string): bigint {
    const hash = sipHash(this.#sipKey, Buffer.from(text));
    // 0 is a cell that nobody has used.
    return hash === 0n ? 1n : hash;
  }

  /** undefined: the key has none. */
  find(key: bigint): Cell | undefined {
    const [first, end, step] = this.#setOf(key);
    for (let at = first; at < end; at += step) if (Atomics.load(this.words, at) === key) return at;
    return undefined;
  }

  /** The key's cell; else a cell of its set that nobody has used or that is free; undefined: there is none. */
  claim(key: bigint, isFree: (at: Cell) => boolean, claimed: () => void = () => undefined): Cell | undefined {
    const known = this.find(key);
    if (known !== undefined) return known;
    const [first, end, step] = this.#setOf(key);
    for (let at = first; at < end; at += step) {
      const held = Atomics.load(this.words, at);
      if (held !== 0n && !isFree(at)) continue;
      // Who loses it looks again: the other thread may have taken it for the same key.
      if (Atomics.compareExchange(this.words, at, held, key) !== held) return this.claim(key, isFree, claimed);
      claimed();
      return at;
    }
    return undefined;
  }

  #setOf(key: bigint): readonly [Cell, Cell, number] {
    const { sets, words, header } = this.#shape;
    const size = WAYS * words;
    const first = HEADER + header + size * Number(key & BigInt(sets - 1));
    return [first, first + size, words];
  }
}

export const cellsOf = ({ sets }: CellShape): number => sets * WAYS;
