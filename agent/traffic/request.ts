// 18 · data thread · a request on a connection that is read → facts → verdict → answer. The connection's own facts are those on
// which it was let in: who calls is what the tunnel or the kernel proved, never what the request says.
import type { Answer } from "../engine/answers.ts";
import type { RequestEvent } from "../engine/events.ts";
import { canonicalTarget, requestFacts, withoutProxyHeaders } from "../l7/request-facts.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Permission } from "../plan/permission.ts";
import type { ConnectionOfRequest } from "../policy/judge-request.ts";
import { withLimits } from "../policy/limits.ts";
import type { Connection } from "./connection.ts";
import type { TrafficContext } from "./context.ts";

export function answerRequest(
  event: RequestEvent,
  connection: Connection,
  context: TrafficContext,
): Answer | undefined {
  const { conn, generation, method, target, authority, words, fields, request } = event;
  const judged = context.live.permissionOf(connection)?.judged;
  const destination = judged == null ? undefined : context.world.mesh.workload(judged.destinationUid);
  const removesProxyHeaders = destination?.removesProxyHeaders === true;
  const header = removesProxyHeaders ? withoutProxyHeaders(fields.values) : fields.values;
  const facts = requestFacts({ method, target, authority, words, header });
  // The pod or its workload has gone: then nothing allows the request.
  const asked = judged == null || destination === undefined ? null : connectionFacts(judged, destination);
  const allowed = judged == null || asked === null ? null : context.verdicts.of(asked, judged, facts, words);
  const isCanonical = allowed?.verdict === "allow" && allowed.path === "canonical";
  const written = isCanonical ? canonicalTarget(target, facts) : "";
  const open = connection.openRequestOf(request);
  if (open !== null) {
    // It went on before something changed, with a target that rules may not have read by then. What the application has begun to
    // answer cannot be taken back: the connection ends, or of HTTP/2 the request.
    const holds = allowed?.verdict === "allow" && (written === "" || written === open.written);
    return holds ? undefined : connection.requestFell(request, allowed);
  }
  // Each request counts once.
  const verdict =
    asked !== null && allowed?.verdict === "allow" ? withLimits(allowed, context.limits(asked, facts)) : allowed;
  connection.requested(event, verdict, written);
  if (verdict === null) return { type: "reply", conn, generation, request, status: 503, body: "no such pod" };
  if (verdict.verdict === "deny") return { type: "reply", conn, generation, request, ...verdict.answer };
  return { type: "forward", conn, generation, request, target: written, removesProxyHeaders };
}

/** Written out, since a request each comes by here and a spread costs several times as much. */
function connectionFacts(judged: NonNullable<Permission["judged"]>, destination: Workload): ConnectionOfRequest {
  return {
    sourceAddress: judged.sourceAddress,
    sourcePort: judged.sourcePort,
    sourceIdentity: judged.sourceIdentity,
    destinationAddress: judged.destinationAddress,
    destinationPort: judged.destinationPort,
    destination,
    security: judged.security,
  };
}
