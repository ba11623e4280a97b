// 8 · any thread · where a captured connection goes → direct | tunnel | local | refuse. Pure; the order is that of
// docs/reference/hbone.md#where-a-connection-goes.
import { mayLeadTo, routesOfPort } from "../l7/route-view.ts";
import { streamRouteFor } from "../l7/stream-match.ts";
import { type Endpoint, endpointText } from "../mesh/endpoint.ts";
import { fullName } from "../mesh/full-name.ts";
import { isLoopback, isSameFamily } from "../mesh/ip.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { StreamRoute } from "../mesh/stream-route.ts";
import type { Workload } from "../mesh/workload.ts";
import { candidatesIn } from "./candidates.ts";
import { endpointOfKey } from "./consistent-hash.ts";
import { drawn } from "./drawn.ts";
import { type Candidate, type Choice, chooseAmong, eligibleEndpoints, usable } from "./endpoints.ts";
import { HBONE_PORT, isOwnPort } from "./ports.ts";

/** What all but `refuse` say: whom we take the far end for. */
type Resolved = {
  /** The application's own address and port, after service resolution. */
  readonly target: Endpoint;
  readonly destination: Workload | null;
  readonly service: Service | null;
  /** The route that took the connection to `service`; absent: none did. */
  readonly by?: StreamRoute;
};

export type DirectReason =
  | "unknown-address" //      nobody of the mesh: passed through to where it was dialled
  | "not-in-mesh" //          a workload that is not reached through HBONE
  | "passthrough-service"; // load balancing "passthrough": to the original destination

export type RouteRefusal =
  | "self-call"
  | "own-port"
  | "no-service-port"
  | "no-healthy-endpoint"
  | "no-tls-route" //     no TLSRoute about the port names the server that the caller has named
  | "no-route-backend" // what its route sends it to does not exist
  | "address-conflict"; // several workloads claim the address: nobody can tell who would answer

export type Route =
  | (Resolved & { readonly kind: "direct"; readonly why: DirectReason })
  | (Resolved & {
      readonly kind: "tunnel";
      /** The tunnel's TCP destination: <pod>:15008. */
      readonly to: Endpoint;
      readonly authority: string;
      /** The far end must prove any of these SPIFFE IDs: the workload's own, or a further name of the service. */
      readonly expected: readonly string[];
      readonly destination: Workload;
    })
  /** The destination pod is served by this agent: both sides are judged here, then dialled. */
  | (Resolved & { readonly kind: "local"; readonly destination: Workload })
  | {
      readonly kind: "refuse";
      readonly reason: RouteRefusal;
      readonly service: Service | null;
      /** Of an address-conflict: whose address it is said to be. */
      readonly claimants?: readonly Workload[];
      /** The route that led there; absent: none did. */
      readonly by?: StreamRoute;
    };

export type RouteWorld = {
  readonly mesh: Snapshot;
  /** Is this workload served by this agent, on this thread? */
  readonly servedHere: (workloadUid: string) => boolean;
  /** Connections open, or being opened, to an endpoint. */
  readonly load: (address: string, port: number) => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Of requests; absent: connections are balanced, by `load`. */
  readonly costs?: RequestCosts;
  /** Endpoints of a Service that are not to be chosen; absent: none. */
  readonly without?: (address: string, port: number) => boolean;
  /** Of a request whose Service hashes; null, absent: it has no key. */
  readonly hashKey?: string | null;
  /** Whose endpoints alone may be chosen, by namespace; absent: anybody's. */
  readonly author?: string;
  /** Of a Service's endpoints that could serve, those to which this request may go; absent: all of them. */
  readonly inUse?: (
    candidates: readonly Candidate[],
    mayProbe: (candidate: Candidate) => boolean,
  ) => readonly Candidate[];
};

export type RequestCosts = {
  /** What the endpoint costs a request of the caller, by its identity. */
  readonly of: (caller: string, address: string, port: number) => number;
  /** How many requests of the caller to the Service have taken their turn. */
  readonly turn: (caller: string, service: string) => number;
};

/** The workloads of an address-conflict; else nobody. */
export const claimantsOf = (route: Route | null): readonly Workload[] =>
  (route?.kind === "refuse" ? route.claimants : undefined) ?? [];

/**
 * Where `source`'s connection to `dialled` goes. `dialled.address` is canonical text.
 * @param serverName as the caller has named it in its TLS, in lower case; null: it has named none, or nobody has looked
 */
export function routeOf(
  source: Workload,
  dialled: Endpoint,
  world: RouteWorld,
  serverName: string | null = null,
): Route {
  if (isOwnPort(dialled.port)) {
    return refuse(isLoopback(dialled.address) ? "self-call" : "own-port", null);
  }
  const service = world.mesh.serviceAt(dialled.address, source.namespace);
  if (service !== undefined) return throughService({ source, dialled, serverName }, service, world);
  const destination = world.mesh.workloadAt(dialled.address);
  if (destination === undefined) {
    const rivals = world.mesh.rivalsAt(dialled.address);
    if (rivals.length > 0) return toOwnerHere(rivals, dialled, world);
    return { kind: "direct", why: "unknown-address", target: dialled, destination: null, service: null };
  }
  return toWorkload({ target: dialled, destination, service: null }, world);
}

type Call = { readonly source: Workload; readonly dialled: Endpoint; readonly serverName: string | null };

function throughService({ source, dialled, serverName }: Call, service: Service, world: RouteWorld): Route {
  const port = service.ports.find((each) => each.port === dialled.port);
  // A VIP is nobody's address: without the port there is nothing to fall back to.
  if (port === undefined) return refuse("no-service-port", service);
  const routes = routesOfPort(service, port, source.namespace, world.mesh);
  // Of HTTP each request is planned for itself (plan-request.ts).
  if (routes === null || routes.of === "http-route") return toService(source, dialled, service, port, world);
  const by = streamRouteFor(routes.routes, serverName);
  return by === undefined ? refuse("no-tls-route", service) : alongRoute(source, dialled, by, world);
}

/** To an endpoint of a backend, which is drawn for this connection. */
function alongRoute(source: Workload, dialled: Endpoint, by: StreamRoute, world: RouteWorld): Route {
  const backend = drawn(by.backends, world.random);
  const named = backend?.service ?? null;
  const mayGo = named !== null && mayLeadTo(by, named, source.namespace);
  const service = mayGo ? world.mesh.service(named) : undefined;
  const port = service?.ports.find((each) => each.port === backend?.port);
  if (service === undefined || port === undefined) return { ...refuse("no-route-backend", service ?? null), by };
  const address = addressOfFamily(dialled.address, service);
  if (address === null) return { ...refuse("no-healthy-endpoint", service), by };
  return { ...toService(source, { address, port: port.port }, service, port, ledBy(by, source, service, world)), by };
}

/**
 * The world in which a route leads `source` to an endpoint of a Service to which it may lead (mayLeadTo). A Service with written endpoints may
 * name workloads of any namespace: also by such a Service a route leads callers of other namespaces to workloads of its own namespace alone.
 * Selected endpoints are always of the Service's namespace.
 */
export function ledBy<World extends RouteWorld>(
  { namespace }: { readonly namespace: string },
  source: Workload,
  { selector }: Service,
  world: World,
): World {
  return selector !== null || namespace === source.namespace ? world : { ...world, author: namespace };
}

/**
 * An address of the family that was dialled: the Service's own where it has any. null: nobody resolves the Service, and it has no address
 * of that family.
 */
export function addressOfFamily(dialled: string, { vips, loadBalancing }: Service): string | null {
  const own = vips.includes(dialled) ? dialled : vips.find((vip) => isSameFamily(vip, dialled));
  return own ?? (loadBalancing.mode === "passthrough" ? null : dialled);
}

/**
 * To an endpoint of the Service's port.
 * @param dialled an address of the family that the client has dialled, to which a Service of "passthrough" leaves the connection
 */
export function toService(
  source: Workload,
  dialled: Endpoint,
  service: Service,
  port: ServicePort,
  world: RouteWorld,
): Route {
  if (service.loadBalancing.mode === "passthrough") {
    return { kind: "direct", why: "passthrough-service", target: dialled, destination: null, service };
  }
  const { author } = world;
  const all = candidatesIn(world.mesh, service, port, dialled.address);
  const known =
    author === undefined ? all : all.filter(({ workload }) => workload === null || workload.namespace === author);
  const candidates = world.mesh.hasRivals ? known.filter((candidate) => isCertain(candidate, world)) : known;
  if (candidates.length === 0 && known.length > 0) {
    return conflict(new Set(known.flatMap(({ address }) => world.mesh.rivalsAt(address))), service);
  }
  const { without } = world;
  const isOpen = ({ address, port: at }: Candidate): boolean => without?.(address, at) !== true;
  const used = world.inUse === undefined ? candidates : world.inUse(usable(candidates, service.loadBalancing), isOpen);
  const open = without === undefined ? used : used.filter(isOpen);
  const eligible = eligibleEndpoints(open, { from: source, loadBalancing: service.loadBalancing });
  // A single endpoint is chosen whatever it costs.
  const chosen =
    eligible.length < 2
      ? eligible[0]
      : chooseAmong(eligible, { random: world.random, ...balancingOf(service, source, known, world) });
  if (chosen === undefined) return refuse("no-healthy-endpoint", service);
  // A targetPort may name a port of ours though the service's port does not (docs/reference/failures.md, row E1).
  if (isOwnPort(chosen.port)) return refuse("own-port", service);
  const { workload, address, port: targetPort } = chosen;
  if (workload === null) {
    const target = { address, port: targetPort };
    return { kind: "direct", why: "not-in-mesh", target, destination: null, service };
  }
  const isTunnelled = workload.protocol !== "none" && !world.servedHere(workload.uid);
  const tunnel = isTunnelled ? tunnelTo.get(chosen) : undefined;
  if (tunnel?.service === service) return tunnel;
  const route = toWorkload({ target: { address, port: targetPort }, destination: workload, service }, world);
  if (route.kind === "tunnel") tunnelTo.set(chosen, route);
  return route;
}

/** Requests that go to the same candidate have the same route: what hangs on it is made once. */
const tunnelTo = new WeakMap<Candidate, Route>();

function balancingOf(
  service: Service,
  source: Workload,
  all: readonly Candidate[],
  world: RouteWorld,
): Pick<Choice, "load" | "among" | "asksThird"> {
  const { costs, hashKey = null } = world;
  const { hash = null, balance = null } = service.traffic ?? {};
  const load = (candidate: Candidate): number => world.load(candidate.address, candidate.port);
  if (costs === undefined) return { load };
  if (hash !== null && hashKey !== null) {
    const { table } = hash;
    return { load, among: { kind: "key", pick: (eligible) => endpointOfKey(all, eligible, table, hashKey) } };
  }
  const caller = source.identity.text;
  switch (balance ?? service.loadBalancing.requests) {
    case "least-request":
      return { load };
    case "random":
      return { load, among: { kind: "draw" } };
    case "round-robin":
      return { load, among: { kind: "turn", turn: costs.turn(caller, fullName(service)) } };
    default:
      return { load: ({ address, port }) => costs.of(caller, address, port), asksThird: true };
  }
}

/**
 * The pod of this node among the workloads that claim an address, when there is a single such pod: it keeps the address, since its own
 * network namespace shows that it has it.
 */
function ownerHere(rivals: readonly Workload[], world: RouteWorld): Workload | undefined {
  const here = rivals.filter(({ uid }) => world.servedHere(uid));
  return here.length === 1 ? here[0] : undefined;
}

function toOwnerHere(rivals: readonly Workload[], target: Endpoint, world: RouteWorld): Route {
  const destination = ownerHere(rivals, world);
  return destination === undefined ? conflict(rivals, null) : toWorkload({ target, destination, service: null }, world);
}

/** Whether it is known who would answer at the candidate's address. */
function isCertain({ address, workload }: Candidate, world: RouteWorld): boolean {
  const rivals = world.mesh.rivalsAt(address);
  return rivals.length === 0 || (workload !== null && ownerHere(rivals, world) === workload);
}

function toWorkload(resolved: Resolved & { readonly destination: Workload }, world: RouteWorld): Route {
  const { target, destination, service } = resolved;
  if (destination.protocol === "none") return { ...resolved, kind: "direct", why: "not-in-mesh" };
  if (world.servedHere(destination.uid)) return { ...resolved, kind: "local" };
  return {
    ...resolved,
    kind: "tunnel",
    to: { address: target.address, port: HBONE_PORT },
    authority: endpointText(target),
    expected: [destination.identity.text, ...(service?.subjectAltNames ?? [])],
  };
}

function conflict(claimants: Iterable<Workload>, service: Service | null): Route {
  return { kind: "refuse", reason: "address-conflict", service, claimants: [...claimants] };
}

function refuse(reason: RouteRefusal, service: Service | null): Extract<Route, { readonly kind: "refuse" }> {
  return { kind: "refuse", reason, service };
}
