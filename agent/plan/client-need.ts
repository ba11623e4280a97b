// 8 · any thread · why connections to a Service's port are read at the caller's end. What is called at a pod's own address never is. Pure.
import { isAbout, routesFor } from "../l7/route-view.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";

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

/** Of any callers: the kernel's table for a node without an agent knows no namespaces. */
export function anyClientNeedOf(
  service: Named,
  port: ServicePort,
  mesh: Pick<Snapshot, "httpRoutesAbout">,
): ClientNeed | null {
  const key = fullName(service);
  return mesh.httpRoutesAbout(key).some((route) => isAbout(route, key, port)) ? "http-route" : null;
}
