// any thread · in which order the callee's node judges a request. The one place that says so: `orlop explain` prints it, docs/limits.md
// repeats it. Constants only.

/** What an earlier entry refuses, no later entry sees. */
export const judgementOrder = ["mutual TLS", "DENY", "ALLOW", "limits"] as const;

/** `1 mutual TLS, 2 DENY, 3 ALLOW, 4 limits` */
export const judgementOrderText = judgementOrder.map((what, index) => `${index + 1} ${what}`).join(", ");
