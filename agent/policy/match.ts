// 9 · any thread · one compiled rule against one connection, or one request of it: the hot path. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { CompiledRule } from "./compile-rule.ts";
import type { RuleCheck } from "./rule-checks.ts";

/** Does the rule hold for these facts, in the reading that they ask for? An empty rule always holds. */
export function matchesRule(rule: CompiledRule, facts: ConnectionFacts, who: SpiffeId | null): boolean {
  return (
    neverOf(rule, facts) === null &&
    allHold(rule.when, facts, who) &&
    anyEntry(rule.operations, facts, who) &&
    anyEntry(rule.sources, facts, who)
  );
}

/** The check because of which the rule can never hold in the reading of these facts. */
export function neverOf(rule: CompiledRule, { request }: ConnectionFacts): RuleCheck | null {
  return request === "strict" ? rule.neverStrict : rule.never;
}

/** The first rule that holds. Indexed loops: this is the hot path, and iterators would allocate. */
export function firstMatch<R extends CompiledRule>(
  rules: readonly R[],
  facts: ConnectionFacts,
  who: SpiffeId | null,
): R | undefined {
  for (let index = 0; index < rules.length; index += 1) {
    const rule = rules[index];
    if (rule !== undefined && matchesRule(rule, facts, who)) return rule;
  }
  return undefined;
}

function anyEntry(entries: readonly (readonly RuleCheck[])[], facts: ConnectionFacts, who: SpiffeId | null): boolean {
  for (let index = 0; index < entries.length; index += 1) {
    const checks = entries[index];
    if (checks !== undefined && allHold(checks, facts, who)) return true;
  }
  return entries.length === 0;
}

function allHold(checks: readonly RuleCheck[], facts: ConnectionFacts, who: SpiffeId | null): boolean {
  for (let index = 0; index < checks.length; index += 1) {
    if (checks[index]?.holds(facts, who) === false) return false;
  }
  return true;
}
