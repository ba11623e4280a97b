// 9 · any thread · facts against the policies of one workload: the walk of the one evaluator. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { type Ambiguity, ambiguityOf, ambiguityOfAll } from "./ambiguity.ts";
import { counts } from "./compile-limit.ts";
import type { CompiledRule } from "./compile-rule.ts";
import type { Decision, RuleRef } from "./decision.ts";
import { firstMatch } from "./match.ts";
import { nearestMiss } from "./nearest-miss.ts";
import { type PeerMode, peerModeAt } from "./peer-mode.ts";
import { allowedBy, type CompiledPolicy, type DecidingRule, type PolicySet } from "./policy-set.ts";
import { allowSteps, auditSteps, denyStep, limitStep, peerStep, type Trace } from "./trace.ts";

const openByDefault = allowedBy(null);
const nobody: readonly RuleRef[] = [];

/**
 * The order is Istio's (docs/reference/hbone.md#policy): plaintext to a STRICT port → DENY → no ALLOW policy → ALLOW → deny. AUDIT and
 * dry-run are reported beside the verdict and never change it. Limits count requests, after all of this (limits.ts): in the strict
 * reading a connection on which some request would be counted is refused, since nobody could count what it carries.
 */
export function decide(facts: ConnectionFacts, set: PolicySet, trace: boolean): Decision {
  const who = facts.security === "none" ? null : facts.sourceIdentity;
  const steps: Trace = trace ? [] : null;
  const mode = peerModeAt(set.modes, facts.destinationPort);
  const unproved = mode.mode === "STRICT" && who === null;
  steps?.push(peerStep(mode, who, unproved));
  if (unproved) return finished(mtlsRequired(mode), nobody, nobody, steps);

  const denied = set.denyIndex.first(facts, who);
  steps?.push(denyStep(set, denied));
  const allowed = denied === undefined ? set.allowIndex.first(facts, who) : undefined;
  if (denied === undefined) steps?.push(...allowSteps(set, allowed, { facts, who }));

  const decision =
    denied !== undefined
      ? deniedBy(denied, facts, who)
      : allowed !== undefined
        ? decisionOf(allowed, facts)
        : set.allowPolicies === 0
          ? openByDefault
          : nothingAllowed(set, facts, who);
  const audited = set.audit.length === 0 ? nobody : matched(set.audit, facts, who);
  const dryRunDenied = wouldBeDenied(set, facts, who);
  steps?.push(...auditSteps(set, audited, dryRunDenied));
  if (set.limits.length === 0) return finished(decision, audited, dryRunDenied, steps);
  steps?.push(limitStep(set.limits, facts, who));
  if (facts.request !== "strict" || decision.verdict === "deny")
    return finished(decision, audited, dryRunDenied, steps);
  // Nobody reads the requests of this connection.
  const counting = set.limits.filter((limit) => counts(limit, facts, who));
  const enforced = counting.find(({ isShadow }) => !isShadow);
  const shadow = counting.flatMap(({ isShadow, ref }) => (isShadow ? [ref] : []));
  return finished(enforced?.unread ?? decision, audited, [...dryRunDenied, ...shadow], steps);
}

/** The shared decision itself when there is nothing of this connection to add. */
function finished(
  decision: Decision,
  audited: readonly RuleRef[],
  dryRunDenied: readonly RuleRef[],
  steps: Trace,
): Decision {
  if (steps === null && audited.length === 0 && dryRunDenied.length === 0) return decision;
  return { ...decision, audited, dryRunDenied, steps: steps ?? [] };
}

function isOfRequest({ request }: ConnectionFacts): boolean {
  return typeof request !== "string";
}

function decisionOf(rule: DecidingRule, facts: ConnectionFacts): Decision {
  return isOfRequest(facts) ? rule.requestDecision : rule.decision;
}

/** A DENY that has matched only since the path or host may mean what it names. */
function deniedBy(rule: DecidingRule, facts: ConnectionFacts, who: SpiffeId | null): Decision {
  const decision = decisionOf(rule, facts);
  const ambiguity = ambiguityOf(rule, facts, who);
  return ambiguity === null ? decision : ambiguous(decision, ambiguity);
}

function ambiguous(decision: Decision, reason: Ambiguity): Decision {
  return { nearestMiss: [], ...decision, verdict: "deny", reason };
}

function mtlsRequired({ decidedBy }: PeerMode): Decision {
  const nearest = decidedBy && { rule: decidedBy, field: "mtls.mode", want: "a proved identity", got: "plaintext" };
  return {
    verdict: "deny",
    reason: "mtls-required",
    decidedBy,
    nearestMiss: nearest === null ? [] : [nearest],
    layer: "L4",
    audited: nobody,
    dryRunDenied: nobody,
    steps: [],
  };
}

function nothingAllowed(set: PolicySet, facts: ConnectionFacts, who: SpiffeId | null): Decision {
  return {
    verdict: "deny",
    reason: ambiguityOfAll(set.allow, facts, who) ?? "no-allow-matched",
    decidedBy: null,
    nearestMiss: nearestMiss(set.allow, facts, who),
    layer: set.readsRequests && isOfRequest(facts) ? "L7" : "L4",
    audited: nobody,
    dryRunDenied: nobody,
    steps: [],
  };
}

/** Of each policy the first rule that matches. */
function matched(
  policies: readonly CompiledPolicy[],
  facts: ConnectionFacts,
  who: SpiffeId | null,
): readonly RuleRef[] {
  return policies.flatMap(({ rules }): readonly RuleRef[] => firstRef(rules, facts, who));
}

function firstRef(rules: readonly CompiledRule[], facts: ConnectionFacts, who: SpiffeId | null): readonly RuleRef[] {
  const rule = firstMatch(rules, facts, who);
  return rule === undefined ? [] : [rule.ref];
}

/**
 * What would deny were the dry-run policies in force: DENY rules that match, and ALLOW policies that would end "open by
 * default" without any of them matching. Where enforced ALLOW policies exist, one more could only allow.
 */
function wouldBeDenied(set: PolicySet, facts: ConnectionFacts, who: SpiffeId | null): readonly RuleRef[] {
  if (set.dryDeny.length + set.dryAllow.length === 0) return nobody;
  const denying = matched(set.dryDeny, facts, who);
  if (set.allowPolicies > 0 || matched(set.dryAllow, facts, who).length > 0) return denying;
  const closing = set.dryAllow.map(
    ({ policy: { namespace, name, from } }): RuleRef => ({
      kind: "AuthorizationPolicy",
      namespace,
      name,
      rule: -1,
      from,
    }),
  );
  return [...denying, ...closing];
}
