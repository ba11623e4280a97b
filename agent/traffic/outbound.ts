// 7 · data thread · a captured connection → facts → plan → answer; or what is still missing for an answer.
import type { Answer } from "../engine/answers.ts";
import type { Accepted } from "../engine/events.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Service } from "../mesh/service.ts";
import { type Workload, withAddresses } from "../mesh/workload.ts";
import { type ConnectionRecord, connectionRecord, recordService } from "../observe/record.ts";
import { needAt } from "../plan/client-need.ts";
import { baggageOf, forwardedOf, traceIdOf } from "../plan/connect-headers.ts";
import { permissionOf } from "../plan/permission.ts";
import { type GoPlan, type Plan, planOutbound, sourceAddressFor } from "../plan/plan.ts";
import { claimantsOf } from "../plan/route.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionPlace } from "./connection-caps.ts";
import type { TrafficContext } from "./context.ts";
import type { OpenTo } from "./endpoint-load.ts";
import type { Missing } from "./waiting.ts";

/** The record of a connection of which only the event is known. */
export function outboundDraft(event: Accepted): ConnectionRecord {
  const dialled = event.destination ?? { address: "", port: 0 };
  return connectionRecord({ reporter: "source", podIdx: event.podIdx, source: event.source, destination: dialled });
}

/** May be called again with the same arguments when the result is what was missing, or when its tunnel's peer could not be reached. */
export function answerOutbound(event: Accepted, connection: Connection, context: TrafficContext): Answer | Missing {
  const { source: client, destination: dialled } = event;
  if (dialled === null) return connection.refuse("no-original-destination", null);
  const pod = context.pods.byIdx(event.podIdx);
  if (pod === undefined) return connection.refuse("unknown-pod", null);
  const known = context.world.mesh.workload(pod.workloadUid);
  if (known === undefined) return "unknown-source";
  const source = withAddresses(known, pod.addresses);
  connection.describe({ source: { ...client, workload: source, identity: source.identity } });

  const needed = needAt({ source, client, dialled }, context.world.mesh);
  if (needed?.need === "http-route") return serve(event, connection, { source, service: needed.service }, context);
  const hello = needed?.need === "tls-route" ? context.hellos.seen(connection) : null;
  if (hello === undefined) return context.hellos.look(connection);
  if (hello === "not-tls") return connection.refuse("not-tls", null);

  const plan = planOutbound({ source, client, dialled, serverName: hello?.serverName ?? null }, context.world);
  describe(connection, plan, event);
  if (plan.verdict === "refuse") return connection.refuse(plan.refusal, plan.decision, claimantsOf(plan.route));
  const answer = answerOf(plan, source, { event, connection }, context);
  if (typeof answer === "string") return answer;
  if (answer.type === "refuse") return connection.refuse("unknown-pod", null);
  if (answer.type === "tunnel") connection.describe({ traceId: traceIdOf(answer.traceparent) });
  // Where it is decided anew its place, and its endpoint, are no longer what they were.
  connection.leaves();
  const place = placeOf(plan.route, source, dialled.port, context);
  if (place === "full") return connection.refuse("overflow", plan.decision);
  const { target } = plan.route;
  const openTo = context.load.take(target.address, target.port);
  connection.opened(plan.reading === "or-end" ? null : plan.decision, place === null ? openTo : bothOf(openTo, place));
  if (plan.reading !== "unread") connection.speaks("http/1.1");
  context.live.add(connection, permissionOf(source, plan.facts, plan.reading));
  return answer;
}

/** Each of its requests is planned when it comes. */
function serve(
  event: Accepted,
  connection: Connection,
  { source, service }: { readonly source: Workload; readonly service: Service },
  context: TrafficContext,
): Answer | Missing {
  connection.describe({ service: recordService(service) });
  // Most endpoints are reached by it, and no request should have to wait for it.
  if (context.ownIdentity(source.identity.text) === undefined) return "no-certificate";
  connection.opened(null);
  connection.served();
  connection.speaks("http/1.1");
  context.live.add(connection, permissionOf(source, null, "or-end"));
  return { type: "serve", conn: event.conn, generation: event.generation };
}

/** Among the connections that may be open to its Service; null: nobody counts them. Of a TCPRoute its backend's port counts. */
function placeOf(
  { service, by }: GoPlan["route"],
  { identity }: Workload,
  dialled: number,
  { connections }: TrafficContext,
): ConnectionPlace | "full" | null {
  if (service === null || service.traffic?.maxConnections === undefined) return null;
  const backend = by?.backends.find((each) => each.service === fullName(service));
  return connections.take({ caller: identity.text, service, port: backend?.port ?? dialled });
}

const bothOf = (openTo: OpenTo, place: ConnectionPlace): OpenTo => ({
  release: () => {
    place.release();
    openTo.release();
  },
});

function answerOf(
  { route, reading }: GoPlan,
  source: Workload,
  { event, connection }: { readonly event: Accepted; readonly connection: Connection },
  context: TrafficContext,
): Answer | Missing {
  const { source: client } = event;
  const ref = { conn: event.conn, generation: event.generation };
  const reportsNotReached = context.unreached.mayWait(connection);
  switch (route.kind) {
    case "direct":
      return { type: "relay", ...ref, to: route.target };
    case "local": {
      const pod = context.pods.byWorkload(route.destination.uid);
      if (pod === undefined) return { type: "refuse", ...ref, status: 503 };
      const address = sourceAddressFor(source, client.address, route.target.address);
      const from = pod.preservesSource ? { address, port: client.port } : null;
      return {
        type: "dial",
        ...ref,
        podIdx: pod.podIdx,
        to: route.target,
        from,
        baggage: "",
        reading,
        reportsNotReached,
      };
    }
    case "tunnel": {
      const identity = context.ownIdentity(source.identity.text);
      if (identity === undefined) return "no-certificate";
      return {
        type: "tunnel",
        ...ref,
        to: route.to,
        identity,
        expect: context.expected.intern(route.expected),
        authority: route.authority,
        baggage: baggageOf(source),
        forwarded: forwardedOf(client, route.service?.hostname ?? null),
        traceparent: context.traceparent(),
        reportsNotReached,
      };
    }
  }
}

function describe(connection: Connection, { route }: Plan, event: Accepted): void {
  if (route === null || event.destination === null) return;
  const service = recordService(route.service);
  if (route.kind === "refuse") {
    connection.describe({ service });
    return;
  }
  const { target, destination } = route;
  const reached = route.kind === "tunnel" ? route.to : target;
  const { address, port } = event.destination;
  connection.describe({
    service,
    // The identity is what the tunnel insists on, or what the kernel proves on this node; nothing proves it in plaintext.
    destination: {
      ...reached,
      workload: destination,
      identity: route.kind === "direct" ? null : (destination?.identity ?? null),
    },
    hbone: route.kind === "tunnel" ? target : null,
    dialled: address === target.address && port === target.port ? null : event.destination,
    security: route.kind === "tunnel" ? "mtls" : route.kind === "local" ? "socket" : "none",
    traceId: "",
  });
}
