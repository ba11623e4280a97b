// 9 · any thread · what a judge that sees only the connection may conclude of a field it cannot see: never less than the rule.
import { pathTemplate } from "../l7/path-template.ts";
import {
  type Condition,
  type Operation,
  operationRequestFields,
  type PathMatch,
  type PolicyAction,
  type Rule,
  type Source,
  sourceRequestFields,
} from "../mesh/policies.ts";

/**
 * The strict reading of a field that a judge of connections cannot see (it needs a request, its key is unknown, its value cannot
 * be read), positive or negated: a DENY or AUDIT counts it as matching; an ALLOW never matches by it
 * (docs/reference/hbone.md#policy).
 */
export function unseenMatches(action: PolicyAction): boolean {
  return action !== "ALLOW";
}

/** A field that a judge of connections cannot see, by its name in the policy, and why. */
export type HiddenField = {
  readonly field: string;
  readonly why: "needs-request" | "unreadable";
  /** Whether `RequestFacts` has the field. Fields that it lacks keep the strict reading even when the request is known. */
  readonly isInRequest: boolean;
};

/**
 * The hidden fields of the rule, none: the rule is about the connection alone. An ALLOW rule with such a field never matches a
 * connection, as a whole, as in Istio on TCP, even where another entry of `from` or `to` has none.
 */
export function* hiddenFields(rule: Rule): Generator<HiddenField> {
  for (const field of rule.unreadable) yield unreadable(field);
  for (const source of rule.sources) {
    for (const field of source.unreadable) yield unreadable(`source.${field}`);
    for (const field of sourceRequestFields) {
      if (source[field].length > 0) yield { field: `source.${field}`, why: "needs-request", isInRequest: false };
    }
  }
  for (const operation of rule.operations) {
    for (const field of operation.unreadable) yield unreadable(`operation.${field}`);
    for (const field of operationRequestFields) {
      if (operation[field].length === 0) continue;
      const isInRequest = operation[field].every(isReadable);
      yield { field: `operation.${field}`, why: "needs-request", isInRequest };
    }
  }
  for (const condition of rule.when) {
    if (!isUnseenCondition(condition)) continue;
    const why = condition.http ? "needs-request" : "unreadable";
    yield { field: condition.key, why, isInRequest: headerOf(condition) !== undefined };
  }
}

function unreadable(field: string): HiddenField {
  return { field, why: "unreadable", isInRequest: false };
}

/** False for a path that is written as a template and is none of Istio's: nobody knows what it matches. */
export function isReadable(match: PathMatch): boolean {
  return match.kind !== "template" || pathTemplate(match.value) !== undefined;
}

/** A name of a field in RFC 9110 section 5.6.2. */
const headerKey = /^request\.headers\[([!#$%&'*+.^_`|~0-9A-Za-z-]+)\]$/;

/** The lower-case name of the header that the condition compares; undefined: it compares none, or not with texts. */
export function headerOf({ http, key, ...lists }: Condition): string | undefined {
  if (!http || lists.strings.length + lists.notStrings.length === 0) return undefined;
  if (lists.cidrs.length + lists.notCidrs.length + lists.ports.length + lists.notPorts.length > 0) return undefined;
  return headerKey.exec(key)?.[1]?.toLowerCase();
}

/** Which of a condition's three pairs of lists its key reads. */
const listOfKey: ReadonlyMap<string, "strings" | "cidrs" | "ports"> = new Map([
  ["source.ip", "cidrs"],
  ["source.namespace", "strings"],
  ["source.principal", "strings"],
  ["source.serviceAccount", "strings"],
  ["source.trustDomain", "strings"],
  ["destination.ip", "cidrs"],
  ["destination.port", "ports"],
]);

/** Unknown keys, keys of HTTP or TLS, values of another type than the key's, and no values at all. */
export function isUnseenCondition(condition: Condition): boolean {
  const list = listOfKey.get(condition.key);
  if (condition.http || list === undefined) return true;
  const used = {
    strings: condition.strings.length + condition.notStrings.length,
    cidrs: condition.cidrs.length + condition.notCidrs.length,
    ports: condition.ports.length + condition.notPorts.length,
  };
  return used[list] === 0 || used.strings + used.cidrs + used.ports !== used[list];
}

/** An entry without any field: "anyone" to some readers, "nobody" to others, so it counts as unseen. */
export function isEmptyEntry(entry: Source | Operation): boolean {
  return Object.values(entry).every((list) => list.length === 0);
}
