// any thread · GRPCRoute (gateway.networking.k8s.io/v1) with Services as parents, as rules of an HTTPRoute that say the same: a call of gRPC is
// a request whose path is /service/method (grpc:doc/PROTOCOL-HTTP2.md). A field that is known and not honoured refuses the route.
import { automatonOf } from "../../l7/expression.ts";
import type { FieldEdits, HttpMatch, HttpRoute, PathCondition, ValueCondition } from "../../mesh/http-rule.ts";
import { backendRef, everything, MOST_MATCHES, MOST_RULES, type ReadRule, toRoute } from "./http-route.ts";
import { edits, type RouteFilter } from "./http-route-filters.ts";
import { condition, fieldName, firstOfEachName, withFewExpressions } from "./http-route-match.ts";
import { mirrorReader, type ReadMirror } from "./http-route-mirror.ts";
import { sessionPersistence } from "./http-route-session.ts";
import { MOST_BACKENDS, parentRefs, routeMetadata, uncountedHostnames } from "./route-parts.ts";
import {
  ignored,
  list,
  located,
  notHonoured,
  object,
  oneOf,
  optional,
  type Read,
  type Reader,
  required,
  string,
  wrongValue,
} from "./schema.ts";
import { quoted, type Report, type Value } from "./value.ts";

const [because, instead] = ["nothing would act on it", "remove the filter"];
const filter = object({
  type: required(located(string)),
  requestHeaderModifier: optional<FieldEdits | null>(edits, null),
  responseHeaderModifier: optional<FieldEdits | null>(edits, null),
  requestMirror: optional<ReadMirror | null>(mirrorReader, null),
  extensionRef: notHonoured(because, instead),
});

const grpcFilter: Reader<RouteFilter> = (value, place, report) => {
  const read = filter(value, place, report);
  if (read === undefined) return undefined;
  const { type, requestHeaderModifier: request, responseHeaderModifier: response, requestMirror: mirror } = read;
  if ([request, response, mirror].filter((part) => part !== null).length === 1) {
    if (type.value === "RequestHeaderModifier" && request !== null) return { type: type.value, edits: request };
    if (type.value === "ResponseHeaderModifier" && response !== null) return { type: type.value, edits: response };
    if (type.value === "RequestMirror" && mirror !== null) return { type: type.value, mirror };
  }
  return wrongValue(
    type.from,
    `${place}.type: ${quoted(type.value)} is no filter that is honoured, or its own field is missing or not the only one`,
    "the call would go on without what the filter is for",
    "filters: RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, each with its field",
    report,
  );
};

const methodMatch = object({
  type: optional(oneOf("Exact", "RegularExpression"), "Exact"),
  service: optional<string | null>(string, null),
  method: optional<string | null>(string, null),
});

/** Of Gateway API (gateway-api:apis/v1/grpcroute_types.go, GRPCMethodMatch). */
const serviceName = /^[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*$/;
const methodName = /^[A-Za-z_][A-Za-z_0-9]*$/;
const ANY = "[^/]+";

type Method = { readonly path: PathCondition; readonly rank: readonly number[] };
const anyMethod: Method = { path: { kind: "prefix", value: "" }, rank: [0, 0, 0, 0] };

const method: Reader<Method> = (value, place, report) => {
  const read = methodMatch(value, place, report);
  if (read === undefined) return undefined;
  const service = read.service === "" ? null : read.service;
  const name = read.method === "" ? null : read.method;
  const refuse = (what: string, fix: string): undefined =>
    wrongValue(value.from, `${place}: ${what}`, "no call of gRPC would be taken by it", fix, report);
  if (service === null && name === null) return refuse("neither service nor method is there", "write one of them");
  const isExact = read.type === "Exact";
  if (isExact && service !== null && !serviceName.test(service))
    return refuse(`${quoted(service)} is no service of gRPC`, "write package.Service, without a slash");
  if (isExact && name !== null && !methodName.test(name))
    return refuse(`${quoted(name)} is no method of gRPC`, "write the method's name, without a slash");
  const kind = isExact ? 2 : 1;
  const rank = [service === null ? 0 : kind, service?.length ?? 0, name === null ? 0 : kind, name?.length ?? 0];
  const path = isExact ? exactPath(service, name) : expressionPath(service, name);
  if (path.kind !== "expression") return { path, rank };
  const made = automatonOf(path.value);
  if (!("what" in made)) return { path, rank };
  return wrongValue(
    value.from,
    `${place}: the expression cannot be honoured: ${made.what}`,
    "it is made into a table of bounded size, so that no text that a caller sends takes long",
    "write RE2's syntax over printable ASCII, without \\p, references and what looks ahead or behind",
    report,
  );
};

function exactPath(service: string | null, name: string | null): PathCondition {
  if (service !== null && name !== null) return { kind: "exact", value: `/${service}/${name}` };
  if (service !== null) return { kind: "prefix", value: `/${service}` };
  return { kind: "expression", value: `/${ANY}/${name}` };
}

/** An alternative is of its own name, and not of all that lies behind it. */
function expressionPath(service: string | null, name: string | null): PathCondition {
  const part = (text: string | null): string => (text === null ? ANY : `(?:${text})`);
  return { kind: "expression", value: `/${part(service)}/${part(name)}` };
}

const match = object({
  method: optional<Method>(method, anyMethod),
  headers: optional<readonly ValueCondition[]>(firstOfEachName(list(condition(fieldName), { max: 16 })), []),
});

const grpcMatch: Reader<HttpMatch> = (value, place, report) => {
  const read = match(value, place, report);
  if (read === undefined) return undefined;
  const { path, rank } = read.method;
  return { path, method: null, headers: read.headers, query: [], rank: [...rank, read.headers.length] };
};

const rule = object({
  name: optional(string, ""),
  matches: optional(list(grpcMatch, { max: MOST_MATCHES }), []),
  filters: optional(list(grpcFilter, { max: MOST_BACKENDS }), []),
  backendRefs: optional(list(located(backendRef), { max: MOST_BACKENDS }), []),
  sessionPersistence: optional(sessionPersistence, null),
});

const grpcRoute = object({
  apiVersion: required(oneOf("gateway.networking.k8s.io/v1")),
  kind: required(oneOf("GRPCRoute")),
  metadata: required(routeMetadata),
  spec: required(
    object({
      parentRefs,
      hostnames: uncountedHostnames("remove it, or compare a header"),
      rules: optional(list(located(rule), { max: MOST_RULES }), null),
      useDefaultGateways: ignored,
    }),
  ),
  status: ignored,
});
export type GrpcRouteDocument = Read<typeof grpcRoute>;

export const grpcRouteKind: Reader<GrpcRouteDocument> = withFewExpressions(grpcRoute);

const anyCall: HttpMatch = { path: anyMethod.path, method: null, headers: [], query: [], rank: [0, 0, 0, 0, 0] };

/** undefined: nothing of it counts (reported). */
export function toGrpcRoute(read: GrpcRouteDocument, document: Value, report: Report): HttpRoute | undefined {
  const written = read.spec.rules ?? [{ value: { ...everything }, from: document.from }];
  const rules = written.map(({ value, from }) => {
    const { name, filters, backendRefs, sessionPersistence: session } = value;
    const matches = value.matches.length === 0 ? [anyCall] : value.matches;
    const whole: ReadRule = { ...everything, name, filters, backendRefs, matches, sessionPersistence: session };
    return { value: whole, from };
  });
  const { metadata, spec } = read;
  return toRoute({ kind: "GRPCRoute", metadata, spec: { parentRefs: spec.parentRefs, rules } }, document, report);
}
