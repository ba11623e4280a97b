// 9 again · any thread · what another mesh would do to the connections that are open now. Pure.
import type { Endpoint } from "../mesh/endpoint.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import { fullName } from "../mesh/full-name.ts";
import { parseSpiffeId } from "../mesh/spiffe-id.ts";
import type { Permission } from "./permission.ts";
import { revocationOf } from "./permission.ts";
import type { PlanWorld } from "./plan.ts";

/** What an agent shows of an open connection. */
export type ShownConnection = {
  readonly reporter: "source" | "destination";
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly hbone: Endpoint | null;
  readonly security: ConnectionFacts["security"];
  /** Text of a SPIFFE ID; empty: nobody has proved any. */
  readonly sourceIdentity: string;
  readonly application: "tcp" | "http/1.1" | "http/2" | "websocket" | "opaque";
};

/** Connections of one caller to one port that would end for one reason. */
export type Impact = {
  readonly workload: string;
  readonly port: number;
  readonly caller: string;
  readonly reason: string;
  readonly connections: number;
};

/**
 * Connections that a pod of this node dials to another node are not counted: the other node judges them, and its agent shows them.
 * @returns how many connections were judged, and which of them would end, most first
 */
export function impactOf(
  shown: readonly ShownConnection[],
  world: Pick<PlanWorld, "mesh" | "judge" | "settle">,
): { readonly judged: number; readonly ends: readonly Impact[] } {
  const here = shown.filter(({ reporter, security }) => reporter === "destination" || security === "socket");
  const groups = new Map<string, Impact>();
  for (const connection of here) {
    const target = connection.hbone ?? connection.destination;
    const destination = world.mesh.workloadAt(target.address);
    const revocation = revocationOf(permissionNow(connection, target, destination?.uid ?? ""), world);
    if (revocation === null) continue;
    const { refusal, decision } = revocation;
    const impact = {
      workload: destination === undefined ? target.address : fullName(destination),
      port: target.port,
      caller: connection.sourceIdentity || connection.source.address,
      reason: refusal === "policy" ? (decision?.verdict === "deny" ? decision.reason : refusal) : refusal,
    };
    const key = JSON.stringify(impact);
    groups.set(key, { ...impact, connections: (groups.get(key)?.connections ?? 0) + 1 });
  }
  const ends = [...groups.values()].toSorted((a, b) => b.connections - a.connections);
  return { judged: here.length, ends };
}

function permissionNow(connection: ShownConnection, target: Endpoint, destinationUid: string): Permission {
  const { source, sourceIdentity, security, application } = connection;
  const reading = application === "tcp" ? "unread" : application === "opaque" ? "or-pass" : "or-end";
  return {
    source: null,
    judged: {
      destinationUid,
      sourceAddress: source.address,
      sourcePort: source.port,
      sourceIdentity: parseSpiffeId(sourceIdentity) ?? null,
      destinationAddress: target.address,
      destinationPort: target.port,
      security,
    },
    reading,
  };
}
