// 9 · any thread · one request on a connection: verdict, the rule that decided, and what the caller is answered when it is refused. Pure.
import type { ConnectionFacts, RequestFacts } from "../mesh/facts.ts";
import type { Decision, DenyReason, Miss } from "./decision.ts";
import type { Evaluator } from "./evaluate.ts";

/** To the caller, as text/plain. It names no rule: the caller is not who may know them. */
export type RefusalAnswer = {
  readonly status: 400 | 403 | 429;
  readonly body: string;
  readonly headers?: readonly { readonly op: "set"; readonly name: string; readonly value: string }[];
};

/** The body of Envoy's RBAC filter (envoy:source/extensions/filters/http/rbac/rbac_filter.cc), for those who look for it. */
const accessDenied: RefusalAnswer = { status: 403, body: "RBAC: access denied" };

/** A request that policy refuses gets 403; a request of which nobody knows what it asks for gets 400, and why; a request over a limit 429. */
export const refusalAnswers: Readonly<Record<DenyReason, RefusalAnswer>> = {
  "denied-by-policy": accessDenied,
  "no-allow-matched": accessDenied,
  // The body of Envoy's local limit (envoy:source/extensions/filters/http/local_ratelimit/local_ratelimit.cc).
  limited: { status: 429, body: "local_rate_limited" },
  "mtls-required": accessDenied,
  "unknown-source": accessDenied,
  "unknown-destination": accessDenied,
  "ambiguous-path": { status: 400, body: "bad request: ambiguous-path" },
  "ambiguous-host": { status: 400, body: "bad request: ambiguous-host" },
};

/**
 * The path with which an allowed request goes on. "canonical": that of its facts, since rules have read it and the application must
 * read the same. "as-sent": no rule about the workload reads paths, or the path is ambiguous and no rule about this request reads it.
 */
export type ForwardedPath = "canonical" | "as-sent";

export type RequestVerdict = (
  | { readonly verdict: "allow"; readonly path: ForwardedPath }
  | {
      readonly verdict: "deny";
      readonly reason: DenyReason;
      readonly answer: RefusalAnswer;
      readonly nearestMiss: readonly Miss[];
    }
) &
  // The reports of AUDIT and dry-run policies: they change neither verdict nor answer.
  Pick<Decision, "decidedBy" | "layer" | "audited" | "dryRunDenied">;

/** The facts of the connection on which a request came. */
export type ConnectionOfRequest = Omit<ConnectionFacts, "request">;

/** Judges with the request read exactly, since all of it is known (ARCHITECTURE.md, "reading"). */
export function judgeRequest(
  connection: ConnectionOfRequest,
  request: RequestFacts,
  { judge, readsPaths }: Pick<Evaluator, "judge" | "readsPaths">,
): RequestVerdict {
  const decision = judge({
    sourceAddress: connection.sourceAddress,
    sourcePort: connection.sourcePort,
    sourceIdentity: connection.sourceIdentity,
    destinationAddress: connection.destinationAddress,
    destinationPort: connection.destinationPort,
    destination: connection.destination,
    security: connection.security,
    request,
  });
  const { decidedBy, layer, audited, dryRunDenied } = decision;
  if (decision.verdict === "deny") {
    const { reason, nearestMiss } = decision;
    const answer = refusalAnswers[reason];
    return { verdict: "deny", reason, answer, nearestMiss, decidedBy, layer, audited, dryRunDenied };
  }
  const isCanonical = request.path.ambiguity === null && readsPaths(connection.destination);
  const path = isCanonical ? "canonical" : "as-sent";
  return { verdict: "allow", path, decidedBy, layer, audited, dryRunDenied };
}
