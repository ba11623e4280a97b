// 9 again · any thread · what an open connection was allowed on, and whether that still holds. Pure.
import type { HttpReading } from "../engine/answers.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Decision } from "../policy/decision.ts";
import { judgeConnection } from "./judge-connection.ts";
import type { Refusal } from "./outcome.ts";
import type { PlanWorld } from "./plan.ts";

/** What was judged when a connection was allowed, with workloads by uid: they are looked up as they are at each judgement. */
export type Permission = {
  /** Our own pod's workload, when it is the client. It must keep the identity under which it was allowed. */
  readonly source: { readonly uid: string; readonly identity: string } | null;
  /** The facts that the evaluator was shown; null: the far end judges this connection, or nobody. */
  readonly judged: (Omit<ConnectionFacts, "destination" | "request"> & { readonly destinationUid: string }) | null;
  /** Whether its requests are judged, each for itself. */
  readonly reading: HttpReading;
};

/** The permission of a connection that was allowed with these facts; `source`: our own pod's workload, if it is the client. */
export function permissionOf(
  source: Workload | null,
  facts: ConnectionFacts | null,
  reading: HttpReading = "unread",
): Permission {
  return {
    source: source === null ? null : { uid: source.uid, identity: source.identity.text },
    judged: facts === null ? null : judgedOf(facts),
    reading,
  };
}

/** The workload itself is left out: an open connection must not hold an object of a mesh that is no longer in force. */
function judgedOf(facts: ConnectionFacts): Permission["judged"] {
  return {
    destinationUid: facts.destination.uid,
    sourceAddress: facts.sourceAddress,
    sourcePort: facts.sourcePort,
    sourceIdentity: facts.sourceIdentity,
    destinationAddress: facts.destinationAddress,
    destinationPort: facts.destinationPort,
    security: facts.security,
  };
}

/**
 * Equal for connections that no rule can tell apart. The source port is left out: no rule sees it, and it alone would tell
 * every connection from every other.
 */
export function permissionKey({ source, judged, reading }: Permission): string {
  const own = source === null ? "" : `${source.uid} ${source.identity}`;
  if (judged === null) return own;
  const { destinationUid, sourceAddress, sourceIdentity, destinationAddress, destinationPort, security } = judged;
  return `${own}|${destinationUid} ${sourceAddress} ${sourceIdentity?.text ?? ""} ${destinationAddress} ${destinationPort} ${security} ${reading}`;
}

/** Why a connection must end; `decision`: of the evaluator, if it was asked. */
export type Revocation = { readonly refusal: Refusal; readonly decision: Decision | null };

/** Judges a permission by the mesh as it is now. null: the connection may stay. */
export function revocationOf(
  permission: Permission,
  world: Pick<PlanWorld, "mesh" | "judge" | "settle">,
): Revocation | null {
  const { source, judged, reading } = permission;
  if (source !== null && world.mesh.workload(source.uid)?.identity.text !== source.identity) {
    return { refusal: "unknown-source", decision: null };
  }
  if (judged === null) return null;
  const destination = world.mesh.workload(judged.destinationUid);
  // Without the destination its policies cannot be known, so nothing allows the connection any more.
  if (destination === undefined) return { refusal: "unknown-pod", decision: null };
  const facts: ConnectionFacts = { ...judged, destination, request: "strict" };
  const { decision, settled } = judgeConnection(facts, world);
  if (settled === "deny") return { refusal: "policy", decision };
  // Requests decide from here on. Nobody can begin to read in the middle of a connection, and a connection that was only watched
  // passes what is no HTTP.
  if (settled === "http" && reading !== "or-end" && decision.verdict === "deny")
    return { refusal: "http-required", decision };
  return null;
}
