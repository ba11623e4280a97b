// 20 · any thread · regular expressions over what a caller sends: a table with a row for each state, made whole when the expression is
// read. A text costs one look-up for each of its characters, whatever the text and whatever the expression; nothing is kept of it.
// An expression whose table would be large is refused. Pure.
import { BEYOND, type CharSet, NEWLINE, WORD } from "./char-set.ts";
import {
  alphabetOf,
  type ExpressionProgram,
  type Instruction,
  isHeld,
  programOf,
  type Side,
} from "./expression-program.ts";
import { type ExpressionProblem, readExpression } from "./expression-syntax.ts";

/** What is read of a text: a string is such. */
export type Characters = { readonly length: number; charCodeAt(at: number): number };

export type Automaton = {
  /** Whether the expression takes the whole text. */
  readonly takes: (text: Characters) => boolean;
  /** Steps that making the table took. */
  readonly effort: number;
  /** Cells of the table, of two bytes each. */
  readonly cells: number;
};

/** Cells of a table: 32 KiB. */
export const MOST_CELLS = 16_384;
/** Steps to make a table: a millisecond in all. */
export const MOST_EFFORT = 25_000;

/**
 * @param text an expression of RE2's syntax (google/re2:doc/syntax.txt), as far as expression-syntax.ts reads it
 * @returns the problem says where the text is not read, or that the automaton is larger than any that is kept
 */
export function automatonOf(text: string): Automaton | ExpressionProblem {
  const read = readExpression(text);
  if ("what" in read) return read;
  const program = programOf(read);
  return program === null ? tooLarge : (new AutomatonTable(program).made() ?? tooLarge);
}

const tooLarge: ExpressionProblem = {
  at: 0,
  what: "it needs a larger automaton than is kept; fewer counted repetitions, and fewer places where .* may end, make it smaller",
};

/** A set of places in the program, before edges of the text are looked at, and what the text had before them. */
type AutomatonState = { readonly places: readonly number[]; readonly before: Side };

class AutomatonTable {
  readonly #program: ExpressionProgram;
  readonly #alphabet: readonly CharSet[];
  readonly #sides: readonly Side[];
  /** Of each set of the program, whether it has the characters of each block. */
  readonly #has: readonly (readonly boolean[])[];
  readonly #states: AutomatonState[] = [];
  readonly #known = new Map<string, number>();
  #effort = 0;

  constructor(program: ExpressionProgram) {
    this.#program = program;
    const alphabet = alphabetOf(program);
    this.#alphabet = alphabet;
    this.#sides = alphabet.map((block) => {
      if (program.hasWordEdges && (block & WORD) !== 0n) return "word";
      return program.hasLineEdges && (block & NEWLINE) !== 0n ? "newline" : "other";
    });
    this.#has = program.sets.map((set) => alphabet.map((block) => (block & set) !== 0n));
    this.#effort = program.instructions.length + program.sets.length * alphabet.length;
  }

  /** undefined: it would be too large. */
  made(): Automaton | undefined {
    const width = this.#alphabet.length;
    const rows: number[] = [];
    const ends: number[] = [];
    // AutomatonState 0 takes nothing any more.
    this.#numberOf([], "other");
    const begin = this.#numberOf([this.#program.begin], "edge");
    for (let at = 0; at < this.#states.length; at += 1) {
      const state = this.#states[at];
      if (state === undefined || this.#effort > MOST_EFFORT || this.#states.length * width > MOST_CELLS)
        return undefined;
      ends.push(this.#reached(state, "edge").some(({ kind }) => kind === "match") ? 1 : 0);
      this.#addRow(state, rows);
    }
    const cells = Uint16Array.from(rows);
    return {
      takes: taking({ cells, width, ends: Uint8Array.from(ends), blocks: blocksOf(this.#alphabet), begin }),
      effort: this.#effort,
      cells: cells.length,
    };
  }

  #addRow(state: AutomatonState, rows: number[]): void {
    const bySide = new Map<Side, readonly Instruction[]>();
    for (const [block, side] of this.#sides.entries()) {
      const behind = this.#program.hasAssertions ? side : "other";
      const reached = bySide.get(behind) ?? this.#reached(state, behind);
      bySide.set(behind, reached);
      this.#effort += reached.length;
      const next = new Set<number>();
      for (const each of reached) if (each.kind === "set" && this.#has[each.set]?.[block] === true) next.add(each.next);
      rows.push(this.#numberOf([...next], this.#program.hasAssertions ? side : "edge"));
    }
  }

  /** What is reached without a further character. */
  #reached({ places, before }: AutomatonState, behind: Side): readonly Instruction[] {
    const seen = new Set<number>(places);
    // Grows while it is walked.
    const walk = [...places];
    const reached: Instruction[] = [];
    for (const place of walk) {
      const instruction = this.#program.instructions[place];
      if (instruction === undefined) continue;
      this.#effort += 1;
      if (instruction.kind === "set" || instruction.kind === "match") reached.push(instruction);
      else {
        const isOpen = instruction.kind === "split" || isHeld(instruction.holds, before, behind);
        const next = !isOpen ? [] : instruction.kind === "split" ? instruction.next : [instruction.next];
        for (const each of next) if (!seen.has(each)) walk.push(each);
        for (const each of next) seen.add(each);
      }
    }
    return reached;
  }

  #numberOf(places: readonly number[], side: Side): number {
    const before = places.length === 0 ? "other" : side;
    this.#effort += places.length;
    const sorted = places.toSorted((a, b) => a - b);
    const key = `${before} ${sorted.join()}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, this.#states.length);
    return this.#states.push({ places: sorted, before }) - 1;
  }
}

/** Of each character up to BEYOND, the number of its block. */
function blocksOf(alphabet: readonly CharSet[]): Uint8Array {
  return Uint8Array.from({ length: BEYOND + 1 }, (_, code) =>
    alphabet.findIndex((block) => (block & (1n << BigInt(code))) !== 0n),
  );
}

type Cells = {
  readonly cells: Uint16Array;
  readonly width: number;
  readonly ends: Uint8Array;
  readonly blocks: Uint8Array;
  readonly begin: number;
};

function taking({ cells, width, ends, blocks, begin }: Cells): Automaton["takes"] {
  return (text) => {
    let state = begin;
    for (let at = 0; at < text.length && state !== 0; at += 1) {
      const code = text.charCodeAt(at);
      state = cells[state * width + (blocks[Math.min(code, BEYOND)] ?? 0)] ?? 0;
    }
    return ends[state] === 1;
  };
}
