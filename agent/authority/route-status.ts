// main thread · a route and the Services of its cluster → what its status has to say of its Services as parents
// (gateway-api:apis/v1/shared_types.go, RouteParentStatus), by the reader that agents use. Pure.
import { isDeepStrictEqual } from "node:util";
import { grpcRouteKind, toGrpcRoute } from "../control/kinds/grpc-route.ts";
import { httpRouteKind, toHttpRoute } from "../control/kinds/http-route.ts";
import { jsonValue } from "../control/kinds/json-value.ts";
import { streamRouteKinds, toStreamRoute } from "../control/kinds/stream-route.ts";
import { Report, type Value } from "../control/kinds/value.ts";
import { namespaceOf } from "../mesh/full-name.ts";
import type { ObjectVersion } from "../mesh/source-ref.ts";

/** Entries of this name are ours, and no others. */
export const ROUTE_CONTROLLER = "orlop.dev/mesh";

export type KnownPort = { readonly port: number; readonly name: string };
/** By `<namespace>/<name>`; undefined: there is no such Service. */
export type PortsOfService = (service: string) => readonly KnownPort[] | undefined;

type RouteObject = Readonly<Record<string, unknown>>;
type Said = { readonly isSo: boolean; readonly reason: string; readonly message: string };

/** More of a message is cut, and more problems are counted. */
const LONGEST_MESSAGE = 1_024;
const SHOWN = 5;

/**
 * `status.parents` as it has to be, others' entries included. null: it is so already.
 * @param others routes of the same namespace, of the kinds that count before its own: GRPCRoute, HTTPRoute, TLSRoute, TCPRoute
 * @param now RFC 3339, for conditions that are not what they were
 */
export function parentsOf(
  object: unknown,
  version: ObjectVersion,
  portsOf: PortsOfService,
  now: string,
  others: readonly unknown[] = [],
): readonly RouteObject[] | null {
  const { metadata, spec, status } = recordOf(object);
  const { generation = 0 } = recordOf(metadata);
  const before = listOf(recordOf(status).parents).map(recordOf);
  const mine = before.filter(({ controllerName }) => controllerName === ROUTE_CONTROLLER);
  const parents = listOf(recordOf(spec).parentRefs).map(recordOf).filter(isService);
  const read = parents.length === 0 ? ok("") : readable(object, version);
  const isProducer = parents.some((parent) => namespaceOf(nameOf(parent, version.namespace)) === version.namespace);
  const resolved = resolvedRefs(recordOf(spec), { own: version.namespace, isProducer }, portsOf);
  const wanted = parents.map((parent): RouteObject => {
    const parentRef = referenceOf(parent);
    const known = mine.find((entry) => isDeepStrictEqual(entry.parentRef, parentRef));
    const conditions = [
      {
        type: "Accepted",
        ...(read.isSo ? accepted(parent, { version, portsOf, others }, read) : read),
      },
      { type: "ResolvedRefs", ...resolved },
    ].map(({ type, isSo, reason, message }): RouteObject => {
      const is = isSo ? "True" : "False";
      const old = listOf(known?.conditions)
        .map(recordOf)
        .find((each) => each.type === type && each.status === is);
      const since = typeof old?.lastTransitionTime === "string" ? old.lastTransitionTime : now;
      return { type, status: is, reason, message, observedGeneration: generation, lastTransitionTime: since };
    });
    return { parentRef, controllerName: ROUTE_CONTROLLER, conditions };
  });
  const all = [...before.filter((entry) => !mine.includes(entry)), ...wanted];
  return isDeepStrictEqual(all, before) ? null : all;
}

const ok = (message: string, reason = "Accepted"): Said => ({ isSo: true, reason, message });
const not = (reason: string, message: string): Said => ({ isSo: false, reason, message });

/** Whether agents honour the object, by its kind. */
const readers: Readonly<Record<string, (value: Value, report: Report) => boolean>> = {
  HTTPRoute: (value, report) => {
    const document = httpRouteKind(value, "", report);
    return document !== undefined && toHttpRoute(document, value, report) !== undefined;
  },
  GRPCRoute: (value, report) => {
    const document = grpcRouteKind(value, "", report);
    return document !== undefined && toGrpcRoute(document, value, report) !== undefined;
  },
  TLSRoute: (value, report) => isStreamRoute("TLSRoute", value, report),
  TCPRoute: (value, report) => isStreamRoute("TCPRoute", value, report),
};

function isStreamRoute(kind: keyof typeof streamRouteKinds, value: Value, report: Report): boolean {
  const document = streamRouteKinds[kind](value, "", report);
  if (document !== undefined) toStreamRoute(document, value, report);
  return document !== undefined;
}

/** Whether agents can read it: what they refuse they do not honour by half. */
function readable(object: unknown, version: ObjectVersion): Said {
  const report = new Report("object");
  const value = jsonValue(object, version);
  const texts = (all: Report["problems"]): string => shown(all.map(({ what, why }) => `${what} (${why})`));
  if (!readers[version.kind]?.(value, report)) return not("UnsupportedValue", texts(report.problems));
  return ok(texts(report.findings));
}

type Surroundings = {
  readonly version: ObjectVersion;
  readonly portsOf: PortsOfService;
  readonly others: readonly unknown[];
};

function accepted(parent: RouteObject, { version, portsOf, others }: Surroundings, read: Said): Said {
  const { kind, namespace } = version;
  const service = nameOf(parent, namespace);
  const ports = portsOf(service);
  if (ports === undefined) return not("NoMatchingParent", `there is no Service ${service}`);
  const own = ports.filter((each) => isAbout(parent, each));
  if (own.length === 0) return not("NoMatchingParent", `the Service ${service} has no such port`);
  const stronger = others
    .flatMap((other) => listOf(recordOf(recordOf(other).spec).parentRefs).map(recordOf))
    .filter((each) => isService(each) && nameOf(each, namespace) === service)
    .filter((each) => kind === "HTTPRoute" || namesPort(each));
  // A route is left out only if a stronger route is about each of its ports; else it still holds for the others.
  const isLeftOut = own.every((each) => stronger.some((other) => isAbout(other, each)));
  const which =
    kind === "HTTPRoute"
      ? "a GRPCRoute"
      : kind === "TLSRoute"
        ? "an HTTPRoute or GRPCRoute"
        : "a route of another kind";
  return isLeftOut ? not("Conflicted", `${which} is about the same port, and counts alone there`) : read;
}

/** A parent without a port means all ports whose protocol fits the route, and nothing here says which those are: it counts for no port. */
const namesPort = ({ port, sectionName }: RouteObject): boolean => port !== undefined || sectionName !== undefined;

const isAbout = ({ port, sectionName }: RouteObject, each: KnownPort): boolean =>
  (port === undefined || each.port === port) && (sectionName === undefined || each.name === sectionName);

/** The condition ResolvedRefs over all backends of the route. Its reason is that of the first backend that does not resolve. */
function resolvedRefs(
  spec: RouteObject,
  { own, isProducer }: { readonly own: string; readonly isProducer: boolean },
  portsOf: PortsOfService,
): Said {
  const backends = listOf(spec.rules)
    .map(recordOf)
    .flatMap(({ backendRefs, filters }) => {
      const mirrors = listOf(filters).map((filter) => recordOf(recordOf(filter).requestMirror).backendRef);
      return [...listOf(backendRefs), ...mirrors.filter((target) => target !== undefined)].map(recordOf);
    });
  const problems = backends.flatMap((backend): readonly Said[] => {
    if (!isService({ group: "", kind: "Service", ...backend }))
      return [not("InvalidKind", `a backend is a ${String(backend.kind)}, and no Service`)];
    const service = nameOf(backend, own);
    const ports = portsOf(service);
    // Callers of the route's own namespace are sent there all the same (mayLeadTo).
    if (isProducer && namespaceOf(service) !== own)
      return [not("RefNotPermitted", `callers of other namespaces are not led to Service ${service}`)];
    if (ports === undefined) return [not("BackendNotFound", `there is no Service ${service}`)];
    if (ports.some(({ port }) => port === backend.port)) return [];
    const port = backend.port === undefined ? "the backend has no port" : `it has no port ${String(backend.port)}`;
    return [not("BackendNotFound", `Service ${service}: ${port}`)];
  });
  const [first] = problems;
  if (first === undefined) return ok("", "ResolvedRefs");
  return not(first.reason, shown([...new Set(problems.map(({ message }) => message))]));
}

function shown(all: readonly string[]): string {
  const more = all.length > SHOWN ? `; ${all.length - SHOWN} more` : "";
  return (all.slice(0, SHOWN).join("; ") + more).slice(0, LONGEST_MESSAGE);
}

/** The fields by which a parent's entry is found again. */
function referenceOf(parent: RouteObject): RouteObject {
  const fields = ["group", "kind", "namespace", "name", "sectionName", "port"];
  return Object.fromEntries(fields.flatMap((field) => (parent[field] === undefined ? [] : [[field, parent[field]]])));
}

/** A parentRef without kind is a Gateway. */
const isService = ({ group, kind }: RouteObject): boolean => kind === "Service" && (group === "" || group === "core");

const nameOf = ({ namespace, name }: RouteObject, own: string): string =>
  `${typeof namespace === "string" ? namespace : own}/${String(name)}`;

function recordOf(value: unknown): RouteObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as RouteObject) : {};
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
