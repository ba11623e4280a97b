// any thread · TCPRoute and TLSRoute (gateway.networking.k8s.io) with Services as parents: schema and translation. What is known and not
// honoured refuses the route, as of an HTTPRoute.
import type { StreamBackend, StreamRoute } from "../../mesh/stream-route.ts";
import {
  MOST_BACKENDS,
  nameService,
  parentRefs,
  parentsOfServices,
  routeMetadata,
  serviceOf,
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
  text,
} from "./schema.ts";
import type { Report, Value } from "./value.ts";

const backendRef = object(weighted);
const rule = object({
  name: optional(string, ""),
  backendRefs: optional(list(located(backendRef), { max: MOST_BACKENDS }), []),
});

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const hostnameForm = new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*$`);
const addressForm = /^[0-9.]+$/;

const hostname: Reader<string> = text(
  "a server's name",
  (written) =>
    written.length <= 253 && hostnameForm.test(written) && !addressForm.test(written) ? written : undefined,
  "callers name servers by it (RFC 6066, section 3), and by no address",
  'write a name in lower case, with "*." in front for any first labels',
);

/** One rule, as Gateway API has it: of several nobody could say which counts. */
const rules = required(list(rule, { min: 1, max: 1 }));

const tcpRoute = object({
  apiVersion: required(oneOf("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2")),
  kind: required(oneOf("TCPRoute")),
  metadata: required(routeMetadata),
  spec: required(object({ parentRefs, rules, useDefaultGateways: ignored })),
  status: ignored,
});

const tlsVersions = ["v1", "v1alpha3", "v1alpha2"] as const;
const tlsRoute = object({
  apiVersion: required(oneOf(...tlsVersions.map((version) => `gateway.networking.k8s.io/${version}` as const))),
  kind: required(oneOf("TLSRoute")),
  metadata: required(routeMetadata),
  spec: required(
    object({
      ...{ parentRefs, rules, useDefaultGateways: ignored },
      hostnames: required(list(hostname, { min: 1, max: 1_024 })),
    }),
  ),
  status: ignored,
});

type StreamRouteDocument = Read<typeof tcpRoute> | Read<typeof tlsRoute>;

export const streamRouteKinds: Readonly<Record<StreamRoute["kind"], Reader<StreamRouteDocument>>> = {
  TCPRoute: tcpRoute,
  TLSRoute: tlsRoute,
};

/** The route as a value of the mesh, of a document that the schema has accepted; `report` gets what is known and not honoured. */
export function toStreamRoute(read: StreamRouteDocument, document: Value, report: Report): StreamRoute {
  const { kind, metadata: meta, spec } = read;
  const { name, namespace } = meta;
  return {
    ...{ kind, name, namespace, createdMs: meta.creationTimestamp, from: document.from },
    parents: parentsOfServices(spec.parentRefs, namespace),
    hostnames: "hostnames" in spec ? spec.hostnames : [],
    backends: spec.rules.flatMap(({ backendRefs }) => backendRefs.map((each) => toBackend(each, namespace, report))),
  };
}

function toBackend(
  { value: read, from }: Located<Read<typeof backendRef>>,
  own: string,
  report: Report,
): StreamBackend {
  const { port, weight } = read;
  const why = "its share of the connections is refused";
  const service = serviceOf(read, own, (what) =>
    report.unsupported(from, `spec.rules[0].backendRefs: a backend ${what}`, why, nameService),
  );
  return { service, port, weight };
}
