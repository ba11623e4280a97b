// any thread · how many requests of a kind are under way on all data threads together, in memory that they share. Each thread counts in a place of
// its own, so that what a thread had under way is taken back when it has ended.
import { type Cell, type CellShape, KeyedCells } from "./keyed-cells.ts";

/** Kinds at once: 64 sets of 16. */
const SETS = 64;
/** Two threads count in a word. */
const wordsFor = (threads: number): number => Math.ceil(threads / 2);

export class UnderWayCells {
  readonly #cells: KeyedCells;
  /** The same memory, as halves of words. */
  readonly #counts: Int32Array<SharedArrayBuffer>;
  readonly #shape: CellShape;
  readonly #threads: number;

  constructor(buffer: SharedArrayBuffer, threads: number) {
    this.#shape = shapeFor(threads);
    this.#threads = threads;
    this.#cells = new KeyedCells(buffer, this.#shape);
    this.#counts = new Int32Array(buffer);
  }

  static buffer(threads: number): SharedArrayBuffer {
    return KeyedCells.buffer(shapeFor(threads));
  }

  keyOf(text: string): bigint {
    return this.#cells.keyOf(text);
  }

  /**
   * One more of `key` on this thread. undefined: with it there would be more than `most`; never do more than these count as under way. A key for
   * which there is no cell shares one with all such keys, at its own `most`. A cell that another thread takes for another key in the
   * same instant counts a request for that key, until the request ends.
   */
  take(key: bigint, thread: number, most: number): Cell | undefined {
    const at = this.#cells.claim(key, (cell) => this.#sum(cell) === 0) ?? this.#overflow;
    const own = this.#place(at, thread);
    Atomics.add(this.#counts, own, 1);
    if (this.#sum(at) <= most) return at;
    Atomics.sub(this.#counts, own, 1);
    return undefined;
  }

  /** Once for each `take`, by the same thread. */
  release(at: Cell, thread: number): void {
    Atomics.sub(this.#counts, this.#place(at, thread), 1);
  }

  /** Of all threads. */
  underWay(key: bigint): number {
    const at = this.#cells.find(key);
    return at === undefined ? 0 : this.#sum(at);
  }

  /** The thread has ended: nothing of it is under way. */
  ended(thread: number): void {
    for (let at = this.#overflow; at < this.#cells.words.length; at += this.#shape.words)
      Atomics.store(this.#counts, this.#place(at, thread), 0);
  }

  /** Laid out as a cell is, before the others. */
  get #overflow(): Cell {
    return this.#cells.header;
  }

  #place(at: Cell, thread: number): number {
    return 2 * (at + 1) + thread;
  }

  #sum(at: Cell): number {
    let sum = 0;
    for (let thread = 0; thread < this.#threads; thread += 1)
      sum += Atomics.load(this.#counts, this.#place(at, thread));
    return sum;
  }
}

function shapeFor(threads: number): CellShape {
  const words = 1 + wordsFor(threads);
  return { sets: SETS, words, header: words };
}
