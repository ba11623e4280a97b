// any thread · an expression's tree as a program of few kinds of step (Thompson, CACM 11(6), 1968), whose length is bounded. Pure.
import { ALL, type CharSet, NEWLINE, WORD } from "./char-set.ts";
import type { Assertion, Expression } from "./expression-syntax.ts";

/** What comes before a place in a text, or behind it. "edge" is where the text begins or ends. */
export type Side = "edge" | "word" | "newline" | "other";

export type Instruction =
  | { readonly kind: "set" /** Of `sets`. */; readonly set: number; readonly next: number }
  | { readonly kind: "split"; readonly next: readonly number[] }
  | { readonly kind: "assertion"; readonly holds: Assertion; readonly next: number }
  | { readonly kind: "match" };

export type ExpressionProgram = {
  readonly instructions: readonly Instruction[];
  readonly begin: number;
  /** Each once. */
  readonly sets: readonly CharSet[];
  readonly hasAssertions: boolean;
  readonly hasWordEdges: boolean;
  readonly hasLineEdges: boolean;
};

/** Counted repetitions are written out, so that a short text may be a long program. */
export const MOST_INSTRUCTIONS = 2_048;

/** null: it would be longer than MOST_INSTRUCTIONS. */
export function programOf(expression: Expression): ExpressionProgram | null {
  const writing = new ProgramWriting();
  const begin = writing.write(expression, writing.add({ kind: "match" }));
  if (begin === null) return null;
  const { instructions, sets } = writing;
  const asserted = new Set(instructions.flatMap((each) => (each.kind === "assertion" ? [each.holds] : [])));
  return {
    ...{ instructions, begin, sets: [...sets.keys()], hasAssertions: asserted.size > 0 },
    hasWordEdges: asserted.has("word-edge") || asserted.has("no-word-edge"),
    hasLineEdges: asserted.has("line-begin") || asserted.has("line-end"),
  };
}

class ProgramWriting {
  readonly instructions: Instruction[] = [];
  readonly sets = new Map<CharSet, number>();
  /** Visits of the tree: an empty group repeated a thousand times writes nothing, and takes its time. */
  #visits = 0;

  add(instruction: Instruction): number {
    this.instructions.push(instruction);
    return this.instructions.length - 1;
  }

  /** From the end to the beginning: `next` is where it goes on. @returns where it begins; null: it is too long. */
  write(expression: Expression, next: number | null): number | null {
    this.#visits += 1;
    if (next === null || this.instructions.length >= MOST_INSTRUCTIONS || this.#visits > 4 * MOST_INSTRUCTIONS)
      return null;
    switch (expression.kind) {
      case "set": {
        const set = this.sets.get(expression.set) ?? this.sets.size;
        this.sets.set(expression.set, set);
        return this.add({ kind: "set", set, next });
      }
      case "assertion":
        return this.add({ kind: "assertion", holds: expression.holds, next });
      case "sequence":
        return expression.parts.reduceRight<number | null>((behind, part) => this.write(part, behind), next);
      case "choice": {
        const begins = expression.parts.map((part) => this.write(part, next));
        const known = begins.filter((begin) => begin !== null);
        return known.length < begins.length ? null : this.add({ kind: "split", next: known });
      }
      case "repeat":
        return this.#repeat(expression, next);
    }
  }

  #repeat({ part, least, most }: Extract<Expression, { kind: "repeat" }>, next: number): number | null {
    let at: number | null = next;
    if (most === null) {
      // A loop: its instruction is known before what it leads to.
      const loop = this.add({ kind: "split", next: [] });
      const body = this.write(part, loop);
      if (body === null) return null;
      this.instructions[loop] = { kind: "split", next: [body, next] };
      at = loop;
    } else
      for (let left = most - least; left > 0 && at !== null; left -= 1) {
        const body = this.write(part, at);
        at = body === null ? null : this.add({ kind: "split", next: [body, next] });
      }
    for (let left = least; left > 0 && at !== null; left -= 1) at = this.write(part, at);
    return at;
  }
}

export function isHeld(assertion: Assertion, before: Side, behind: Side): boolean {
  switch (assertion) {
    case "text-begin":
      return before === "edge";
    case "text-end":
      return behind === "edge";
    case "line-begin":
      return before === "edge" || before === "newline";
    case "line-end":
      return behind === "edge" || behind === "newline";
    case "word-edge":
      return (before === "word") !== (behind === "word");
    case "no-word-edge":
      return (before === "word") === (behind === "word");
  }
}

/** Characters that no set and no edge of the program tells apart, as sets that together are all characters. */
export function alphabetOf({ sets, hasWordEdges, hasLineEdges }: ExpressionProgram): readonly CharSet[] {
  let blocks: readonly CharSet[] = [ALL];
  for (const set of [...sets, ...(hasWordEdges ? [WORD] : []), ...(hasLineEdges ? [NEWLINE] : [])])
    blocks = blocks.flatMap((block) => [block & set, block & ~set].filter((part) => part !== 0n));
  return blocks;
}
