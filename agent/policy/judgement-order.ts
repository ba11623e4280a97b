// any thread · in which order a request is judged, and what becomes of it. The one place that says so: `orlop explain` prints it, docs/policy.md
// says why, and a test holds the two equal. Constants only.

/** At the callee's node. What an earlier entry refuses, no later entry sees. */
export const judgementOrder = ["mutual TLS", "DENY", "ALLOW", "limits"] as const;

/** `1 mutual TLS, 2 DENY, 3 ALLOW, 4 limits` */
export const judgementOrderText = numbered(judgementOrder);

/**
 * At the caller's node, of a port that has routes. Between two pods of a node, where nobody else judges, what the callee's node does comes
 * between endpoint and caps. A retry begins anew with the endpoint, and keeps its place in the caps.
 */
export const callerOrder = ["route", "fault", "backend", "breaker", "endpoint", "caps", "retry"] as const;
export const callerOrderText = numbered(callerOrder);

function numbered(order: readonly string[]): string {
  return order.map((what, index) => `${index + 1} ${what}`).join(", ");
}
