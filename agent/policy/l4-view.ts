// 9 · any thread · what a judge that sees only the connection may conclude of a field it cannot see: never less than the rule.
import {
  type Condition,
  type Operation,
  operationRequestFields,
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
export type HiddenField = { readonly field: string; readonly why: "needs-request" | "unreadable" };

/**
 * The first hidden field of the rule; undefined: the rule is about the connection alone. An ALLOW rule with such a field never
 * matches as a whole, as in Istio on TCP, even where another entry of `from` or `to` has none.
 */
export function hiddenField(rule: Rule): HiddenField | undefined {
  for (const field of rule.unreadable) return { field, why: "unreadable" };
  for (const source of rule.sources) {
    for (const field of source.unreadable) return { field: `source.${field}`, why: "unreadable" };
    for (const field of sourceRequestFields) {
      if (source[field].length > 0) return { field: `source.${field}`, why: "needs-request" };
    }
  }
  for (const operation of rule.operations) {
    for (const field of operation.unreadable) return { field: `operation.${field}`, why: "unreadable" };
    for (const field of operationRequestFields) {
      if (operation[field].length > 0) return { field: `operation.${field}`, why: "needs-request" };
    }
  }
  for (const condition of rule.when) {
    if (!isUnseenCondition(condition)) continue;
    return { field: condition.key, why: condition.http ? "needs-request" : "unreadable" };
  }
  return undefined;
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
