// 9 · any thread · the rules of one workload by the callers they name, and for requests by their paths and hosts, so that a long list costs
// a caller the few that can be about it. Which rule is found is the first that holds, as in the list. Pure.
import type { ConnectionFacts, RequestFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { CompiledRule } from "./compile-rule.ts";
import { firstMatch, matchesRule } from "./match.ts";
import { type AmbiguousText, firstOf, type IndexedRule, RequestIndex } from "./request-index.ts";
import { keyKinds } from "./request-keys.ts";

/** Shorter lists are looked through faster than looked up. */
const INDEXED_FROM = 4;

const nothing: readonly never[] = [];

export class RuleIndex<R extends CompiledRule> {
  readonly #rules: readonly R[];
  /** By the caller's whole SPIFFE ID. null: the list is short, or names nobody. */
  readonly #byCaller: ReadonlyMap<string, readonly IndexedRule<R>[]> | null;
  readonly #anyCaller: readonly IndexedRule<R>[];
  /** Of the lists above that are long; null: no rule has keys. */
  readonly #byRequest: ReadonlyMap<readonly IndexedRule<R>[], RequestIndex<R>> | null;

  constructor(rules: readonly R[], ambiguous: AmbiguousText) {
    this.#rules = rules;
    const indexed = rules.map((rule, at) => ({ at, rule }));
    this.#anyCaller = indexed.filter(({ rule }) => rule.callers === null);
    this.#byCaller = rules.length < INDEXED_FROM || this.#anyCaller.length === rules.length ? null : byCaller(indexed);
    const lists = [this.#anyCaller, ...(this.#byCaller?.values() ?? [])];
    const hasKeys =
      rules.length >= INDEXED_FROM && rules.some(({ keys }) => keyKinds.some((kind) => keys[kind] !== null));
    this.#byRequest = hasKeys ? byRequest(lists, ambiguous) : null;
  }

  first(facts: ConnectionFacts, who: SpiffeId | null): R | undefined {
    const { request } = facts;
    if (this.#byRequest !== null && typeof request !== "string") return this.#firstOfRequest(facts, who, request);
    if (this.#byCaller === null) return firstMatch(this.#rules, facts, who);
    const named = (who === null ? undefined : this.#byCaller.get(who.text)) ?? nothing;
    const general = this.#anyCaller;
    let [own, other] = [0, 0];
    for (;;) {
      const ownRule = named[own];
      const otherRule = general[other];
      const takesOwn = ownRule !== undefined && (otherRule === undefined || ownRule.at < otherRule.at);
      const next = takesOwn ? ownRule : otherRule;
      if (next === undefined) return undefined;
      if (matchesRule(next.rule, facts, who)) return next.rule;
      if (takesOwn) own += 1;
      else other += 1;
    }
  }

  #firstOfRequest(facts: ConnectionFacts, who: SpiffeId | null, request: RequestFacts): R | undefined {
    const lists: (readonly IndexedRule<R>[])[] = [];
    const look = (list: readonly IndexedRule<R>[] | undefined): void => {
      if (list === undefined || list.length === 0) return;
      const index = this.#byRequest?.get(list);
      if (index === undefined) lists.push(list);
      else index.about(request, lists);
    };
    if (who !== null) look(this.#byCaller?.get(who.text));
    look(this.#anyCaller);
    return firstOf(lists, (rule) => matchesRule(rule, facts, who));
  }
}

function byRequest<R extends CompiledRule>(
  lists: readonly (readonly IndexedRule<R>[])[],
  ambiguous: AmbiguousText,
): ReadonlyMap<readonly IndexedRule<R>[], RequestIndex<R>> {
  const long = lists.filter(({ length }) => length >= INDEXED_FROM);
  return new Map(long.map((list) => [list, new RequestIndex(list, ambiguous)]));
}

function byCaller<R extends CompiledRule>(
  indexed: readonly IndexedRule<R>[],
): ReadonlyMap<string, readonly IndexedRule<R>[]> {
  const index = new Map<string, IndexedRule<R>[]>();
  for (const entry of indexed) {
    for (const caller of entry.rule.callers ?? nothing) {
      const known = index.get(caller);
      if (known === undefined) index.set(caller, [entry]);
      else known.push(entry);
    }
  }
  return index;
}
