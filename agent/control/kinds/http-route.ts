// any thread · HTTPRoute (gateway.networking.k8s.io/v1) with Services as parents: schema and translation. A field that is known and not
// honoured refuses the route: a route that is honoured by half sends requests where its author did not.
import {
  type Cors,
  type FieldEdits,
  type HttpRoute,
  type HttpRule,
  noEdits,
  type Redirect,
  type Rewrite,
  type RouteBackend,
  type RouteKind,
} from "../../mesh/http-rule.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import { withFault } from "./http-route-fault.ts";
import { filterReader, type RouteFilter } from "./http-route-filters.ts";
import { httpMatch, milliseconds, withFewExpressions } from "./http-route-match.ts";
import { type ReadMirror, toMirror } from "./http-route-mirror.ts";
import { retry } from "./http-route-retry.ts";
import { sessionPersistence } from "./http-route-session.ts";
import {
  MOST_BACKENDS,
  nameService,
  parentRefs,
  parentsOfServices,
  routeMetadata,
  serviceOf,
  uncountedHostnames,
  weighted,
} from "./route-parts.ts";
import {
  ignored,
  type Located,
  list,
  located,
  object,
  oneOf,
  optional,
  type Read,
  type Reader,
  required,
  string,
} from "./schema.ts";
import { type Report, type Value, wrong } from "./value.ts";

export const backendRef = object({ ...weighted, filters: optional(list(filterReader), []) });

/** Gateway API's own limits. */
export const MOST_RULES = 16;
export const MOST_MATCHES = 64;

const rule = object({
  name: optional(string, ""),
  matches: optional(list(httpMatch, { max: MOST_MATCHES }), []),
  filters: optional(list(filterReader, { max: MOST_BACKENDS }), []),
  backendRefs: optional(list(located(backendRef), { max: MOST_BACKENDS }), []),
  timeouts: optional(object({ request: optional(milliseconds, 0), backendRequest: optional(milliseconds, 0) }), {
    request: 0,
    backendRequest: 0,
  }),
  retry: optional(retry, null),
  sessionPersistence: optional(sessionPersistence, null),
});
export type ReadRule = Read<typeof rule>;

const httpRoute = object({
  apiVersion: required(oneOf("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1")),
  kind: required(oneOf("HTTPRoute")),
  metadata: required(routeMetadata),
  spec: required(
    object({
      parentRefs,
      hostnames: uncountedHostnames("remove it, or compare the header Host"),
      rules: optional(list(located(rule), { max: MOST_RULES }), null),
      useDefaultGateways: ignored,
    }),
  ),
  status: ignored,
});
export type HttpRouteDocument = Read<typeof httpRoute>;

export const httpRouteKind: Reader<HttpRouteDocument> = withFewExpressions(httpRoute);

type ReadRoute = Pick<HttpRouteDocument, "metadata"> & {
  readonly kind: RouteKind;
  readonly spec: Pick<HttpRouteDocument["spec"], "parentRefs" | "rules">;
};

/** undefined: nothing of it counts (reported). */
export function toHttpRoute(read: HttpRouteDocument, document: Value, report: Report): HttpRoute | undefined {
  return toRoute(read, document, report);
}

/** The same of each kind whose rules say what those of an HTTPRoute can say. */
export function toRoute(read: ReadRoute, document: Value, report: Report): HttpRoute | undefined {
  const { kind, metadata: meta, spec } = read;
  const { name, namespace } = meta;
  const parents = parentsOfServices(spec.parentRefs, namespace);
  const written = spec.rules ?? [{ value: everything, from: document.from }];
  const { annotations } = meta;
  const rules = written.map(({ value, from }, index) => toRule(value, { from, namespace, annotations, index }, report));
  if (rules.includes(undefined)) return undefined;
  const readable = rules.filter((each) => each !== undefined);
  const faulty = withFault(readable, annotations, document.from, report);
  if (faulty === undefined) return undefined;
  return { kind, name, namespace, parents, createdMs: meta.creationTimestamp, rules: faulty, from: document.from };
}

/** What a route without rules says. */
export const everything: ReadRule = {
  ...{ name: "", matches: [], filters: [], backendRefs: [], timeouts: { request: 0, backendRequest: 0 } },
  ...{ retry: null, sessionPersistence: null },
};

type RulePlace = {
  readonly from: SourceRef;
  readonly namespace: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly index: number;
};

function toRule(read: ReadRule, place: RulePlace, report: Report): HttpRule | undefined {
  const { from, index } = place;
  const path = `spec.rules[${index}]`;
  const refuse = (what: string, why: string, fix: string): undefined =>
    wrong(from, `${path} ${what}`, why, fix, report);
  const filters = onlyOfEachKind(read.filters, (type) =>
    refuse(`has the filter ${type} twice`, "nobody says which of them counts", "keep one"),
  );
  if (filters === undefined) return undefined;
  const { redirect, rewrite, cors } = filters;
  const matches = read.matches.length === 0 ? [anyRequest] : read.matches;
  if (redirect !== null && rewrite !== null)
    return refuse("has a RequestRedirect and a URLRewrite", "a redirected request is not sent on", "keep one");
  if (redirect !== null && filters.mirrors.length > 0)
    return refuse(
      "has a RequestRedirect and a RequestMirror",
      "a redirected request is not sent on",
      "keep one of them",
    );
  if (redirect !== null && read.backendRefs.length > 0)
    return refuse("has a RequestRedirect and backendRefs", "a redirected request is not sent on", "keep one of them");
  const replacement = (redirect ?? rewrite)?.path ?? null;
  if (replacement?.kind === "prefix" && matches.some(({ path: { kind } }) => kind !== "prefix"))
    return refuse(
      "replaces a prefix, and matches a path that is none",
      "there would be nothing to replace",
      "match PathPrefix, or write ReplaceFullPath",
    );
  const { request: timeoutMs, backendRequest: tryTimeoutMs } = read.timeouts;
  if (timeoutMs > 0 && tryTimeoutMs > timeoutMs)
    return refuse("has a backendRequest timeout longer than that of the request", "it would never end", "shorten it");
  const backends = read.backendRefs.map((backend) => toBackend(backend, place, report));
  if (backends.includes(undefined)) return undefined;
  const mirrors = filters.mirrors.map((mirror) => toMirror(mirror, { ...place, path }, place.annotations, report));
  return {
    ...(mirrors.length === 0 ? {} : { mirrors }),
    ...{ name: read.name, matches, redirect, rewrite, cors, timeoutMs, tryTimeoutMs, retry: read.retry, from },
    ...(read.sessionPersistence === null ? {} : { session: read.sessionPersistence }),
    requestEdits: filters.requestEdits,
    responseEdits: filters.responseEdits,
    backends: backends.filter((backend) => backend !== undefined),
  };
}

const anyRequest = { path: { kind: "prefix", value: "" }, method: null, headers: [], query: [] } as const;

function toBackend(
  { value: read, from }: Located<Read<typeof backendRef>>,
  place: RulePlace,
  report: Report,
): RouteBackend | undefined {
  const path = `spec.rules[${place.index}].backendRefs`;
  const filters = onlyOfEachKind(read.filters, (type) =>
    wrong(from, `${path}: the filter ${type} is there twice`, "nobody says which of them counts", "keep one", report),
  );
  if (filters === undefined) return undefined;
  const { redirect, rewrite, cors, mirrors } = filters;
  if (redirect !== null || rewrite !== null || cors !== null || mirrors.length > 0) {
    const what = `${path}: RequestMirror, RequestRedirect, URLRewrite and CORS of a single backend are not honoured`;
    return report.error({
      code: "ORL4106",
      from,
      what,
      why: "only a rule's are",
      fix: "write it as a filter of the rule",
    });
  }
  const service = serviceOf(read, place.namespace, (what) =>
    report.unsupported(from, `${path}: a backend ${what}`, "its share of the requests is answered 500", nameService),
  );
  return {
    service,
    port: read.port,
    weight: read.weight,
    requestEdits: filters.requestEdits,
    responseEdits: filters.responseEdits,
  };
}

type Filters = {
  readonly requestEdits: FieldEdits;
  readonly responseEdits: FieldEdits;
  readonly redirect: Redirect | null;
  readonly rewrite: Rewrite | null;
  readonly cors: Cors | null;
  readonly mirrors: readonly ReadMirror[];
};

/** But for mirrors: each of them counts. */
function onlyOfEachKind(filters: readonly RouteFilter[], twice: (type: string) => undefined): Filters | undefined {
  const types = filters.map(({ type }) => type).filter((type) => type !== "RequestMirror");
  const double = types.find((type, index) => types.indexOf(type) !== index);
  if (double !== undefined) return twice(double);
  const mirrors = filters.flatMap((filter) => (filter.type === "RequestMirror" ? [filter.mirror] : []));
  const none = { requestEdits: noEdits, responseEdits: noEdits, redirect: null, rewrite: null, cors: null };
  let found: Filters = { ...none, mirrors };
  for (const filter of filters) {
    if (filter.type === "RequestHeaderModifier") found = { ...found, requestEdits: filter.edits };
    if (filter.type === "ResponseHeaderModifier") found = { ...found, responseEdits: filter.edits };
    if (filter.type === "RequestRedirect") found = { ...found, redirect: filter.redirect };
    if (filter.type === "CORS") found = { ...found, cors: filter.cors };
    if (filter.type === "URLRewrite") found = { ...found, rewrite: filter.rewrite };
  }
  return found;
}
