// 9 · any thread · how much one request may cost by the policies of the workload that it is for. A workload whose policies compare more has
// the largest of them closed instead of judged: a DENY refuses, an ALLOW lets nobody in. State: what policies were counted to be.
import { fullName } from "../mesh/full-name.ts";
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import type { AuthorizationPolicy, Condition, Operation, PathMatch, Rule, Source } from "../mesh/policies.ts";
import { headerOf } from "./l4-view.ts";

/**
 * Comparisons in the policies and limits of one workload: a request takes a data thread 2 ms for so many, and the thread serves all pods of
 * the node. Istio's own bound is 512 rules in a policy.
 */
export const MOST_COMPARISONS = 8_192;

/** Of a list of addresses or ports, or of `*`, so many are compared in the time of a list of texts, which are looked up. */
const SMALL_IN_ONE = 16;
/** A field of a request is looked for in all of its head. */
const PER_HEADER = 4;
/** A bucket is found by a hash of its key, and words are changed that all threads share. */
const PER_LIMIT = 8;

/** What was counted, as long as the policy lives: many workloads have it. */
const counted = new WeakMap<AuthorizationPolicy | LimitPolicy, number>();

export function comparisonsOf(policy: AuthorizationPolicy | LimitPolicy): number {
  const known = counted.get(policy);
  if (known !== undefined) return known;
  const count = "rules" in policy ? ofRules(policy.rules) : PER_LIMIT + ofRules([policy.match]);
  counted.set(policy, count);
  return count;
}

function ofRules(rules: readonly Rule[]): number {
  const headers = new Set(rules.flatMap(({ when }) => when.flatMap((condition) => headerOf(condition) ?? [])));
  return rules.reduce((sum, rule) => sum + ofRule(rule), PER_HEADER * headers.size);
}

function ofRule({ sources, operations, when }: Rule): number {
  const of = (entries: readonly (Source | Operation | Condition)[]): number =>
    entries.reduce((sum, entry) => sum + Object.values(entry).reduce<number>((all, list) => all + ofList(list), 0), 0);
  return 1 + of(sources) + of(operations) + of(when);
}

function ofList(list: unknown): number {
  if (!Array.isArray(list) || list.length === 0) return 0;
  const [templates, small] = [list.filter(isTemplate).length, list.filter(isSmall).length];
  return 1 + templates + Math.floor(small / SMALL_IN_ONE);
}

function isTemplate(item: PathMatch | object | number | string): boolean {
  return typeof item === "object" && "kind" in item && item.kind === "template";
}

/** What is compared by itself, but at once. */
function isSmall(item: PathMatch | object | number | string): boolean {
  return typeof item === "number" || (typeof item === "object" && (!("kind" in item) || item.kind === "presence"));
}

export type PoliciesWithinBound = {
  /** In the given order; those that are too large are closed. */
  readonly policies: readonly AuthorizationPolicy[];
  /** Those that are judged. */
  readonly limits: readonly LimitPolicy[];
  /** Too large: what they count is refused. */
  readonly closedLimits: readonly LimitPolicy[];
  /** The policies and limits that are closed, as they are. */
  readonly closed: readonly (AuthorizationPolicy | LimitPolicy)[];
  /** Of all. */
  readonly comparisons: number;
};

/** The largest are closed until the rest is within the bound; of equals those whose names come first are judged. */
export function withinBound(
  policies: readonly AuthorizationPolicy[],
  limits: readonly LimitPolicy[],
): PoliciesWithinBound {
  const sized = [...policies, ...limits].map((policy) => ({ policy, size: comparisonsOf(policy) }));
  const comparisons = sized.reduce((sum, { size }) => sum + size, 0);
  if (comparisons <= MOST_COMPARISONS) return { policies, limits, closedLimits: [], closed: [], comparisons };
  let left = comparisons;
  const closed = new Set<AuthorizationPolicy | LimitPolicy>();
  for (const { policy, size } of sized.toSorted((a, b) => b.size - a.size || (isBehind(a.policy, b.policy) ? -1 : 1))) {
    if (left <= MOST_COMPARISONS) break;
    closed.add(policy);
    left -= size;
  }
  return {
    policies: policies.map((policy) => (closed.has(policy) ? closedForm(policy) : policy)),
    limits: limits.filter((limit) => !closed.has(limit)),
    closedLimits: limits.filter((limit) => closed.has(limit)),
    closed: [...closed],
    comparisons,
  };
}

function isBehind(some: AuthorizationPolicy | LimitPolicy, other: AuthorizationPolicy | LimitPolicy): boolean {
  return fullName(some) > fullName(other);
}

/** What nobody reads in a DENY or AUDIT counts as matching, and an ALLOW with it matches nobody (l4-view.ts). */
function closedForm(policy: AuthorizationPolicy): AuthorizationPolicy {
  return { ...policy, rules: [{ ...unjudged, from: policy.from }] };
}

export const unjudged: Omit<Rule, "from"> = {
  ...{ sources: [], operations: [], when: [] },
  unreadable: [`rules (more than ${MOST_COMPARISONS} comparisons for the workload)`],
};
