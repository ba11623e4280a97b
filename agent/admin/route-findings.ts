// main thread · routes that lead nowhere, as `orlop check` says it: about a Service that nobody can call, or to a backend that does not
// exist. Each may be so for a moment while objects come one after the other, so nothing is refused for it. Pure.
import { fullName, ruleName } from "../mesh/full-name.ts";
import type { HttpRoute, RouteParent } from "../mesh/http-rule.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { lineText, type SourceRef } from "../mesh/source-ref.ts";
import type { StreamBackend, StreamRoute } from "../mesh/stream-route.ts";
import type { Finding } from "./api.ts";

const CODE = "ORL4113";
/** So many are named; the rest is counted. */
const NAMED = 20;

export function routeFindings(
  mesh: Pick<Snapshot, "httpRoutes" | "tlsRoutes" | "tcpRoutes" | "service">,
): readonly Finding[] {
  const http = [...mesh.httpRoutes()].flatMap((route) => [
    ...parentsOf(route, mesh),
    ...route.rules.flatMap(({ backends, from }, index) =>
      backendsOf(
        backends,
        { from, name: `${route.kind} ${ruleName({ ...route, rule: index })}`, share: requests },
        mesh,
      ),
    ),
  ]);
  const streams = [...mesh.tlsRoutes(), ...mesh.tcpRoutes()].flatMap((route) => [
    ...parentsOf(route, mesh),
    ...backendsOf(
      route.backends,
      { from: route.from, name: `${route.kind} ${fullName(route)}`, share: connections },
      mesh,
    ),
  ]);
  const found = [...http, ...streams];
  const rest = found.length - NAMED;
  const named = found.slice(0, NAMED);
  if (rest <= 0) return named;
  return [...named, finding(`${rest} more places in routes lead nowhere`, "", "orlop get routes -o yaml")];
}

const requests = "its share of the requests is answered 500";
const connections = "its share of the connections is refused";

function parentsOf(route: HttpRoute | StreamRoute, mesh: Pick<Snapshot, "service">): readonly Finding[] {
  return route.parents.flatMap((parent) => {
    const wrong = wrongWith(parent, mesh.service(parent.service));
    if (wrong === null) return [];
    const { kind } = route;
    const what = `${placeOf(route.from)}${kind} ${fullName(route)} is about Service ${parent.service}, ${wrong}`;
    const why =
      kind === "HTTPRoute" || kind === "GRPCRoute" ? "no request is taken by it" : "no connection is taken by it";
    return [finding(what, why, "correct the parentRef, or add the Service")];
  });
}

/** null: nothing. */
function wrongWith({ port, portName }: RouteParent, service: Service | undefined): string | null {
  if (service === undefined) return "which does not exist";
  if (service.vips.length === 0) return "which has no address that anybody calls";
  const has = service.ports.some(
    (each) => (port === null || each.port === port) && (portName === null || each.name === portName),
  );
  return has ? null : `which has no port ${port ?? portName}`;
}

type OfBackends = { readonly from: SourceRef; readonly name: string; readonly share: string };

function backendsOf(
  backends: readonly StreamBackend[],
  { from, name, share }: OfBackends,
  mesh: Pick<Snapshot, "service">,
): readonly Finding[] {
  return backends.flatMap(({ service, port, weight }) => {
    // What is no Service, or names no port, is reported where it is read.
    if (service === null || port === null || weight === 0) return [];
    const to = mesh.service(service);
    if (to?.ports.some((each) => each.port === port) === true) return [];
    const missing = to === undefined ? `Service ${service} does not exist` : `Service ${service} has no port ${port}`;
    return [finding(`${placeOf(from)}${name}: ${missing}`, share, "correct the backendRef, or add the Service")];
  });
}

const finding = (what: string, why: string, fix: string): Finding => ({ code: CODE, status: "warn", what, why, fix });

function placeOf(from: SourceRef): string {
  const line = lineText(from);
  return line === "" ? "" : `${line}: `;
}
