// 9 · any thread · one compiled rule against one connection: the hot path. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { CompiledRule } from "./compile-rule.ts";
import type { ConnectionCheck } from "./rule-checks.ts";

/** Does the rule hold for the connection? An empty rule holds for each. */
export function matchesRule(rule: CompiledRule, facts: ConnectionFacts, who: SpiffeId | null): boolean {
  return (
    rule.never === null &&
    allHold(rule.when, facts, who) &&
    anyEntry(rule.operations, facts, who) &&
    anyEntry(rule.sources, facts, who)
  );
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

function anyEntry(
  entries: readonly (readonly ConnectionCheck[])[],
  facts: ConnectionFacts,
  who: SpiffeId | null,
): boolean {
  for (let index = 0; index < entries.length; index += 1) {
    const checks = entries[index];
    if (checks !== undefined && allHold(checks, facts, who)) return true;
  }
  return entries.length === 0;
}

function allHold(checks: readonly ConnectionCheck[], facts: ConnectionFacts, who: SpiffeId | null): boolean {
  for (let index = 0; index < checks.length; index += 1) {
    if (checks[index]?.holds(facts, who) === false) return false;
  }
  return true;
}
