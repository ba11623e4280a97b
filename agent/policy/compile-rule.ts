// 9 · any thread · a policy's rules as lists of checks: made once per policy, asked per connection and per request. Pure.
import type { AuthorizationPolicy, Condition, Operation, PolicyAction, Rule, Source } from "../mesh/policies.ts";
import type { RuleRef } from "./decision.ts";
import { headerOf, hiddenFields, isEmptyEntry, isReadable, isUnseenCondition, unseenMatches } from "./l4-view.ts";
import { headerCheck, hostCheck, methodCheck, pathCheck } from "./request-checks.ts";
import { type RequestKeys, requestKeys } from "./request-keys.ts";
import {
  accountCheck,
  addressCheck,
  identityCheck,
  namespaceOf,
  ownPrincipals,
  portCheck,
  principalOf,
  type RuleCheck,
  SCHEME,
  trustDomainOf,
  unseenCheck,
} from "./rule-checks.ts";

/** All of an entry's checks must hold; of `sources` and of `operations` one entry each, of `when` every check. */
export type CompiledRule = {
  readonly ref: RuleRef;
  /** Why the rule matches nothing in the strict reading: an ALLOW rule with a field that no connection shows. null: it may match. */
  readonly neverStrict: RuleCheck | null;
  /** The same in every other reading: an ALLOW rule with a field that no request shows, either. */
  readonly never: RuleCheck | null;
  readonly sources: readonly (readonly RuleCheck[])[];
  readonly operations: readonly (readonly RuleCheck[])[];
  readonly when: readonly RuleCheck[];
  /** Whether it depends on the request. */
  readonly readsRequest: boolean;
  readonly keys: RequestKeys;
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
  const hidden = scope.action === "ALLOW" ? [...hiddenFields(rule)] : [];
  const [first] = hidden;
  const unread = hidden.find(({ isInRequest }) => !isInRequest);
  const checks = {
    sources: rule.sources.map((source) => sourceChecks(source, scope)),
    operations: rule.operations.map((operation) => operationChecks(operation, scope)),
    // In a DENY or AUDIT a hidden condition holds, and is left out unless the request shows it.
    when: [
      ...rule.when.flatMap((condition) => (isUnseenCondition(condition) ? [] : conditionChecks(condition, scope))),
      ...rule.when.flatMap((condition) => headerChecks(condition, scope)),
    ],
  };
  const all = [checks.when, ...checks.sources, ...checks.operations].flat();
  return {
    ref,
    neverStrict: first === undefined ? null : unseenCheck(first.field, false, wordsOf[first.why]),
    never: unread === undefined ? null : unseenCheck(unread.field, false, wordsOf.unreadable),
    ...checks,
    readsRequest: unread === undefined && all.some(({ needs }) => needs === "request"),
    keys: requestKeys(rule),
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

function sourceChecks(source: Source, { trustDomain, unseen }: PolicyScope): readonly RuleCheck[] {
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

function operationChecks(operation: Operation, { unseen }: PolicyScope): readonly RuleCheck[] {
  if (isEmptyEntry(operation)) return [unseenCheck("operation", unseen, emptyEntry)];
  const [is, not] = [
    { not: false, denies: unseen },
    { not: true, denies: unseen },
  ];
  const paths = (matches: Operation["paths"]) => (matches.every(isReadable) ? matches : []);
  return [
    ...when(operation.ports, (all) => portCheck("operation.ports", all, false)),
    ...when(operation.notPorts, (all) => portCheck("operation.notPorts", all, true)),
    ...when(operation.methods, (all) => methodCheck("operation.methods", all, is)),
    ...when(operation.notMethods, (all) => methodCheck("operation.notMethods", all, not)),
    ...when(operation.hosts, (all) => hostCheck("operation.hosts", all, is)),
    ...when(operation.notHosts, (all) => hostCheck("operation.notHosts", all, not)),
    ...when(paths(operation.paths), (all) => pathCheck("operation.paths", all, is)),
    ...when(paths(operation.notPaths), (all) => pathCheck("operation.notPaths", all, not)),
  ];
}

/** Of a condition on a header that a request shows: at most one check for its values and one for its notValues. */
function headerChecks(condition: Condition, { unseen }: PolicyScope): readonly RuleCheck[] {
  const name = headerOf(condition);
  if (name === undefined) return [];
  const field = `when ${condition.key}`;
  const check = (values: Condition["strings"], not: boolean) =>
    headerCheck(field, name, { values, options: { not, denies: unseen } });
  return [
    ...when(condition.strings, (all) => check(all, false)),
    ...when(condition.notStrings, (all) => check(all, true)),
  ];
}

const partOfKey = new Map([
  ["source.namespace", namespaceOf],
  ["source.trustDomain", trustDomainOf],
]);

/** Of a condition that is seen: at most one check for its values and one for its notValues. */
function conditionChecks(condition: Condition, { trustDomain, unseen }: PolicyScope): readonly RuleCheck[] {
  const field = `when ${condition.key}`;
  const of = condition.key === "destination.ip" ? "destination" : "source";
  const strings = (matches: Condition["strings"], not: boolean): RuleCheck => {
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
function when<T>(values: readonly T[], check: (values: readonly T[]) => RuleCheck): readonly RuleCheck[] {
  return values.length === 0 ? [] : [check(values)];
}
