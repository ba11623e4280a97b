// any thread · what is known of endpoints that fail, in memory that all data threads share: what a thread learns, all know, and a probe is
// taken by a single thread. No lock, and nothing in it belongs to a thread: each change is a single step on a single word.
import {
  blank,
  type EjectionPhase,
  type EjectionReason,
  type EjectionState,
  ejectionReasons,
  FORGOTTEN_MS,
} from "../plan/ejection.ts";
import { type Cell, type CellShape, cellsOf, KeyedCells } from "./keyed-cells.ts";

const SHAPE: CellShape = { sets: 256, words: 2, header: 14 };
/** Endpoints, each of a caller and a rule, that may have failed lately at once. */
export const MOST_CELLS = cellsOf(SHAPE);

/** Words of the header. Rises when a cell begins to belong to a key, and when an endpoint is left out, probed or back. */
const CLAIMS = 2;
const CHANGES = 3;
const COUNTERS = 4;
const ejectionCounters = [...ejectionReasons, "returned", "probes", "untracked"] as const;
type EjectionCounter = (typeof ejectionCounters)[number];

export type EjectionCounts = {
  readonly ejections: readonly { readonly reason: EjectionReason; readonly count: number }[];
  readonly probes: number;
  readonly returned: number;
  /** Failures that were not counted, since the cells were full. */
  readonly untracked: number;
};

/** The word behind a cell's key is its state. */
export class EjectionCells {
  readonly #cells: KeyedCells;
  readonly #words: BigInt64Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer) {
    this.#cells = new KeyedCells(buffer, SHAPE);
    this.#words = this.#cells.words;
  }

  static buffer(): SharedArrayBuffer {
    return KeyedCells.buffer(SHAPE);
  }

  /** The name of an endpoint, the same on all threads. */
  keyOf(text: string): bigint {
    return this.#cells.keyOf(text);
  }

  /** A number that rises when a key gets a cell: as long as it is the same, a key without a cell still has none. */
  get claims(): bigint {
    return Atomics.load(this.#words, CLAIMS);
  }

  /** A number that rises when an endpoint is left out, probed or brought back. */
  get changes(): bigint {
    return Atomics.load(this.#words, CHANGES);
  }

  /** What all threads together have seen. */
  get counts(): EjectionCounts {
    const count = (name: EjectionCounter): number =>
      Number(Atomics.load(this.#words, COUNTERS + ejectionCounters.indexOf(name)));
    const ejections = ejectionReasons.map((reason) => ({ reason, count: count(reason) }));
    return { ejections, probes: count("probes"), returned: count("returned"), untracked: count("untracked") };
  }

  /** The cell of the key; undefined: it has none. */
  find(key: bigint): Cell | undefined {
    return this.#cells.find(key);
  }

  /** What the cell says of the key; blank where it belongs to another by now, or says nothing any more. */
  read(at: Cell, key: bigint, nowMs: number): EjectionState {
    const word = Atomics.load(this.#words, at + 1);
    return Atomics.load(this.#words, at) === key ? current(word, nowMs) : blank;
  }

  /**
   * Changes what is known of the key in a single step; returns the state before and after. Null: the cells for this key all belong to
   * others, and nothing is kept. If another thread gives the cell to another key in the same instant, that key may get a failure that was not its own.
   */
  change(
    key: bigint,
    nowMs: number,
    next: (state: EjectionState) => EjectionState,
  ): { readonly before: EjectionState; readonly after: EjectionState } | null {
    for (;;) {
      const known = this.find(key);
      if (known === undefined && next(blank) === blank) return { before: blank, after: blank };
      const at = known ?? this.#claim(key, nowMs);
      if (at === undefined) {
        this.#count("untracked");
        return null;
      }
      const word = Atomics.load(this.#words, at + 1);
      const before = current(word, nowMs);
      const after = next(before);
      if (after === before) return { before, after };
      if (Atomics.compareExchange(this.#words, at + 1, word, encode(after)) !== word) continue;
      if (before.phase !== after.phase) this.#changed(after);
      return { before, after };
    }
  }

  /** From exactly this state; false: it is another by now. */
  changeFrom(key: bigint, from: EjectionState, to: EjectionState): boolean {
    const at = this.find(key);
    if (at === undefined) return false;
    const word = encode(from);
    if (Atomics.compareExchange(this.#words, at + 1, word, encode(to)) !== word) return false;
    this.#changed(to);
    return true;
  }

  /** Counts that a failure was not kept, because all cells for its key belong to others. */
  untracked(): void {
    this.#count("untracked");
  }

  #changed({ phase }: EjectionState): void {
    this.#count(phase === "in" ? "returned" : phase === "probed" ? "probes" : phase);
    Atomics.add(this.#words, CHANGES, 1n);
  }

  #count(name: EjectionCounter): void {
    Atomics.add(this.#words, COUNTERS + ejectionCounters.indexOf(name), 1n);
  }

  #claim(key: bigint, nowMs: number): Cell | undefined {
    const isFree = (at: Cell): boolean => !saysSomething(Atomics.load(this.#words, at + 1), nowMs);
    return this.#cells.claim(key, isFree, () => Atomics.add(this.#words, CLAIMS, 1n));
  }
}

/** 64 bits, from the top: atMs 40, times 5, phase 3, gateway failures 8, failures 8. */
const phases: readonly EjectionPhase[] = ["in", "probed", ...ejectionReasons];

export function encode({ phase, failures, gatewayFailures, times, atMs }: EjectionState): bigint {
  const low = (((times << 3) | phases.indexOf(phase)) << 16) | (gatewayFailures << 8) | failures;
  return BigInt.asIntN(64, (BigInt(Math.floor(atMs)) << 24n) | BigInt(low));
}

/** The reverse of `encode`: a state from its 64 bits. */
export function decode(word: bigint): EjectionState {
  const low = Number(word & 0xff_ffffn);
  return {
    phase: phases[(low >> 16) & 7] ?? "in",
    failures: low & 0xff,
    gatewayFailures: (low >> 8) & 0xff,
    times: low >> 19,
    atMs: Number(BigInt.asUintN(64, word) >> 24n),
  };
}

const saysSomething = (word: bigint, nowMs: number): boolean =>
  nowMs - Number(BigInt.asUintN(64, word) >> 24n) < FORGOTTEN_MS;

const current = (word: bigint, nowMs: number): EjectionState =>
  word !== 0n && saysSomething(word, nowMs) ? decode(word) : blank;
