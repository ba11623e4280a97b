// 8 · any thread · why connections to a Service's port are read at the caller's end. What is called at a pod's own address never is. Pure.
import { anyRoutesOfPort, type RoutesOfMesh, type RoutesOfPort, routesOfPort } from "../l7/route-view.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { OutboundFacts } from "./plan.ts";
import { isOwnPort } from "./ports.ts";

/** A closed list. "connection-cap": a DestinationRule says how many connections may be open, which the agent counts. */
export type ClientNeed = RoutesOfPort["of"] | "connection-cap";

type Named = Pick<Service, "namespace" | "name" | "traffic">;

/** Of callers of this namespace. null: nothing needs it. */
export function clientNeedOf(
  service: Named,
  port: ServicePort,
  clientNamespace: string,
  mesh: RoutesOfMesh,
): ClientNeed | null {
  return routesOfPort(service, port, clientNamespace, mesh)?.of ?? capOf(service);
}

type DialledAt = Pick<OutboundFacts, "source" | "client" | "dialled">;

/**
 * What a connection to this address needs, and the Service there. null: nothing, and the connection goes on as it is, or is refused as such
 * (a client that is not at the pod's own address).
 */
export function needAt(
  { source, client, dialled }: DialledAt,
  mesh: Snapshot,
): { readonly need: ClientNeed; readonly service: Service } | null {
  if (!source.addresses.includes(client.address)) return null;
  const service = mesh.serviceAt(dialled.address, source.namespace);
  const port = service?.ports.find((each) => each.port === dialled.port);
  if (service === undefined || port === undefined || isOwnPort(dialled.port)) return null;
  const need = clientNeedOf(service, port, source.namespace, mesh);
  return need === null ? null : { need, service };
}

/** The Service whose requests are read, when a pod dials this address. null: none are. */
export function servedServiceOf(facts: DialledAt, mesh: Snapshot): Service | null {
  const needed = needAt(facts, mesh);
  return needed?.need === "http-route" ? needed.service : null;
}

/**
 * Whether connections to the port refuse while no agent lives on the caller's node, because nobody could do what it needs there. Of any
 * callers: the kernel's table for a node without an agent knows no namespaces.
 */
export function refusesWithoutAgent(
  service: Named & Pick<Service, "failsDirect">,
  port: ServicePort,
  mesh: RoutesOfMesh,
): boolean {
  return service.failsDirect !== true && anyClientNeedOf(service, port, mesh) !== null;
}

/** Of any callers. */
export function anyClientNeedOf(service: Named, port: ServicePort, mesh: RoutesOfMesh): ClientNeed | null {
  return anyRoutesOfPort(service, port, mesh)?.of ?? capOf(service);
}

const capOf = ({ traffic }: Named): ClientNeed | null =>
  traffic?.maxConnections === undefined ? null : "connection-cap";
