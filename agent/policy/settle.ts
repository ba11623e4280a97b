// 9 · any thread · does the connection settle the verdict of every request on it, or must requests be read? Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import { decide } from "./decide.ts";
import type { Decision, RuleRef, Settled } from "./decision.ts";
import type { PolicySet } from "./policy-set.ts";

/**
 * Of the strict and the lenient reading one is never more open and the other never less open than a request; where both say the
 * same, so does every request.
 * @param facts in the strict reading, of which `strict` is the decision.
 */
export function settledOf(facts: ConnectionFacts, set: PolicySet, strict: Decision): Settled {
  if (!set.readsRequests) return strict.verdict;
  const lenient = decide({ ...facts, request: "lenient" }, set, false);
  if (lenient.verdict === "deny") return "deny";
  if (strict.verdict === "deny") return "http";
  const reportsSame =
    sameRules(strict.audited, lenient.audited) && sameRules(strict.dryRunDenied, lenient.dryRunDenied);
  return reportsSame ? "allow" : "http";
}

function sameRules(some: readonly RuleRef[], others: readonly RuleRef[]): boolean {
  return some.length === others.length && some.every((rule, index) => isSame(rule, others[index]));
}

function isSame(rule: RuleRef, other: RuleRef | undefined): boolean {
  return rule.name === other?.name && rule.namespace === other.namespace && rule.rule === other.rule;
}
