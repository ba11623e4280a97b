// 9 · any thread · what a judge that sees only the connection may conclude of a field it cannot see: never less than the rule.
import type { Condition, Operation, PolicyAction, Rule, Source } from "../mesh/policies.ts";

/**
 * What stands for a field nobody here can see (it needs HTTP, or its key is unknown), positive or negated. A DENY or
 * AUDIT counts it as matching; an ALLOW never matches by it (docs/reference/hbone.md#policy).
 */
export function unseenMatches(action: PolicyAction): boolean {
  return action !== "ALLOW";
}

/**
 * The first unseen field of the rule by its name in the policy; undefined: the rule is about the connection alone.
 * An ALLOW rule with such a field never matches as a whole, as in Istio on TCP, even where another entry of `from` or
 * `to` has none.
 */
export function unseenField(rule: Rule): string | undefined {
  for (const { http } of rule.sources) if (http[0] !== undefined) return `source.${http[0]}`;
  for (const { http } of rule.operations) if (http[0] !== undefined) return `operation.${http[0]}`;
  for (const condition of rule.when) if (isUnseenCondition(condition)) return condition.key;
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

/** An entry without any field: "anyone" to some readers, "nobody" to others (docs/reference/hbone.md#policy), so it counts as unseen. */
export function isEmptySource(source: Source): boolean {
  const { http, ...fields } = source;
  return http.length === 0 && Object.values(fields).every((list) => list.length === 0);
}

export function isEmptyOperation({ ports, notPorts, http }: Operation): boolean {
  return ports.length + notPorts.length + http.length === 0;
}
