// 20 · any thread · which routes are about a port of a Service, for a caller of this namespace. Pure.
import { fullName, namespaceOf } from "../mesh/full-name.ts";
import type { HttpRoute } from "../mesh/http-rule.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import { portHint } from "./port-hint.ts";

/**
 * Routes of the caller's own namespace about a Service of another replace those of the Service's namespace, for its callers alone; routes
 * of any third namespace are not for it (gateway-api:geps/gep-1294, "Namespace boundaries", "Multiple routes for a Service").
 * A parent without a port is about the ports that may carry HTTP: what is declared to be something else is left as it is.
 * @param routes that name the Service as a parent
 * @returns empty: requests go to the Service's own endpoints.
 */
export function routesFor(
  routes: readonly HttpRoute[],
  service: Pick<Service, "namespace" | "name">,
  port: PortOfRoute,
  clientNamespace: string,
): readonly HttpRoute[] {
  const key = fullName(service);
  const about = routes.filter((route) => isAbout(route, key, port));
  if (about.length === 0) return about;
  const of = (namespace: string): readonly HttpRoute[] => about.filter((route) => route.namespace === namespace);
  const own = namespaceOf(key);
  const consumers = clientNamespace === own ? [] : of(clientNamespace);
  return consumers.length > 0 ? consumers : of(own);
}

type PortOfRoute = Pick<ServicePort, "port" | "name" | "appProtocol">;

/** Whether any parent of the route is this port of the Service, `<namespace>/<name>`. */
export function isAbout({ parents }: HttpRoute, service: string, port: PortOfRoute): boolean {
  return parents.some(
    (parent) =>
      parent.service === service &&
      (parent.port === null || parent.port === port.port) &&
      (parent.portName === null || parent.portName === port.name) &&
      (parent.port !== null || parent.portName !== null || mayBeHttp(port)),
  );
}

function mayBeHttp(port: PortOfRoute): boolean {
  return portHint(port) !== "opaque";
}
