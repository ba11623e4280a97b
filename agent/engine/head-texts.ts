// 6 · data thread · words of requests out of the arena: those that were read lately are texts already, and are found by their bytes.
import { HeadWords } from "../mesh/head-words.ts";

/** Places, of which each has the words that came to it last; a power of two. */
const PLACES = 128;
/** Longer words are made anew each time. */
const LONGEST = 256;
/** Bytes that say at which place words may be, evenly from all of them. */
const SAMPLED = 8;

type WordsPlace = {
  readonly words: HeadWords;
  readonly target: number;
  readonly authority: number;
  readonly length: number;
};

export class HeadTexts {
  readonly #bytes: Buffer;
  readonly #places: (WordsPlace | null)[] = Array.from({ length: PLACES }, () => null);
  /** The words of each place. */
  readonly #kept = new Uint8Array(PLACES * LONGEST);

  /** @param bytes the arena's */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /**
   * Method, target and authority, which lie behind each other as Latin-1 from `from` on.
   * @param target where the target begins, `authority` where the authority does, and `length` where it ends, all from `from`
   */
  read(from: number, target: number, authority: number, length: number): HeadWords {
    if (length > LONGEST) return this.#made(from, target, authority, length);
    const at = this.#placeOf(from, length);
    const known = this.#places[at];
    if (
      known?.length === length &&
      known.target === target &&
      known.authority === authority &&
      this.#isKept(at * LONGEST, from, length)
    ) {
      known.words.isRepeated = true;
      return known.words;
    }
    const words = this.#made(from, target, authority, length);
    this.#places[at] = { words, target, authority, length };
    for (let index = 0; index < length; index += 1) this.#kept[at * LONGEST + index] = this.#bytes[from + index] ?? 0;
    return words;
  }

  #placeOf(from: number, length: number): number {
    let hash = length;
    for (let nth = 1; nth <= SAMPLED; nth += 1)
      hash = (Math.imul(hash, 31) + (this.#bytes[from + (((length - 1) * nth) >> 3)] ?? 0)) | 0;
    return (hash ^ (hash >>> 7)) & (PLACES - 1);
  }

  #isKept(kept: number, from: number, length: number): boolean {
    for (let index = 0; index < length; index += 1)
      if (this.#kept[kept + index] !== this.#bytes[from + index]) return false;
    return true;
  }

  /** One copy out of the arena serves for all three. */
  #made(from: number, target: number, authority: number, length: number): HeadWords {
    const text = this.#bytes.toString("latin1", from, from + length);
    return new HeadWords({
      method: text.slice(0, target),
      target: text.slice(target, authority),
      authority: text.slice(authority),
    });
  }
}
