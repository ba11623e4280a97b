// any thread · one document → what it says by itself; what it needs of others to be in force is left to assembly.ts. Pure.
import { isDeepStrictEqual } from "node:util";
import { fullName } from "../../mesh/full-name.ts";
import type { HttpRoute, RouteKind } from "../../mesh/http-rule.ts";
import type { LimitPolicy } from "../../mesh/limit-policy.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "../../mesh/policies.ts";
import type { ExplicitEndpoint, LocalityPreference, Service } from "../../mesh/service.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import type { StreamRoute } from "../../mesh/stream-route.ts";
import { cut, type Lean } from "../../mesh/thread-view.ts";
import type { TrafficPolicy } from "../../mesh/traffic-policy.ts";
import type { Workload } from "../../mesh/workload.ts";
import {
  authorizationPolicyKind,
  hasTargets,
  nameOfPolicy,
  type SelectorOfService,
  toAuthorizationPolicy,
} from "./authorization-policy.ts";
import { destinationRuleKind, serviceOfRule, toLocality, toTrafficPolicy } from "./destination-rule.ts";
import { endpointSliceKind, serviceOf, toEndpoints } from "./endpoint-slice.ts";
import { grpcRouteKind, toGrpcRoute } from "./grpc-route.ts";
import { httpRouteKind, toHttpRoute } from "./http-route.ts";
import { limitPolicyKind, toLimitPolicy } from "./limit-policy.ts";
import { membership, namespaceKind, removesProxyHeaders } from "./namespace.ts";
import type { NodeSettings } from "./node-settings.ts";
import { peerAuthenticationKind, toPeerAuthentication } from "./peer-authentication.ts";
import { podKind, podWorkload, type ReadPod } from "./pod.ts";
import { isOfServices } from "./route-parts.ts";
import type { Reader } from "./schema.ts";
import { serviceKind, toService } from "./service.ts";
import { streamRouteKinds, toStreamRoute } from "./stream-route.ts";
import { quoted, type Report, type Value } from "./value.ts";
import { toWorkload, workloadKind } from "./workload.ts";

/** What a namespace says of its workloads. */
export type NamespaceSays = { readonly member: boolean; readonly removesProxyHeaders: boolean };

/** `id` is unique in the mesh: a workload's uid, else `<kind> <namespace>/<name>`. */
export type ParsedObject = { readonly id: string; readonly from: SourceRef } & (
  | ({ readonly kind: "Namespace"; readonly namespace: string } & NamespaceSays)
  /**
   * `own` is what its labels say of membership, `asMember` its protocol as a member of the mesh. What its namespace decides is in `value`
   * as it was decided last, so that the value in force is not kept twice. `leftOut`: as of a pod that was read.
   */
  | {
      readonly kind: "Workload";
      readonly own: "in" | "out" | "unset";
      readonly asMember: Workload["protocol"];
      value: Workload;
      readonly leftOut?: NonNullable<ReadPod["leftOut"]>;
    }
  /** `value` without the endpoints of its slices; null: nothing for the mesh. `selector` as written, for policies. */
  | {
      readonly kind: "Service";
      readonly value: Service | null;
      readonly selector: Readonly<Record<string, string>> | undefined;
    }
  | { readonly kind: "EndpointSlice"; readonly service: string; readonly endpoints: readonly ExplicitEndpoint[] }
  | {
      readonly kind: "DestinationRule";
      readonly service: string;
      readonly says: TrafficPolicy;
      readonly locality: readonly LocalityPreference[] | null;
    }
  | { readonly kind: "PeerAuthentication"; readonly value: PeerAuthentication }
  | { readonly kind: RouteKind; readonly value: HttpRoute }
  | { readonly kind: StreamRoute["kind"]; readonly value: StreamRoute }
  | { readonly kind: "LimitPolicy"; readonly value: LimitPolicy }
  | { readonly kind: "AuthorizationPolicy"; readonly value: AuthorizationPolicy }
  /** A policy for a Service: where it holds is known when the Service is. */
  | {
      readonly kind: "TargetedPolicy";
      readonly namespace: string;
      readonly resolve: (selectorOf: SelectorOfService, report: Report) => AuthorizationPolicy | undefined;
    }
);
export type ParsedObjectOf<Kind extends ParsedObject["kind"]> = Extract<ParsedObject, { readonly kind: Kind }>;

/** Kinds that others of the same file may be for. They are named in the findings, never skipped in silence. */
const knownElsewhere = new Set([
  "RequestAuthentication",
  "VirtualService",
  "ServiceEntry",
  "WorkloadEntry",
  "Telemetry",
]);

/** All of an object but where it comes from. */
type WithoutFrom<Parsed> = Parsed extends ParsedObject ? Omit<Parsed, "from"> : never;
type Translated = WithoutFrom<ParsedObject>;
/** Returns undefined when nothing of the document counts; the reason is reported. */
type ToParsedObject = (document: Value, settings: NodeSettings, report: Report) => Translated | undefined;

const httpRoute = kind(httpRouteKind, (read, document, _, report) => {
  const value = toHttpRoute(read, document, report);
  return value && { id: idOf("HTTPRoute", value.namespace, value.name), kind: "HTTPRoute", value };
});

const grpcRoute = kind(grpcRouteKind, (read, document, _, report) => {
  const value = toGrpcRoute(read, document, report);
  return value && { id: idOf("GRPCRoute", value.namespace, value.name), kind: "GRPCRoute", value };
});

function streamRoute(name: StreamRoute["kind"]): ToParsedObject {
  return kind(streamRouteKinds[name], (read, document, _, report) => {
    const value = toStreamRoute(read, document, report);
    return value && { id: idOf(name, value.namespace, value.name), kind: name, value };
  });
}

/** A cluster has many routes without a Service among their parents, and a gateway reads them. */
function ofServices(name: string, read: ToParsedObject): ToParsedObject {
  return (document, settings, report) => {
    if (isOfServices(document)) return read(document, settings, report);
    if (report.acceptance === "all")
      report.unsupported(
        document.from,
        `this ${name} has no Service among its parentRefs`,
        "a route of a gateway is for its gateway: nothing in this agent acts on it",
        'remove it, or write kind: Service and group: "" in parentRefs',
      );
    return undefined;
  };
}

const kinds: Readonly<Record<string, ToParsedObject>> = {
  Namespace: kind(namespaceKind, ({ metadata: { name, labels, annotations } }, document, settings, report) => {
    const says = {
      member: membership(labels, settings.honourIstioLabels, document, report) === "in",
      removesProxyHeaders: removesProxyHeaders(annotations, document, report),
    };
    return { id: idOf("Namespace", "", name), kind: "Namespace", namespace: name, ...says };
  }),
  Workload: kind(workloadKind, (read, document, settings, report) => {
    const own = membership(read.metadata.labels, settings.honourIstioLabels, document, report);
    const value = toWorkload(read, document, settings);
    return { id: value.uid, kind: "Workload", own, asMember: value.protocol, value };
  }),
  Service: kind(serviceKind, (read, document, settings, report) => {
    const { namespace, name } = read.metadata;
    const value = toService(read, document, settings, report) ?? null;
    return { id: idOf("Service", namespace, name), kind: "Service", value, selector: read.spec.selector ?? undefined };
  }),
  EndpointSlice: kind(endpointSliceKind, (read, document, _, report) => {
    const { namespace, name } = read.metadata;
    const service = serviceOf(read, document, report);
    const endpoints = toEndpoints(read, document, report);
    if (service === undefined) return undefined;
    return { id: idOf("EndpointSlice", namespace, name), kind: "EndpointSlice", service, endpoints };
  }),
  DestinationRule: kind(destinationRuleKind, (read, document, settings, report) => {
    const { namespace, name } = read.metadata;
    const service = serviceOfRule(read, document, settings, report);
    if (service === undefined) return undefined;
    const says = toTrafficPolicy(read, document, report);
    if (says === undefined) return undefined;
    const locality = toLocality(read);
    return { id: idOf("DestinationRule", namespace, name), kind: "DestinationRule", service, says, locality };
  }),
  PeerAuthentication: kind(peerAuthenticationKind, (read, document, settings, report) => {
    const value = toPeerAuthentication(read, document, settings, report);
    return value && { id: idOf("PeerAuthentication", value.namespace, value.name), kind: "PeerAuthentication", value };
  }),
  HTTPRoute: ofServices("HTTPRoute", httpRoute),
  GRPCRoute: ofServices("GRPCRoute", grpcRoute),
  TLSRoute: ofServices("TLSRoute", streamRoute("TLSRoute")),
  TCPRoute: ofServices("TCPRoute", streamRoute("TCPRoute")),
  LimitPolicy: kind(limitPolicyKind, (read, document, _, report) => {
    const value = toLimitPolicy(read, document, report);
    return value && { id: idOf("LimitPolicy", value.namespace, value.name), kind: "LimitPolicy", value };
  }),
  AuthorizationPolicy: kind(authorizationPolicyKind, (read, document, _, report) => {
    const named = nameOfPolicy(read);
    if (named === undefined) return undefined;
    const id = idOf("AuthorizationPolicy", named.namespace, named.name);
    if (hasTargets(read)) {
      const resolve: ParsedObjectOf<"TargetedPolicy">["resolve"] = (selectorOf, later) =>
        toAuthorizationPolicy(read, document, selectorOf, later);
      return { id, kind: "TargetedPolicy", namespace: named.namespace, resolve };
    }
    const value = toAuthorizationPolicy(read, document, () => undefined, report);
    return value && { id, kind: "AuthorizationPolicy", value };
  }),
};

/** Kinds that a cluster has and a file has not: there a Workload says the same in fewer words. */
const kindsOfClusters: Readonly<Record<string, ToParsedObject>> = {
  Pod: kind(podKind, (read, document, settings, report) => {
    const own = membership(read.metadata.labels, settings.honourIstioLabels, document, report);
    const pod = podWorkload(read, document, settings);
    if (pod === undefined) return undefined;
    const { value, leftOut } = pod;
    const asMember = value.protocol;
    return { id: value.uid, kind: "Workload", own, asMember, value, ...(leftOut === undefined ? {} : { leftOut }) };
  }),
};

/** The objects of one document; what is wrong with it is reported. `kind: List`, as `kubectl get -o yaml` prints it, is its items. */
export function parsedObjectsOf(document: Value, settings: NodeSettings, report: Report): readonly ParsedObject[] {
  return unlisted(document).flatMap((item): readonly ParsedObject[] => {
    const parsed = parsedObjectOf(item, settings, report);
    return parsed === undefined ? [] : [parsed];
  });
}

/** The object in the form in which it is kept: equal texts and values share memory. */
export function leanObject(parsed: ParsedObject, lean: Lean): ParsedObject {
  switch (parsed.kind) {
    case "Workload": {
      const value = lean.workload(parsed.value);
      const { kind, own, asMember, leftOut } = parsed;
      // Written out: of very many, a copy with fields put behind it would take more room.
      if (leftOut === undefined) return { id: value.uid, from: value.from, kind, own, asMember, value };
      return { ...parsed, id: value.uid, from: value.from, value };
    }
    case "AuthorizationPolicy": {
      const value = lean.object(parsed.value);
      return { ...parsed, id: cut(parsed.id), from: value.from, value };
    }
    case "HTTPRoute":
    case "GRPCRoute":
      return { ...parsed, id: cut(parsed.id), value: lean.object(parsed.value) };
    case "TLSRoute":
    case "TCPRoute":
      return { ...parsed, id: cut(parsed.id), value: lean.object(parsed.value) };
    case "LimitPolicy":
      return { ...parsed, id: cut(parsed.id), value: lean.object(parsed.value) };
    case "PeerAuthentication":
      return { ...parsed, value: lean.object(parsed.value) };
    case "Service":
      return { ...parsed, id: cut(parsed.id), value: parsed.value && lean.object(parsed.value) };
    default:
      return parsed;
  }
}

/** Whether the objects say the same, whatever their namespaces have decided of them. */
export function saySame(some: readonly ParsedObject[], others: readonly ParsedObject[]): boolean {
  return some.length === others.length && isDeepStrictEqual(some.map(undecided), others.map(undecided));
}

function undecided(parsed: ParsedObject): ParsedObject {
  if (parsed.kind !== "Workload") return parsed;
  return { ...parsed, value: { ...parsed.value, protocol: parsed.asMember, removesProxyHeaders: false } };
}

/** The name for messages: kind, namespace and name. */
export function nameOf(parsed: ParsedObject): string {
  return parsed.kind === "Workload" ? idOf(parsed.kind, parsed.value.namespace, parsed.value.name) : parsed.id;
}

function parsedObjectOf(document: Value, settings: NodeSettings, report: Report): ParsedObject | undefined {
  const name = kindOf(document, report);
  // A node's own configuration is in the same file and was read before any of this.
  if (name === undefined || name === "NodeConfig") return undefined;
  const isOfClusters = report.acceptance === "object" && Object.hasOwn(kindsOfClusters, name);
  const known = isOfClusters ? kindsOfClusters : kinds;
  if (Object.hasOwn(known, name)) {
    const translated = known[name]?.(document, settings, report);
    return translated && { ...translated, from: document.from };
  }
  if (knownElsewhere.has(name)) {
    const [what, why] = [`${name} is not honoured yet`, "nothing in this agent acts on it"];
    report.unsupported(document.from, what, why, "remove it, or accept that it has no effect");
    return undefined;
  }
  return report.error({
    code: "ORL4102",
    from: document.from,
    what: `${quoted(name)} is no kind that is read here`,
    why: "an object nobody reads would look as if it were in force",
    fix: `kinds: ${Object.keys(kinds).join(", ")}, NodeConfig`,
  });
}

/** A kind's own reader, then its translation. */
function kind<R>(
  reader: Reader<R>,
  translate: (read: R, document: Value, settings: NodeSettings, report: Report) => Translated | undefined,
): ToParsedObject {
  return (document, settings, report) => {
    const read = reader(document, "", report);
    return read && translate(read, document, settings, report);
  };
}

export function idOf(kindName: string, namespace: string, name: string): string {
  return `${kindName} ${fullName({ namespace, name })}`;
}

function unlisted(document: Value): readonly Value[] {
  if (document.type !== "map") return [document];
  const name = document.entries.get("kind")?.value;
  const items = document.entries.get("items")?.value;
  return name?.type === "string" && name.value === "List" && items?.type === "list" ? items.items : [document];
}

function kindOf(document: Value, report: Report): string | undefined {
  const name = document.type === "map" ? document.entries.get("kind")?.value : undefined;
  if (name?.type === "string") return name.value;
  return report.error({
    code: "ORL4103",
    from: document.from,
    what: "this document has no kind",
    why: "without it nobody knows what the document is",
    fix: "write apiVersion, kind, metadata and spec, and --- between documents",
  });
}
