// any thread · how many of a kind, requests or connections, are under way on all data threads together, in memory that they share. Each thread
// counts in a place of its own, so that what a thread had under way is taken back when it has ended.
import { type Cell, type CellShape, KeyedCells } from "./keyed-cells.ts";

/** Kinds at once: 256 sets of 16. Memory that nobody has touched costs none. */
const SETS = 256;

/**
 * What a cell counts of each thread. "taken": what is under way. "awaited": beside that, connections that wait to be, and requests that wait for
 * a connection or a stream; engines count all three (native/engine/origin/connection_places.h, which has the same layout).
 */
export type CountedOfThreads = "taken" | "awaited";

export class UnderWayCells {
  readonly #cells: KeyedCells;
  /** The same memory, as halves of words. */
  readonly #counts: Int32Array<SharedArrayBuffer>;
  readonly #shape: CellShape;
  readonly #threads: number;
  readonly #counted: CountedOfThreads;

  constructor(buffer: SharedArrayBuffer, threads: number, counted: CountedOfThreads = "taken") {
    this.#shape = shapeFor(threads, counted);
    this.#threads = threads;
    this.#counted = counted;
    this.#cells = new KeyedCells(buffer, this.#shape);
    this.#counts = new Int32Array(buffer);
  }

  static buffer(threads: number, counted: CountedOfThreads = "taken"): SharedArrayBuffer {
    return KeyedCells.buffer(shapeFor(threads, counted));
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
    const at = this.#cells.claim(key, (cell) => this.#isFree(cell)) ?? this.#overflow;
    const own = this.#place(at, thread);
    Atomics.add(this.#counts, own, 1);
    if (this.#sum(at, 0) <= most) return at;
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
    return at === undefined ? 0 : this.#sum(at, 0);
  }

  /** How many requests wait, of all threads. Of "taken" nobody counts them: 0. */
  waiting(key: bigint): number {
    const at = this.#cells.find(key);
    return at === undefined || this.#counted === "taken" ? 0 : this.#sum(at, 2 * this.#threads);
  }

  /** One more was refused, because as many as may be are under way. */
  refused(): void {
    Atomics.add(this.#cells.words, this.#refused, 1n);
  }

  /** How many were, on all threads. */
  get refusals(): number {
    return Number(Atomics.load(this.#cells.words, this.#refused));
  }

  /** The thread has ended: nothing of it is under way, and nothing waits. */
  ended(thread: number): void {
    for (let at = this.#overflow; at < this.#refused; at += this.#shape.words) this.#clear(at, thread);
    for (let at = this.#refused + 1; at < this.#cells.words.length; at += this.#shape.words) this.#clear(at, thread);
  }

  #clear(at: Cell, thread: number): void {
    for (const offset of this.#offsets) Atomics.store(this.#counts, this.#place(at, offset + thread), 0);
  }

  get #offsets(): readonly number[] {
    return this.#counted === "taken" ? [0] : [0, this.#threads, 2 * this.#threads];
  }

  #isFree(at: Cell): boolean {
    return this.#offsets.every((offset) => this.#sum(at, offset) === 0);
  }

  /** Laid out as a cell is, before the others. */
  get #overflow(): Cell {
    return this.#cells.header;
  }

  /** A word behind it. */
  get #refused(): number {
    return this.#cells.header + this.#shape.words;
  }

  #place(at: Cell, nth: number): number {
    return 2 * (at + 1) + nth;
  }

  #sum(at: Cell, offset: number): number {
    let sum = 0;
    for (let thread = 0; thread < this.#threads; thread += 1)
      sum += Atomics.load(this.#counts, this.#place(at, offset + thread));
    return sum;
  }
}

/** Two counts lie in a word, behind the word of the key. */
function shapeFor(threads: number, counted: CountedOfThreads): CellShape {
  const counts = counted === "taken" ? threads : 3 * threads;
  const words = 1 + Math.ceil(counts / 2);
  return { sets: SETS, words, header: words + 1 };
}
