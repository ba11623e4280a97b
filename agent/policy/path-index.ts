// 9 · any thread · a list of rules by the paths they name, so that a long list costs a request the few that can be about it. Pure.
import type { CompiledRule } from "./compile-rule.ts";
import { headOf } from "./path-heads.ts";

/** A rule with its number in the list of all rules. */
export type IndexedRule<R> = { readonly at: number; readonly rule: R };
type Rules<R> = readonly IndexedRule<R>[];

const nothing: readonly never[] = [];

export class PathIndex<R extends CompiledRule> {
  readonly #byHead = new Map<string, IndexedRule<R>[]>();
  /** Rules that may be about any path. */
  readonly #anyPath: Rules<R>;

  constructor(rules: Rules<R>) {
    this.#anyPath = rules.filter(({ rule }) => rule.pathHeads === null);
    for (const entry of rules) {
      for (const head of entry.rule.pathHeads ?? nothing) {
        const known = this.#byHead.get(head);
        if (known === undefined) this.#byHead.set(head, [entry]);
        else known.push(entry);
      }
    }
  }

  /** Each in the order of the rules; a rule may be in several. @param readings of a path that is not ambiguous. */
  about(readings: readonly string[]): readonly Rules<R>[] {
    const lists: Rules<R>[] = this.#anyPath.length === 0 ? [] : [this.#anyPath];
    let last = "";
    for (const reading of readings) {
      const head = headOf(reading);
      // The readings of one path mostly have one head.
      if (head === last) continue;
      last = head;
      const rules = this.#byHead.get(head);
      if (rules !== undefined) lists.push(rules);
    }
    return lists;
  }
}

/** Calls `holds` with the rules of all lists in their common order, until it says yes. */
export function firstOf<R extends CompiledRule>(
  lists: readonly Rules<R>[],
  holds: (rule: R) => boolean,
): R | undefined {
  const [only] = lists;
  if (lists.length === 1) return only?.find(({ rule }) => holds(rule))?.rule;
  const cursors = lists.map(() => 0);
  for (;;) {
    let next: IndexedRule<R> | undefined;
    let from = -1;
    for (let index = 0; index < lists.length; index += 1) {
      const entry = lists[index]?.[cursors[index] ?? 0];
      if (entry === undefined || (next !== undefined && next.at <= entry.at)) continue;
      next = entry;
      from = index;
    }
    if (next === undefined) return undefined;
    if (holds(next.rule)) return next.rule;
    cursors[from] = (cursors[from] ?? 0) + 1;
  }
}
