// any thread · DestinationRule (networking.istio.io): what holds for requests to a Service's endpoints. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import type { LocalityPreference } from "../../mesh/service.ts";
import type {
  ConsistentHash,
  HashKey,
  RequestBalancing,
  SuccessRate,
  TrafficPolicy,
  WarmUp,
} from "../../mesh/traffic-policy.ts";
import { namespacedMetadata } from "./fields.ts";
import { milliseconds } from "./http-route-match.ts";
import type { NodeSettings } from "./node-settings.ts";
import {
  anything,
  boolean,
  growingObject,
  ignored,
  integer,
  list,
  oneOf,
  optional,
  type Read,
  type Reader,
  required,
  string,
  unsupported,
  wrongValue,
} from "./schema.ts";
import { successRateOf } from "./success-rate.ts";
import type { Report, Value } from "./value.ts";

/** A count of failures is kept in so many bits. */
const MOST_FAILURES = 255;
const percent = integer(0, 100);
/** Between sweeps of success rates. */
const SHORTEST_INTERVAL_MS = 1_000;
const LONGEST_INTERVAL_MS = 300_000;

const outlierDetection = growingObject({
  consecutive5xxErrors: optional(integer(0, MOST_FAILURES), 5),
  consecutiveGatewayErrors: optional(integer(0, MOST_FAILURES), 0),
  baseEjectionTime: optional(milliseconds, 30_000),
  maxEjectionPercent: optional(percent, 10),
  minHealthPercent: optional(percent, 0),
  interval: optional(milliseconds, null),
  splitExternalLocalOriginErrors: unsupported(anything, "a connection that is not made counts as a gateway error"),
  consecutiveLocalOriginFailures: unsupported(anything, "a connection that is not made counts as a gateway error"),
  outlierDetectionHttpErrorCodes: unsupported(anything, "statuses from 500 on are failures, and no others"),
  consecutiveErrors: unsupported(
    anything,
    "Istio has replaced it by consecutive5xxErrors and consecutiveGatewayErrors",
  ),
});

/** Istio's names and ours. */
const simple: Readonly<Record<string, RequestBalancing | null>> = {
  ...{ UNSPECIFIED: null, LEAST_REQUEST: "least-request", LEAST_CONN: "least-request" },
  ...{ ROUND_ROBIN: "round-robin", RANDOM: "random" },
};
/** Places of a table, as Envoy has them; the most are what a thread makes within some milliseconds. */
const [RING, MAGLEV, MOST_PLACES] = [1_024, 65_537, 65_537];
const prime: Reader<number> = (value, path, report) => {
  const size = integer(3, MOST_PLACES)(value, path, report);
  if (size === undefined || isPrime(size)) return size;
  const why = "the permutations of Maglev would not reach every place";
  return wrongValue(value.from, `${path}: ${size} is no prime`, why, "write a prime, such as 65537", report);
};
const isPrime = (size: number): boolean => {
  for (let divisor = 2; divisor * divisor <= size; divisor += 1) if (size % divisor === 0) return false;
  return true;
};

const notYet = "nothing in this agent acts on it yet";
const ofRequests = "connections are opened for requests, and end by http.idleTimeout";
/** As long as the engine waits for a connection by itself, and longer than any keeps it idle. */
const [LONGEST_CONNECT_MS, LONGEST_IDLE_MS] = [10_000, 3_600_000];
const MOST_COUNT = 2 ** 31 - 1;
const connectionPool = growingObject({
  http: optional(
    growingObject({
      http2MaxRequests: optional(integer(0, MOST_COUNT), null),
      http1MaxPendingRequests: optional(integer(0, MOST_COUNT), 0),
      maxRequestsPerConnection: optional(integer(0, MOST_COUNT), 0),
      maxRetries: unsupported(anything, "retries have a budget of a fifth, or ten a second"),
      idleTimeout: optional(milliseconds, 0),
      h2UpgradePolicy: unsupported(anything, notYet),
      useClientProtocol: unsupported(anything, notYet),
      maxConcurrentStreams: unsupported(anything, notYet),
      http2KeepAlive: unsupported(anything, notYet),
    }),
    null,
  ),
  tcp: optional(
    growingObject({
      connectTimeout: optional(milliseconds, 0),
      maxConnections: optional(integer(0, MOST_COUNT), 0),
      idleTimeout: unsupported(anything, ofRequests),
      maxConnectionDuration: unsupported(anything, ofRequests),
      tcpKeepalive: unsupported(anything, notYet),
    }),
    null,
  ),
});
/** As Istio has them; a request without the key is balanced as without a hash. */
const consistentHash = growingObject({
  httpHeaderName: optional(string, ""),
  httpQueryParameterName: optional(string, ""),
  useSourceIp: optional(boolean, false),
  httpCookie: optional(
    growingObject({
      name: required(string),
      ttl: unsupported(anything, "no cookie is set; a request without it is balanced as without a key"),
      path: unsupported(anything, "no cookie is set"),
      attributes: unsupported(anything, "no cookie is set"),
    }),
    null,
  ),
  minimumRingSize: optional(integer(1, MOST_PLACES), null),
  ringHash: optional(growingObject({ minimumRingSize: optional(integer(1, MOST_PLACES), RING) }), null),
  maglev: optional(growingObject({ tableSize: optional(prime, MAGLEV) }), null),
});
const warmup = growingObject({
  duration: required(milliseconds),
  minimumPercent: optional(integer(1, 100), 10),
  aggression: optional(integer(1, 100), 1),
});

/** Labels of a place that are known by other means than a pod's labels. */
const places: Readonly<Record<string, LocalityPreference>> = {
  ...{ "topology.istio.io/network": "network", "topology.istio.io/cluster": "cluster" },
  ...{ "topology.kubernetes.io/region": "region", "topology.kubernetes.io/zone": "zone" },
  ...{ "topology.istio.io/subzone": "subzone", "kubernetes.io/hostname": "node" },
};
const localityLbSetting = growingObject({
  enabled: optional(boolean, true),
  failoverPriority: optional(list(oneOf(...Object.keys(places)), { max: 6 }), []),
  failover: unsupported(anything, "who is further away comes in no order of its own; failoverPriority orders"),
  distribute: unsupported(anything, notYet),
});
const loadBalancer = growingObject({
  simple: optional(oneOf(...Object.keys(simple), "PASSTHROUGH"), "UNSPECIFIED"),
  consistentHash: optional<Read<typeof consistentHash> | null>(consistentHash, null),
  localityLbSetting: optional<Read<typeof localityLbSetting> | null>(localityLbSetting, null),
  zoneAwareLbSetting: unsupported(anything, notYet),
  warmup: optional<Read<typeof warmup> | null>(warmup, null),
  warmupDurationSecs: optional(milliseconds, 0),
});
const trafficPolicy = growingObject({
  outlierDetection: optional<Read<typeof outlierDetection> | null>(outlierDetection, null),
  connectionPool: optional<Read<typeof connectionPool> | null>(connectionPool, null),
  loadBalancer: optional<Read<typeof loadBalancer> | null>(loadBalancer, null),
  retryBudget: unsupported(anything, "retries have a budget of a fifth, or ten a second"),
  tls: unsupported(anything, "the mesh encrypts by itself"),
  portLevelSettings: unsupported(anything, notYet),
  tunnel: unsupported(anything, notYet),
  proxyProtocol: unsupported(anything, notYet),
});

export const destinationRuleKind = growingObject({
  apiVersion: required(oneOf("networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3")),
  kind: required(oneOf("DestinationRule")),
  metadata: required(growingObject(namespacedMetadata)),
  spec: required(
    growingObject({
      host: required(string),
      trafficPolicy: optional<Read<typeof trafficPolicy> | null>(trafficPolicy, null),
      subsets: unsupported(
        anything,
        "nothing chooses a subset, nor its trafficPolicy: routes name Services, and no VirtualService is read",
        "write a Service and a DestinationRule for each version, and a route between them",
      ),
      exportTo: unsupported(anything, "it holds for every caller of the Service"),
      workloadSelector: unsupported(anything, "it holds for every caller of the Service"),
    }),
  ),
  status: ignored,
});
export type DestinationRule = Read<typeof destinationRuleKind>;

/** `<namespace>/<name>` of the Service that it is about; undefined: of none (reported). */
export function serviceOfRule(
  { metadata, spec }: DestinationRule,
  document: Value,
  { clusterDomain }: NodeSettings,
  report: Report,
): string | undefined {
  const skip = (why: string): undefined =>
    void report.unsupported(document.from, `host ${JSON.stringify(spec.host)} is not honoured`, why, "name a Service");
  const [name = "", namespace = metadata.namespace, ...rest] = spec.host.split(".");
  const suffix = rest.join(".");
  if (
    !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name) ||
    (rest.length > 0 && suffix !== "svc" && suffix !== `svc.${clusterDomain}`)
  )
    return skip("it names no Service of the mesh");
  // Who calls a Service does not decide what others' calls meet.
  if (namespace !== metadata.namespace) return skip("a DestinationRule counts in the namespace of its Service alone");
  return fullName({ namespace, name });
}

/** undefined: a mistake, which is reported. */
export function toTrafficPolicy(
  { metadata, spec }: DestinationRule,
  document: Value,
  report: Report,
): TrafficPolicy | undefined {
  const { simple: balance = "UNSPECIFIED", consistentHash: hash = null } = spec.trafficPolicy?.loadBalancer ?? {};
  if (balance === "PASSTHROUGH") {
    const what = "loadBalancer.simple PASSTHROUGH is not honoured";
    report.unsupported(document.from, what, "the Service's endpoints are chosen among", "remove it");
  }
  const outliers = spec.trafficPolicy?.outlierDetection ?? null;
  const successRate = successRateIn(metadata.annotations, outliers, document, report);
  if (successRate === undefined) return undefined;
  // Istio's 0 is its default, which is no limit.
  const most = spec.trafficPolicy?.connectionPool?.http?.http2MaxRequests ?? 0;
  return {
    outliers: outliers && {
      consecutive5xx: outliers.consecutive5xxErrors,
      consecutiveGateway: outliers.consecutiveGatewayErrors,
      baseMs: Math.max(1, outliers.baseEjectionTime),
      maxEjected: outliers.maxEjectionPercent,
      minHealthy: outliers.minHealthPercent,
      ...(successRate && { successRate }),
    },
    maxRequests: most === 0 ? null : most,
    ...toConnectionCaps(spec.trafficPolicy?.connectionPool ?? null),
    ...toPool(spec.trafficPolicy?.connectionPool ?? null),
    hash: hash === null ? null : toHash(hash, document, report),
    balance: simple[balance] ?? null,
    warmUp: toWarmUp(spec.trafficPolicy?.loadBalancer ?? null),
    from: document.from,
  };
}

/** null: endpoints are not compared. undefined: a mistake, which is reported. */
function successRateIn(
  annotations: Readonly<Record<string, string>>,
  outliers: Read<typeof outlierDetection> | null,
  { from }: Value,
  report: Report,
): SuccessRate | null | undefined {
  const intervalMs = Math.min(Math.max(outliers?.interval ?? 10_000, SHORTEST_INTERVAL_MS), LONGEST_INTERVAL_MS);
  const read = successRateOf(annotations, intervalMs, from, report);
  if (read === null && outliers !== null && outliers.interval !== null) {
    const what = "spec.trafficPolicy.outlierDetection.interval is not honoured";
    const why = "nothing waits for a sweep but a success rate: the failure that is too much ejects";
    report.unsupported(from, what, why, "remove it");
  }
  if (!read || outliers !== null) return read;
  const what = "the annotation orlop.dev/success-rate is not honoured";
  report.unsupported(from, what, "nobody says for how long and how many are left out", "write outlierDetection");
  return null;
}

/** Nothing where nothing is written, so that most connections are as the engine keeps them by itself. */
function toPool(read: Read<typeof connectionPool> | null): Pick<TrafficPolicy, "pool"> {
  const pool = {
    connectMs: Math.min(read?.tcp?.connectTimeout ?? 0, LONGEST_CONNECT_MS),
    idleMs: Math.min(read?.http?.idleTimeout ?? 0, LONGEST_IDLE_MS),
    mostRequests: read?.http?.maxRequestsPerConnection ?? 0,
  };
  return pool.connectMs + pool.idleMs + pool.mostRequests === 0 ? {} : { pool };
}

/** Of Istio's default and of 0 nothing: no limit. */
function toConnectionCaps(
  read: Read<typeof connectionPool> | null,
): Pick<TrafficPolicy, "maxConnections" | "maxPending"> {
  const isCap = (most: number): boolean => most !== 0 && most !== MOST_COUNT;
  const [most, pending] = [read?.tcp?.maxConnections ?? 0, read?.http?.http1MaxPendingRequests ?? 0];
  return { ...(isCap(most) && { maxConnections: most }), ...(isCap(pending) && { maxPending: pending }) };
}

function toWarmUp(read: Read<typeof loadBalancer> | null): WarmUp | null {
  const { duration: durationMs, ...rest } = read?.warmup ?? {
    ...{ duration: read?.warmupDurationSecs ?? 0, minimumPercent: 10, aggression: 1 },
  };
  return durationMs === 0 ? null : { durationMs, ...rest };
}

/** In which order of places endpoints are preferred, the next where nobody of the better serves; null: it says nothing. */
export function toLocality({ spec }: DestinationRule): readonly LocalityPreference[] | null {
  const { enabled = false, failoverPriority = [] } = spec.trafficPolicy?.loadBalancer?.localityLbSetting ?? {};
  if (!enabled) return null;
  const wanted = failoverPriority.map((label) => places[label]).filter((place) => place !== undefined);
  return wanted.length === 0 ? ["region", "zone", "subzone"] : wanted;
}

/** null: it names no key, or several (reported). */
function toHash(read: Read<typeof consistentHash>, document: Value, report: Report): ConsistentHash | null {
  const { httpHeaderName, httpQueryParameterName, httpCookie, useSourceIp, minimumRingSize, ringHash, maglev } = read;
  const keys: HashKey[] = [
    ...(httpHeaderName === "" ? [] : [{ of: "header", name: httpHeaderName.toLowerCase() } as const]),
    ...(httpQueryParameterName === "" ? [] : [{ of: "query", name: httpQueryParameterName } as const]),
    ...(httpCookie === null ? [] : [{ of: "cookie", name: httpCookie.name } as const]),
    ...(useSourceIp ? [{ of: "source-address" } as const] : []),
  ];
  const [key] = keys;
  if (key === undefined || keys.length > 1) {
    const what = `consistentHash names ${key === undefined ? "no key" : "several keys"}`;
    report.unsupported(document.from, what, "nobody says what of a request counts", "name a single key");
    return null;
  }
  const ring = { kind: "ring", size: ringHash?.minimumRingSize ?? minimumRingSize ?? RING } as const;
  return { key, table: maglev === null ? ring : { kind: "maglev", size: maglev.tableSize } };
}
