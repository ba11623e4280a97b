// 9 · any thread · after "no ALLOW rule matched": which rule was nearest, and what in it did not hold. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { CompiledRule } from "./compile-rule.ts";
import type { Miss } from "./decision.ts";
import { neverOf } from "./match.ts";
import type { RuleCheck } from "./rule-checks.ts";

/** A refused flood must not cost more than this many rules each. */
const MOST_RULES = 64;

/**
 * What did not hold in the rule that lacked least; the first of equals. One miss: the one change that would have
 * allowed. Several: all of them together. Empty: no ALLOW policy has a rule.
 */
export function nearestMiss(
  rules: readonly CompiledRule[],
  facts: ConnectionFacts,
  who: SpiffeId | null,
): readonly Miss[] {
  let nearest: { readonly rule: CompiledRule; readonly failed: readonly RuleCheck[] } | undefined;
  for (const rule of rules.slice(0, MOST_RULES)) {
    const failed = failedChecks(rule, facts, who);
    if (nearest === undefined || failed.length < nearest.failed.length) nearest = { rule, failed };
    if (failed.length === 1) break;
  }
  if (nearest === undefined) return [];
  const { rule, failed } = nearest;
  return failed.map((check) => ({
    rule: rule.ref,
    field: check.field,
    want: check.want(),
    got: check.got(facts, who),
  }));
}

/** The fewest checks whose change would make the rule hold; empty when it holds. */
export function failedChecks(rule: CompiledRule, facts: ConnectionFacts, who: SpiffeId | null): readonly RuleCheck[] {
  const failing = (checks: readonly RuleCheck[]): readonly RuleCheck[] =>
    checks.filter((check) => !check.holds(facts, who));
  const best = (entries: readonly (readonly RuleCheck[])[]): readonly RuleCheck[] => {
    const [first = [], ...others] = entries.map(failing);
    return others.reduce((least, checks) => (checks.length < least.length ? checks : least), first);
  };
  const never = neverOf(rule, facts);
  return [...(never === null ? [] : [never]), ...failing(rule.when), ...best(rule.operations), ...best(rule.sources)];
}
