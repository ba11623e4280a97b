// 9 · any thread · the policies that select one workload, sorted by what they can do and compiled. Pure.
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "../mesh/policies.ts";
import { unjudged } from "./comparisons.ts";
import { type CompiledLimit, comparesPath } from "./compile-limit.ts";
import { type CompiledRule, compileRules } from "./compile-rule.ts";
import type { Decision, RuleRef } from "./decision.ts";
import { type PeerModes, peerModesOf } from "./peer-mode.ts";
import { RuleIndex } from "./rule-index.ts";
import { VerdictMemo } from "./verdict-memo.ts";

/** A rule with the decisions it makes when it matches: the same values every time, so that judging allocates nothing. */
export type DecidingRule = CompiledRule & {
  readonly decision: Decision;
  /** Of a request: the same, unless the rule reads requests. */
  readonly requestDecision: Decision;
};

export type CompiledPolicy = { readonly policy: AuthorizationPolicy; readonly rules: readonly DecidingRule[] };

/** Everything a verdict about connections to one workload depends on besides the facts. */
export type PolicySet = {
  /** null: more than the caller and the port bears on the verdict. */
  readonly memo: VerdictMemo | null;
  readonly modes: PeerModes;
  readonly deny: readonly DecidingRule[];
  readonly allow: readonly DecidingRule[];
  readonly denyIndex: RuleIndex<DecidingRule>;
  readonly allowIndex: RuleIndex<DecidingRule>;
  /** ALLOW policies in force, those without a rule included: they allow nothing, and end "open by default". */
  readonly allowPolicies: number;
  /** AUDIT and dry-run policies, by policy, since each is reported once. Empty for most workloads. */
  readonly audit: readonly CompiledPolicy[];
  readonly dryDeny: readonly CompiledPolicy[];
  readonly dryAllow: readonly CompiledPolicy[];
  /** In the order in which they are judged, after ALLOW. */
  readonly limits: readonly CompiledLimit[];
  /** Whether a request may be judged otherwise than its connection. */
  readonly readsRequests: boolean;
  /** Whether a verdict or a limit may depend on the path of a request. AUDIT and dry-run policies change no verdict. */
  readonly readsPaths: boolean;
};

/** @param policies in the order in which the first match is to be named. */
export function policySet(
  policies: readonly CompiledPolicy[],
  peerAuthentications: readonly PeerAuthentication[],
  limits: readonly CompiledLimit[],
  rootNamespace: string,
): PolicySet {
  const of = (action: AuthorizationPolicy["action"], dryRun: boolean): readonly CompiledPolicy[] =>
    policies.filter(({ policy }) => policy.action === action && policy.dryRun === dryRun);
  const allow = of("ALLOW", false);
  const denying = of("DENY", false).flatMap(({ rules }) => rules);
  const allowing = allow.flatMap(({ rules }) => rules);
  const dependsOnAddresses =
    policies.some(({ rules }) => rules.some(looksAtAddresses)) || limits.some(({ rule }) => looksAtAddresses(rule));
  return {
    // First, beside the header of the object: a verdict that is remembered reads nothing else of a set that is in no cache.
    memo: dependsOnAddresses ? null : new VerdictMemo(),
    modes: peerModesOf(peerAuthentications, rootNamespace),
    deny: denying,
    allow: allowing,
    denyIndex: new RuleIndex(denying, "matches"),
    allowIndex: new RuleIndex(allowing, "never"),
    allowPolicies: allow.length,
    // A dry-run AUDIT would report what it would report: nothing to keep apart, nothing to say.
    audit: of("AUDIT", false),
    dryDeny: of("DENY", true),
    dryAllow: of("ALLOW", true),
    limits,
    readsPaths: [...denying, ...allowing].some(comparesPaths) || limits.some(comparesPath),
    readsRequests: limits.length > 0 || policies.some(({ rules }) => rules.some(({ readsRequest }) => readsRequest)),
  };
}

function looksAtAddresses({ when, sources, operations }: CompiledRule): boolean {
  return [when, ...sources, ...operations].some((checks) => checks.some(({ ofAddresses }) => ofAddresses === true));
}

function comparesPaths({ operations }: CompiledRule): boolean {
  return operations.some((checks) => checks.some(({ text }) => text === "path"));
}

/** The rules of a policy as checks, each with the decision that it leads to, made once for all connections. */
export function compilePolicy(policy: AuthorizationPolicy, trustDomain: string): CompiledPolicy {
  const decisionOf = policy.action === "ALLOW" ? allowedBy : deniedBy;
  const rules = compileRules(policy, trustDomain).map((rule): DecidingRule => {
    const decision = decisionOf(rule.ref);
    return { ...rule, decision, requestDecision: rule.readsRequest ? { ...decision, layer: "L7" } : decision };
  });
  return { policy, rules };
}

/** A limit that is too large to be judged: nobody could count, so what it is about is refused. One in standby says nothing. */
export function closedLimit(limit: LimitPolicy, trustDomain: string): readonly CompiledPolicy[] {
  const { name, namespace, selector, mode, from } = limit;
  if (mode === "standby") return [];
  const rules = [{ ...unjudged, from }];
  const policy = { name, namespace, selector, action: "DENY", dryRun: mode === "shadow", rules, from } as const;
  const ref: RuleRef = { kind: "LimitPolicy", namespace, name, rule: -1, from };
  const decision = deniedBy(ref);
  const closed = compileRules(policy, trustDomain).map((rule) => ({
    ...rule,
    ref,
    decision,
    requestDecision: decision,
  }));
  return [{ policy, rules: closed }];
}

const plain = { layer: "L4", audited: [], dryRunDenied: [], steps: [] } as const;

export function allowedBy(rule: RuleRef | null): Decision {
  return { ...plain, verdict: "allow", decidedBy: rule };
}

function deniedBy(rule: RuleRef): Decision {
  return { ...plain, verdict: "deny", reason: "denied-by-policy", decidedBy: rule, nearestMiss: [] };
}
