// 9 · any thread · may this connection be, may this request? The one evaluator: (facts, policies) → Decision. Pure: no clock, no I/O.
import type { ConnectionFacts } from "../mesh/facts.ts";
import { fullName } from "../mesh/full-name.ts";
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "../mesh/policies.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { withinBound } from "./comparisons.ts";
import { type CompiledLimit, compileLimits } from "./compile-limit.ts";
import { decide } from "./decide.ts";
import type { Decision, Settled } from "./decision.ts";
import { type HttpNeed, httpNeedAt } from "./http-need.ts";
import { type CompiledPolicy, closedLimit, compilePolicy, type PolicySet, policySet } from "./policy-set.ts";
import { settledOf } from "./settle.ts";

/** What of the mesh a verdict depends on. */
export type PoliciesInForce = Pick<
  Snapshot,
  | "policyVersion"
  | "rootNamespace"
  | "trustDomain"
  | "authorizationPoliciesFor"
  | "peerAuthenticationsFor"
  | "limitPoliciesFor"
>;

/** With `trace` the decision tells every step. The verdict is the same, made by the same code. */
export type EvaluateOptions = { readonly trace: boolean };

export type Judge = (facts: ConnectionFacts, options?: EvaluateOptions) => Decision;

export type Evaluator = {
  readonly judge: Judge;
  /** What the connection alone settles for every request on it, whatever reading the facts ask for. */
  readonly settle: (facts: ConnectionFacts) => Settled;
  /** Whether a request to this workload may be judged by its path, whatever its port. */
  readonly readsPaths: (destination: Workload) => boolean;
  /** The limits about requests to this workload, in the order in which they are judged (limits.ts). */
  readonly limitsOf: (destination: Workload) => readonly CompiledLimit[];
  /** Whether connections to this port of the workload must be read, for any caller. */
  readonly httpNeed: (destination: Workload, port: number) => HttpNeed;
};

/** Ports of which the need is remembered, for all workloads with the same policies. */
const MOST_PORTS = 256;

const fast: EvaluateOptions = { trace: false };

/** The judge of an evaluator, for those who only see connections. */
export function judgeOf(snapshot: PoliciesInForce): Judge {
  return evaluatorOf(snapshot).judge;
}

/**
 * An evaluator that keeps what it compiled, per policy and per workload, until a policy changes. It always judges by the
 * snapshot's present policies and by the labels of `facts.destination` as given: code that judges a live connection again
 * passes the destination as it is now.
 */
export function evaluatorOf(snapshot: PoliciesInForce): Evaluator {
  const setOf = policySets(snapshot);
  const needs = new WeakMap<PolicySet, Map<number, HttpNeed>>();
  return {
    judge: (facts, options = fast) => {
      const set = setOf(facts.destination);
      const { memo } = set;
      // A verdict that only the caller and the port bear on is found once. With a trace, or for a request, it is found anew.
      if (memo === null || options.trace || facts.request !== "strict") return decide(facts, set, options.trace);
      const caller = facts.security === "none" ? "" : (facts.sourceIdentity?.text ?? "");
      const known = memo.of(caller, facts.destinationPort);
      if (known !== undefined) return known.decision;
      return memo.keep(caller, facts.destinationPort, decide(facts, set, false)).decision;
    },
    settle: (facts) => {
      const set = setOf(facts.destination);
      const { memo } = set;
      const strict: ConnectionFacts = facts.request === "strict" ? facts : { ...facts, request: "strict" };
      if (memo === null) return settledOf(strict, set, decide(strict, set, false));
      const caller = facts.security === "none" ? "" : (facts.sourceIdentity?.text ?? "");
      const known =
        memo.of(caller, facts.destinationPort) ?? memo.keep(caller, facts.destinationPort, decide(strict, set, false));
      known.settled ??= settledOf(strict, set, known.decision);
      return known.settled;
    },
    readsPaths: (destination) => setOf(destination).readsPaths,
    limitsOf: (destination) => setOf(destination).limits,
    httpNeed: (destination, port) => {
      const set = setOf(destination);
      const ofSet = needs.get(set) ?? new Map<number, HttpNeed>();
      needs.set(set, ofSet);
      const need = ofSet.get(port) ?? httpNeedAt(set, port);
      if (ofSet.size < MOST_PORTS) ofSet.set(port, need);
      return need;
    },
  };
}

function policySets(snapshot: PoliciesInForce): (destination: Workload) => PolicySet {
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
  const compiledSet = (
    selecting: readonly AuthorizationPolicy[],
    peers: readonly PeerAuthentication[],
    selectingLimits: readonly LimitPolicy[],
  ): PolicySet => {
    const { policies, limits, closedLimits } = withinBound(selecting, selectingLimits);
    const { trustDomain, rootNamespace } = snapshot;
    const closed = closedLimits.flatMap((limit) => closedLimit(limit, trustDomain));
    return policySet([...closed, ...policies.map(compile)], peers, compileLimits(limits, trustDomain), rootNamespace);
  };
  const found = (destination: Workload): PolicySet => {
    const policies = snapshot.authorizationPoliciesFor(destination);
    const peers = snapshot.peerAuthenticationsFor(destination);
    // Within one version of the policies a name means a single policy.
    const limits = snapshot.limitPoliciesFor(destination);
    const key = `${policies.map(fullName).join(" ")}|${peers.map(fullName).join(" ")}|${limits.map(fullName).join(" ")}`;
    const set = shared.get(key) ?? compiledSet(policies, peers, limits);
    shared.set(key, set);
    sets.set(destination, set);
    return set;
  };
  return (destination) => {
    if (version !== snapshot.policyVersion) {
      version = snapshot.policyVersion;
      sets = new WeakMap();
      shared = new Map();
    }
    return sets.get(destination) ?? found(destination);
  };
}
