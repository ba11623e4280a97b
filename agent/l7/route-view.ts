// 20 · any thread · which routes are about a port of a Service, for a caller of this namespace. Pure.
import { fullName, namespaceOf } from "../mesh/full-name.ts";
import type { HttpRoute } from "../mesh/http-rule.ts";
import type { RouteOfParents } from "../mesh/route-index.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { StreamRoute } from "../mesh/stream-route.ts";
import { type PortHint, portHint } from "./port-hint.ts";

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
  return mostSpecific(consumers.length > 0 ? consumers : of(own));
}

/**
 * Whether a route may have its callers call this Service, `<namespace>/<name>`. What is called is called with the caller's identity, by a path
 * and with fields that the route's author may write: so a route of the called Service's namespace leads callers of other namespaces to its own
 * namespace alone, and nobody borrows what they may do elsewhere (gateway-api:site-src/api-types/referencegrant.md has the reason).
 */
export const mayLeadTo = (route: { readonly namespace: string }, service: string, callerNamespace: string): boolean =>
  route.namespace === callerNamespace || namespaceOf(service) === route.namespace;

/** Of several kinds about a port the most specific counts alone (gateway-api:geps/gep-1294, "Route types"). */
function mostSpecific(routes: readonly HttpRoute[]): readonly HttpRoute[] {
  const grpc = routes.filter(({ kind }) => kind === "GRPCRoute");
  return grpc.length > 0 ? grpc : routes;
}

type PortOfRoute = Pick<ServicePort, "port" | "name" | "appProtocol">;
export type RoutesOfMesh = Pick<Snapshot, "httpRoutesAbout" | "tlsRoutesAbout" | "tcpRoutesAbout">;

/** Routes of a single kind: of several kinds about a port the first of this list counts (gateway-api:geps/gep-1294, "Route types"). */
export type RoutesOfPort =
  | { readonly of: "http-route"; readonly routes: readonly HttpRoute[] }
  | { readonly of: "tls-route" | "tcp-route"; readonly routes: readonly StreamRoute[] };

/** For a caller of this namespace, as `routesFor`; null: there is none. Any kind of its own namespace replaces every kind of the Service's. */
export function routesOfPort(
  service: Pick<Service, "namespace" | "name">,
  port: PortOfRoute,
  clientNamespace: string,
  mesh: RoutesOfMesh,
): RoutesOfPort | null {
  const key = fullName(service);
  if (!hasRoutes(key, mesh)) return null;
  for (const namespace of new Set([clientNamespace, service.namespace])) {
    for (const { of, routes } of aboutPort(key, port, mesh)) {
      const own = routes.filter((route) => route.namespace === namespace);
      if (own.length > 0) return { of, routes: own } as RoutesOfPort;
    }
  }
  return null;
}

/** Of callers of any namespace. */
export function anyRoutesOfPort(
  service: Pick<Service, "namespace" | "name">,
  port: PortOfRoute,
  mesh: RoutesOfMesh,
): RoutesOfPort | null {
  const key = fullName(service);
  if (!hasRoutes(key, mesh)) return null;
  return aboutPort(key, port, mesh).find(({ routes }) => routes.length > 0) ?? null;
}

/** Most Services have none. */
const hasRoutes = (key: string, mesh: RoutesOfMesh): boolean =>
  mesh.httpRoutesAbout(key).length + mesh.tlsRoutesAbout(key).length + mesh.tcpRoutesAbout(key).length > 0;

function aboutPort(key: string, port: PortOfRoute, mesh: RoutesOfMesh): readonly RoutesOfPort[] {
  const about = <Route extends RouteOfParents>(routes: readonly Route[], carries: Carries): readonly Route[] =>
    routes.filter((route) => isAbout(route, key, port, carries));
  return [
    { of: "http-route", routes: about(mesh.httpRoutesAbout(key), mayBeHttp) },
    { of: "tls-route", routes: about(mesh.tlsRoutesAbout(key), mayBeTls) },
    { of: "tcp-route", routes: about(mesh.tcpRoutesAbout(key), () => true) },
  ];
}

/** Whether a port may carry what routes of a kind are about. */
type Carries = (hint: PortHint) => boolean;
const mayBeHttp: Carries = (hint) => hint !== "opaque";
const mayBeTls: Carries = (hint) => hint === "opaque" || hint === "undeclared";

/** Whether any parent of the route is this port of the Service, `<namespace>/<name>`. */
export function isAbout(
  { parents }: Pick<RouteOfParents, "parents">,
  service: string,
  port: PortOfRoute,
  carries: Carries = mayBeHttp,
): boolean {
  return parents.some(
    (parent) =>
      parent.service === service &&
      (parent.port === null || parent.port === port.port) &&
      (parent.portName === null || parent.portName === port.name) &&
      (parent.port !== null || parent.portName !== null || carries(portHint(port))),
  );
}
