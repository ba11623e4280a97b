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
  let nearest: CompiledRule | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  const end = Math.min(rules.length, MOST_RULES);
  for (let index = 0; index < end && fewest > 1; index += 1) {
    const rule = rules[index];
    if (rule === undefined) continue;
    const failed = countFailed(rule, facts, who);
    if (failed >= fewest) continue;
    nearest = rule;
    fewest = failed;
  }
  if (nearest === undefined) return [];
  const { ref } = nearest;
  return failedChecks(nearest, facts, who).map((check) => ({
    rule: ref,
    field: check.field,
    want: check.want(),
    got: check.got(facts, who),
  }));
}

/** How many checks `failedChecks` has, without a list of them. */
function countFailed(rule: CompiledRule, facts: ConnectionFacts, who: SpiffeId | null): number {
  const failing = (checks: readonly RuleCheck[]): number => {
    let failed = 0;
    for (let index = 0; index < checks.length; index += 1) if (checks[index]?.holds(facts, who) === false) failed += 1;
    return failed;
  };
  const least = (entries: readonly (readonly RuleCheck[])[]): number => {
    let fewest = Number.POSITIVE_INFINITY;
    for (let index = 0; index < entries.length; index += 1) fewest = Math.min(fewest, failing(entries[index] ?? []));
    return entries.length === 0 ? 0 : fewest;
  };
  const never = neverOf(rule, facts) === null ? 0 : 1;
  return never + failing(rule.when) + least(rule.operations) + least(rule.sources);
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
