// any thread · how many requests of an interval endpoints have served, in memory that all data threads share: a sweep counts what all of them have
// seen. No lock: each change is a single step on a single word.
import type { SeenRate } from "../plan/success-rate.ts";
import { type Cell, type CellShape, cellsOf, KeyedCells } from "./keyed-cells.ts";

/** Behind the key lie two words, for this interval and the last; the parity of an interval's number says which of them is its own. */
const SHAPE: CellShape = { sets: 256, words: 3, header: 0 };
/** Endpoints, each of a caller and a rule, and callers and rules themselves: they share the room. */
export const MOST_RATES = cellsOf(SHAPE);

/** 63 bits, from the top: when the interval began, in units of 100 ms, 27; requests 18; served 18. */
const UNIT_MS = 100;
const COUNT_BITS = 18n;
const MOST_COUNT = (1n << COUNT_BITS) - 1n;
const BEGAN_MASK = (1 << 27) - 1;
/** Ten minutes, longer than two intervals. What has not been changed for so long is free. */
const FORGOTTEN = 6_000;

export class RateCells {
  readonly #cells: KeyedCells;
  readonly #words: BigInt64Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer) {
    this.#cells = new KeyedCells(buffer, SHAPE);
    this.#words = this.#cells.words;
  }

  static buffer(): SharedArrayBuffer {
    return KeyedCells.buffer(SHAPE);
  }

  keyOf(text: string): bigint {
    return this.#cells.keyOf(text);
  }

  /** Counts a request that has ended. An interval counts 262,143 requests at most. @returns false: there is no room for its endpoint, and it is not counted */
  add(key: bigint, isServed: boolean, nowMs: number, intervalMs: number): boolean {
    const at = this.#claim(key, nowMs);
    if (at === undefined) return false;
    const nth = Math.floor(nowMs / intervalMs);
    const place = placeOf(at, nth);
    const began = beganAt(nth, intervalMs);
    const one = (1n << COUNT_BITS) | (isServed ? 1n : 0n);
    for (;;) {
      const word = Atomics.load(this.#words, place);
      const isSame = word !== 0n && began === beganOf(word);
      if (isSame && totalOf(word) === MOST_COUNT) return true;
      if (word !== 0n && isLater(beganOf(word), began)) return true;
      const next = isSame ? word + one : wordOf(began) | one;
      if (Atomics.compareExchange(this.#words, place, word, next) === word) return true;
    }
  }

  /** Of the last interval that is over; null: there was no request. */
  before(key: bigint, nowMs: number, intervalMs: number): SeenRate | null {
    const at = this.#cells.find(key);
    if (at === undefined) return null;
    const nth = Math.floor(nowMs / intervalMs) - 1;
    const word = Atomics.load(this.#words, placeOf(at, nth));
    if (word === 0n || beganOf(word) !== beganAt(nth, intervalMs)) return null;
    return { total: Number(totalOf(word)), served: Number(word & MOST_COUNT) };
  }

  /** Once in each interval, over all threads: the caller that gets "mine" sweeps. "full": there is no room for its key, and nobody sweeps. */
  takeSweep(key: bigint, nowMs: number, intervalMs: number): "mine" | "taken" | "full" {
    const at = this.#claim(key, nowMs);
    if (at === undefined) return "full";
    const began = beganAt(Math.floor(nowMs / intervalMs), intervalMs);
    const word = Atomics.load(this.#words, at + 1);
    if (word !== 0n && (beganOf(word) === began || isLater(beganOf(word), began))) return "taken";
    // The lowest bit is set, since the interval at the clock's 0 would otherwise be 0, which means an empty word.
    return Atomics.compareExchange(this.#words, at + 1, word, wordOf(began) | 1n) === word ? "mine" : "taken";
  }

  #claim(key: bigint, nowMs: number): Cell | undefined {
    const now = Math.floor(nowMs / UNIT_MS) & BEGAN_MASK;
    const isOld = (word: bigint): boolean => word === 0n || ((now - beganOf(word)) & BEGAN_MASK) > FORGOTTEN;
    const isFree = (at: Cell): boolean =>
      isOld(Atomics.load(this.#words, at + 1)) && isOld(Atomics.load(this.#words, at + 2));
    return this.#cells.claim(key, isFree);
  }
}

/** Two intervals that follow each other have a word each. */
const placeOf = (at: Cell, nth: number): Cell => at + 1 + (nth & 1);
const beganAt = (nth: number, intervalMs: number): number => Math.floor((nth * intervalMs) / UNIT_MS) & BEGAN_MASK;
/** Whether the word's interval is later than this thread's: another thread has begun it while this thread was held up. */
const isLater = (known: number, own: number): boolean => known !== own && ((known - own) & BEGAN_MASK) < BEGAN_MASK / 2;
const wordOf = (began: number): bigint => BigInt(began) << (2n * COUNT_BITS);
const beganOf = (word: bigint): number => Number(word >> (2n * COUNT_BITS));
const totalOf = (word: bigint): bigint => (word >> COUNT_BITS) & MOST_COUNT;
