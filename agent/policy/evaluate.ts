// 9 · any thread · may this connection be? The one evaluator: (facts, policies) → Decision. Pure: no clock, no I/O.
import type { ConnectionFacts } from "../mesh/facts.ts";
import { fullName } from "../mesh/full-name.ts";
import type { AuthorizationPolicy } from "../mesh/policies.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import type { CompiledRule } from "./compile-rule.ts";
import type { Decision, RuleRef } from "./decision.ts";
import { firstMatch } from "./match.ts";
import { nearestMiss } from "./nearest-miss.ts";
import { type PeerMode, peerModeAt } from "./peer-mode.ts";
import { allowedBy, type CompiledPolicy, compilePolicy, type PolicySet, policySet } from "./policy-set.ts";
import { allowSteps, auditSteps, denyStep, peerStep, type Trace } from "./trace.ts";

/** What of the mesh a verdict depends on. */
export type PoliciesInForce = Pick<
  Snapshot,
  "policyVersion" | "rootNamespace" | "trustDomain" | "authorizationPoliciesFor" | "peerAuthenticationsFor"
>;

/** With `trace` the decision tells every step. The verdict is the same, made by the same code. */
export type EvaluateOptions = { readonly trace: boolean };

export type Judge = (facts: ConnectionFacts, options?: EvaluateOptions) => Decision;

const fast: EvaluateOptions = { trace: false };
const openByDefault = allowedBy(null);
const nobody: readonly RuleRef[] = [];

/**
 * A judge that keeps what it compiled, per policy and per workload, until a policy changes. It always judges by the
 * snapshot's present policies and by the labels of `facts.destination` as given: code that judges a live connection again
 * passes the destination as it is now.
 */
export function judgeOf(snapshot: PoliciesInForce): Judge {
  const compiled = new WeakMap<AuthorizationPolicy, CompiledPolicy>();
  const compile = (policy: AuthorizationPolicy): CompiledPolicy => {
    const known = compiled.get(policy) ?? compilePolicy(policy, snapshot.trustDomain);
    compiled.set(policy, known);
    return known;
  };
  let version = Number.NaN;
  let sets = new WeakMap<Workload, PolicySet>();
  /** Workloads that the same policies select have one set among them. */
  let shared = new Map<string, PolicySet>();
  const setOf = (destination: Workload): PolicySet => {
    const policies = snapshot.authorizationPoliciesFor(destination);
    const peers = snapshot.peerAuthenticationsFor(destination);
    // Within one version of the policies a name means a single policy.
    const key = `${policies.map(fullName).join(" ")}|${peers.map(fullName).join(" ")}`;
    const set = shared.get(key) ?? policySet(policies.map(compile), peers, snapshot.rootNamespace);
    shared.set(key, set);
    return set;
  };
  return (facts, options = fast) => {
    if (version !== snapshot.policyVersion) {
      version = snapshot.policyVersion;
      sets = new WeakMap();
      shared = new Map();
    }
    const { destination } = facts;
    let set = sets.get(destination);
    if (set === undefined) {
      set = setOf(destination);
      sets.set(destination, set);
    }
    return remembered(facts, set, options);
  };
}

/** A verdict that only the caller and the port bear on is found once. With a trace it is found anew. */
function remembered(facts: ConnectionFacts, set: PolicySet, options: EvaluateOptions): Decision {
  const { memo } = set;
  if (memo === null || options.trace) return decide(facts, set, options);
  const caller = facts.security === "none" ? "" : (facts.sourceIdentity?.text ?? "");
  const known = memo.of(caller, facts.destinationPort);
  if (known !== undefined) return known;
  const decision = decide(facts, set, options);
  memo.keep(caller, facts.destinationPort, decision);
  return decision;
}

/**
 * The order is Istio's (docs/reference/hbone.md#policy): plaintext to a STRICT port → DENY → no ALLOW policy → ALLOW → deny. AUDIT and
 * dry-run are reported beside the verdict and never change it.
 */
function decide(facts: ConnectionFacts, set: PolicySet, { trace }: EvaluateOptions): Decision {
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
    denied?.decision ??
    (set.allowPolicies === 0 ? openByDefault : (allowed?.decision ?? nothingAllowed(set, facts, who)));
  const audited = set.audit.length === 0 ? nobody : matched(set.audit, facts, who);
  const dryRunDenied = wouldBeDenied(set, facts, who);
  steps?.push(...auditSteps(set, audited, dryRunDenied));
  return finished(decision, audited, dryRunDenied, steps);
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
    reason: "no-allow-matched",
    decidedBy: null,
    nearestMiss: nearestMiss(set.allow, facts, who),
    layer: "L4",
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
