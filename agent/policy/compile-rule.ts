// 9 · any thread · a policy's rules as lists of checks: made once per policy, asked per connection. Pure.
import type { AuthorizationPolicy, Condition, Operation, PolicyAction, Rule, Source } from "../mesh/policies.ts";
import type { RuleRef } from "./decision.ts";
import { type HiddenChecks, hiddenChecks } from "./hidden-checks.ts";
import { hiddenField, isEmptyEntry, isUnseenCondition, unseenMatches } from "./l4-view.ts";
import {
  accountCheck,
  addressCheck,
  type ConnectionCheck,
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
  /** Why the rule matches no connection at all: an ALLOW rule with a field that only a request shows. null: it may match. */
  readonly never: ConnectionCheck | null;
  readonly sources: readonly (readonly ConnectionCheck[])[];
  readonly operations: readonly (readonly ConnectionCheck[])[];
  readonly when: readonly ConnectionCheck[];
  /** What of the rule the lists above leave out; null: nothing, the rule is about the connection alone. */
  readonly hidden: HiddenChecks | null;
  /** SPIFFE IDs of the only callers for which the rule can hold; null: it names nobody, or not by whole names. */
  readonly callers: readonly string[] | null;
};

/** @param trustDomain of the mesh the policy belongs to. */
export function compileRules(policy: AuthorizationPolicy, trustDomain: string): readonly CompiledRule[] {
  const scope: PolicyScope = { trustDomain, action: policy.action, unseen: unseenMatches(policy.action) };
  return policy.rules.map((rule, index) => compileRule(rule, ruleRef(policy, index, rule), scope));
}

type PolicyScope = { readonly trustDomain: string; readonly action: PolicyAction; readonly unseen: boolean };

function ruleRef({ namespace, name }: AuthorizationPolicy, rule: number, { from }: Rule): RuleRef {
  return { kind: "AuthorizationPolicy", namespace, name, rule, from };
}

function compileRule(rule: Rule, ref: RuleRef, scope: PolicyScope): CompiledRule {
  const hidden = scope.action === "ALLOW" ? hiddenField(rule) : undefined;
  // In a DENY or AUDIT a hidden condition holds, and is left out.
  const seen = rule.when.filter((condition) => !isUnseenCondition(condition));
  return {
    ref,
    never: hidden === undefined ? null : unseenCheck(hidden.field, false, wordsOf[hidden.why]),
    sources: rule.sources.map((source) => sourceChecks(source, scope)),
    operations: rule.operations.map((operation) => operationChecks(operation, scope)),
    when: seen.flatMap((condition) => conditionChecks(condition, scope)),
    hidden: hiddenChecks(rule),
    callers: callersOf(rule, scope),
  };
}

/** Each entry must name its principals, and by their whole names: then nobody else can match any of them. */
function callersOf({ sources }: Rule, { trustDomain }: PolicyScope): readonly string[] | null {
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

const wordsOf = {
  "needs-request": { want: "an HTTP request that has it", got: "a connection, no HTTP request" },
  unreadable: { want: "a field that can be read", got: "an unreadable field" },
};
const emptyEntry = { want: "a field", got: "an empty entry" };

function sourceChecks(source: Source, { trustDomain, unseen }: PolicyScope): readonly ConnectionCheck[] {
  if (isEmptyEntry(source)) return [unseenCheck("source", unseen, emptyEntry)];
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

function operationChecks(operation: Operation, { unseen }: PolicyScope): readonly ConnectionCheck[] {
  if (isEmptyEntry(operation)) return [unseenCheck("operation", unseen, emptyEntry)];
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
function conditionChecks(condition: Condition, { trustDomain, unseen }: PolicyScope): readonly ConnectionCheck[] {
  const field = `when ${condition.key}`;
  const of = condition.key === "destination.ip" ? "destination" : "source";
  const strings = (matches: Condition["strings"], not: boolean): ConnectionCheck => {
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
function when<T>(values: readonly T[], check: (values: readonly T[]) => ConnectionCheck): readonly ConnectionCheck[] {
  return values.length === 0 ? [] : [check(values)];
}
