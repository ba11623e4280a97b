// 8 · any thread · why connections to a Service's port are read at the caller's end. What is called at a pod's own address never is. Pure.
import { isAbout, routesFor } from "../l7/route-view.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { OutboundFacts } from "./plan.ts";
import { isOwnPort } from "./ports.ts";

/** A closed list. */
export type ClientNeed = "http-route";

type Named = Pick<Service, "namespace" | "name">;

/** Of callers of this namespace. null: nothing needs it. */
export function clientNeedOf(
  service: Named,
  port: ServicePort,
  clientNamespace: string,
  mesh: Pick<Snapshot, "httpRoutesAbout">,
): ClientNeed | null {
  const about = mesh.httpRoutesAbout(fullName(service));
  return routesFor(about, service, port, clientNamespace).length > 0 ? "http-route" : null;
}

/**
 * The Service whose requests are read, when a pod dials this address. null: the connection goes on as it is, or is refused as such (a
 * client that is not at the pod's own address).
 */
export function servedServiceOf({ source, client, dialled }: OutboundFacts, mesh: Snapshot): Service | null {
  if (!source.addresses.includes(client.address)) return null;
  const service = mesh.serviceAt(dialled.address, source.namespace);
  const port = service?.ports.find((each) => each.port === dialled.port);
  if (service === undefined || port === undefined || isOwnPort(dialled.port)) return null;
  return clientNeedOf(service, port, source.namespace, mesh) === null ? null : service;
}

/**
 * Whether connections to the port refuse while no agent lives on the caller's node, because nobody could do what it needs there. Of any
 * callers: the kernel's table for a node without an agent knows no namespaces.
 */
export function refusesWithoutAgent(
  service: Named & Pick<Service, "failsDirect">,
  port: ServicePort,
  mesh: Pick<Snapshot, "httpRoutesAbout">,
): boolean {
  return service.failsDirect !== true && anyClientNeedOf(service, port, mesh) !== null;
}

/** Of any callers. */
export function anyClientNeedOf(
  service: Named,
  port: ServicePort,
  mesh: Pick<Snapshot, "httpRoutesAbout">,
): ClientNeed | null {
  const key = fullName(service);
  return mesh.httpRoutesAbout(key).some((route) => isAbout(route, key, port)) ? "http-route" : null;
}
