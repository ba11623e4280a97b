// 9 · any thread · one rule against one connection. Compiled once per policy, asked per connection. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { AuthorizationPolicy, Condition, Operation, PolicyAction, Rule, Source } from "../mesh/policies.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { RuleRef } from "./decision.ts";
import { isEmptyOperation, isEmptySource, isUnseenCondition, unseenField, unseenMatches } from "./l4-view.ts";
import {
  accountCheck,
  addressCheck,
  type Check,
  identityCheck,
  namespaceOf,
  ownPrincipals,
  portCheck,
  principalOf,
  SCHEME,
  trustDomainOf,
  unseenCheck,
} from "./rule-checks.ts";

/** All of an entry's checks must hold; of `sources` and of `operations` one entry each, of `when` every check. */
export type CompiledRule = {
  readonly ref: RuleRef;
  readonly sources: readonly (readonly Check[])[];
  readonly operations: readonly (readonly Check[])[];
  readonly when: readonly Check[];
  /** SPIFFE IDs of whom alone the rule can hold for; null: it names no one, or not by whole names. */
  readonly callers: readonly string[] | null;
};

/** Does the rule hold for the connection? An empty rule holds for every one. */
export function matchesRule(rule: CompiledRule, facts: ConnectionFacts, who: SpiffeId | null): boolean {
  return allHold(rule.when, facts, who) && anyEntry(rule.operations, facts, who) && anyEntry(rule.sources, facts, who);
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

function anyEntry(entries: readonly (readonly Check[])[], facts: ConnectionFacts, who: SpiffeId | null): boolean {
  for (let index = 0; index < entries.length; index += 1) {
    const checks = entries[index];
    if (checks !== undefined && allHold(checks, facts, who)) return true;
  }
  return entries.length === 0;
}

function allHold(checks: readonly Check[], facts: ConnectionFacts, who: SpiffeId | null): boolean {
  for (let index = 0; index < checks.length; index += 1) {
    if (checks[index]?.holds(facts, who) === false) return false;
  }
  return true;
}

/** @param trustDomain of the mesh the policy belongs to. */
export function compileRules(policy: AuthorizationPolicy, trustDomain: string): readonly CompiledRule[] {
  const scope: Scope = { trustDomain, action: policy.action, unseen: unseenMatches(policy.action) };
  return policy.rules.map((rule, index) => compileRule(rule, ruleRef(policy, index, rule), scope));
}

type Scope = { readonly trustDomain: string; readonly action: PolicyAction; readonly unseen: boolean };

function ruleRef({ namespace, name }: AuthorizationPolicy, rule: number, { from }: Rule): RuleRef {
  return { kind: "AuthorizationPolicy", namespace, name, rule, from };
}

function compileRule(rule: Rule, ref: RuleRef, scope: Scope): CompiledRule {
  const hidden = scope.action === "ALLOW" ? unseenField(rule) : undefined;
  const seen = rule.when.filter((condition) => !isUnseenCondition(condition));
  // An ALLOW with a hidden field is one check that never holds; otherwise a hidden condition holds and may be left out.
  const never = hidden === undefined ? [] : [unseenCheck(hidden, false, needsHttp)];
  return {
    ref,
    sources: rule.sources.map((source) => sourceChecks(source, scope)),
    operations: rule.operations.map((operation) => operationChecks(operation, scope)),
    when: [...never, ...seen.flatMap((condition) => conditionChecks(condition, scope))],
    callers: callersOf(rule, scope),
  };
}

/** Each entry must name its principals, and by their whole names: then nobody else can match any of them. */
function callersOf({ sources }: Rule, { trustDomain }: Scope): readonly string[] | null {
  const callers: string[] = [];
  for (const { principals } of sources) {
    if (principals.length === 0) return null;
    for (const match of ownPrincipals(principals, trustDomain)) {
      if (match.kind !== "exact") return null;
      callers.push(`${SCHEME}${match.value}`);
    }
  }
  return callers.length === 0 ? null : [...new Set(callers)];
}

const needsHttp = { want: "an HTTP request that has it", got: "a connection, no HTTP request" };
const emptyEntry = { want: "a field", got: "an empty entry" };

function sourceChecks(source: Source, { trustDomain, unseen }: Scope): readonly Check[] {
  if (isEmptySource(source)) return [unseenCheck("source", unseen, emptyEntry)];
  const exact = (accounts: readonly string[]) => accounts.map((value) => ({ kind: "exact", value }) as const);
  const address = { of: "source", unseen } as const;
  const own = (matches: Source["principals"]) => ownPrincipals(matches, trustDomain);
  // Order: cheap before dear; it never changes the verdict.
  return [
    ...when(source.namespaces, (all) => identityCheck("source.namespaces", all, namespaceOf, false)),
    ...when(source.notNamespaces, (all) => identityCheck("source.notNamespaces", all, namespaceOf, true)),
    ...when(source.principals, (all) => identityCheck("source.principals", own(all), principalOf, false)),
    ...when(source.notPrincipals, (all) => identityCheck("source.notPrincipals", own(all), principalOf, true)),
    ...when(source.trustDomains, (all) => identityCheck("source.trustDomains", all, trustDomainOf, false)),
    ...when(source.notTrustDomains, (all) => identityCheck("source.notTrustDomains", all, trustDomainOf, true)),
    ...when(source.serviceAccounts, (all) =>
      accountCheck("source.serviceAccounts", exact(all), { trustDomain, not: false }),
    ),
    ...when(source.notServiceAccounts, (all) =>
      accountCheck("source.notServiceAccounts", exact(all), { trustDomain, not: true }),
    ),
    ...when(source.ipBlocks, (all) => addressCheck("source.ipBlocks", all, { ...address, not: false })),
    ...when(source.notIpBlocks, (all) => addressCheck("source.notIpBlocks", all, { ...address, not: true })),
  ];
}

function operationChecks(operation: Operation, { unseen }: Scope): readonly Check[] {
  if (isEmptyOperation(operation)) return [unseenCheck("operation", unseen, emptyEntry)];
  return [
    ...when(operation.ports, (all) => portCheck("operation.ports", all, false)),
    ...when(operation.notPorts, (all) => portCheck("operation.notPorts", all, true)),
  ];
}

const partOfKey = new Map([
  ["source.namespace", namespaceOf],
  ["source.trustDomain", trustDomainOf],
]);

/** Of a condition that is seen: at most one check for its values and one for its notValues. */
function conditionChecks(condition: Condition, { trustDomain, unseen }: Scope): readonly Check[] {
  const field = `when ${condition.key}`;
  const of = condition.key === "destination.ip" ? "destination" : "source";
  const strings = (matches: Condition["strings"], not: boolean): Check => {
    if (condition.key === "source.serviceAccount") return accountCheck(field, matches, { trustDomain, not });
    const part = partOfKey.get(condition.key);
    return part === undefined
      ? identityCheck(field, ownPrincipals(matches, trustDomain), principalOf, not)
      : identityCheck(field, matches, part, not);
  };
  return [
    ...when(condition.strings, (all) => strings(all, false)),
    ...when(condition.notStrings, (all) => strings(all, true)),
    ...when(condition.cidrs, (all) => addressCheck(field, all, { of, unseen, not: false })),
    ...when(condition.notCidrs, (all) => addressCheck(field, all, { of, unseen, not: true })),
    ...when(condition.ports, (all) => portCheck(field, all, false)),
    ...when(condition.notPorts, (all) => portCheck(field, all, true)),
  ];
}

/** An empty list is no constraint. */
function when<T>(values: readonly T[], check: (values: readonly T[]) => Check): readonly Check[] {
  return values.length === 0 ? [] : [check(values)];
}
