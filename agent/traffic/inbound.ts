// 12 · data thread · a CONNECT from a verified peer → facts → plan → answer. The verdict at this end is authoritative.
import type { Answer } from "../engine/answers.ts";
import type { ConnectRequest } from "../engine/events.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import { type ConnectionRecord, connectionRecord, recordService } from "../observe/record.ts";
import { parseAuthority } from "../plan/authority.ts";
import { baggageOf, hostOfForwarded, portOfForwarded, traceIdOf } from "../plan/connect-headers.ts";
import type { Refusal } from "../plan/outcome.ts";
import { strangerWith } from "../plan/outside-mesh.ts";
import { permissionOf } from "../plan/permission.ts";
import { planInbound } from "../plan/plan.ts";
import { isOwnPort } from "../plan/ports.ts";
import type { Connection } from "./connection.ts";
import type { TrafficContext } from "./context.ts";

/** The record of a CONNECT of which only the event is known. */
export function inboundDraft(event: ConnectRequest): ConnectionRecord {
  return connectionRecord({
    reporter: "destination",
    podIdx: event.podIdx,
    source: event.peer,
    destination: event.local,
    security: "mtls",
    traceId: traceIdOf(event.traceparent),
  });
}

/** Judges a CONNECT by the identity that the tunnel's certificate proved: dial the pod's application, or refuse with an HTTP status. */
export function answerInbound(event: ConnectRequest, connection: Connection, context: TrafficContext): Answer {
  const identity = context.verified.get(event.peerIdentity);
  if (identity === undefined) return connection.refuse("unknown-peer", null);
  const source = { ...event.peer, workload: clientOf(event, identity, context), identity };
  connection.describe({ source });

  const target = targetOf(event);
  if (typeof target === "string") return connection.refuse(target, null);
  connection.describe({ hbone: target });
  const pod = context.pods.byIdx(event.podIdx);
  const destination = pod === undefined ? undefined : context.world.mesh.workload(pod.workloadUid);
  if (pod === undefined || destination === undefined) return connection.refuse("unknown-pod", null);
  connection.describe({
    destination: { ...event.local, workload: destination, identity: destination.identity },
    service: serviceNamed(event.forwarded, destination, context),
  });

  const plan = planInbound({ destination, target, client: event.peer, identity }, context.world);
  if (plan.verdict === "refuse") return connection.refuse(plan.refusal, plan.decision);
  connection.opened(plan.reading === "or-end" ? null : plan.decision);
  if (plan.reading !== "unread") connection.speaks("http/1.1");
  context.live.add(connection, permissionOf(null, plan.facts, plan.reading));
  return {
    type: "dial",
    conn: event.conn,
    generation: event.generation,
    podIdx: pod.podIdx,
    to: target,
    from: pod.preservesSource ? clientEnd(event) : null,
    baggage: baggageOf(destination),
    reading: plan.reading,
  };
}

/** The peer's own port is the tunnel's and is shared by all of its streams; 0: the engine chooses. */
function clientEnd({ peer: { address }, forwarded }: ConnectRequest): Endpoint {
  return { address, port: portOfForwarded(forwarded, address) };
}

/** The application that a CONNECT names, or why it may not name it (docs/reference/failures.md, row E2). */
function targetOf(event: ConnectRequest): Endpoint | Refusal {
  const authority = parseAuthority(event.authority);
  if (authority.kind === "invalid") return "bad-authority";
  if (authority.kind === "hostname") return "hostname-authority";
  // Whatever is not the very address the tunnel was accepted on: loopback, metadata, the node, another pod.
  if (authority.address !== event.local.address) return "authority-mismatch";
  if (isOwnPort(authority.port)) return "own-port";
  return { address: authority.address, port: authority.port };
}

/**
 * The client for labels: who has the address, if the certificate says the same, because addresses are re-used
 * (docs/reference/failures.md, row D4); else what it says of itself.
 */
function clientOf({ peer, baggage }: ConnectRequest, identity: SpiffeId, context: TrafficContext): Workload {
  const { mesh } = context.world;
  const owner = mesh.workloadAt(peer.address);
  const claimants = owner === undefined ? mesh.rivalsAt(peer.address) : [owner];
  const known = claimants.find((claimant) => claimant.identity.text === identity.text);
  return known ?? strangerWith(identity, peer.address, baggage);
}

/** For labels only: the Service that the peer says was asked for, if it exists and could mean this pod. */
function serviceNamed(forwarded: string, destination: Workload, context: TrafficContext): ConnectionRecord["service"] {
  const host = hostOfForwarded(forwarded);
  const service = host === "" ? undefined : context.world.mesh.serviceNamed(host);
  return service?.namespace === destination.namespace ? recordService(service) : null;
}
