// any thread · DestinationRule (networking.istio.io): what holds for requests to a Service's endpoints. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import type { TrafficPolicy } from "../../mesh/traffic-policy.ts";
import { namespacedMetadata } from "./fields.ts";
import { milliseconds } from "./http-route-match.ts";
import type { NodeSettings } from "./node-settings.ts";
import {
  anything,
  growingObject,
  ignored,
  integer,
  oneOf,
  optional,
  type Read,
  required,
  string,
  unsupported,
} from "./schema.ts";
import type { Report, Value } from "./value.ts";

/** A count of failures is kept in so many bits. */
const MOST_FAILURES = 255;
const percent = integer(0, 100);

const outlierDetection = growingObject({
  consecutive5xxErrors: optional(integer(0, MOST_FAILURES), 5),
  consecutiveGatewayErrors: optional(integer(0, MOST_FAILURES), 0),
  baseEjectionTime: optional(milliseconds, 30_000),
  maxEjectionPercent: optional(percent, 10),
  minHealthPercent: optional(percent, 0),
  interval: unsupported(
    anything,
    "nothing waits for a sweep: the failure that is too much ejects, and the time ends when it ends",
  ),
  splitExternalLocalOriginErrors: unsupported(anything, "a connection that is not made counts as a gateway error"),
  consecutiveLocalOriginFailures: unsupported(anything, "a connection that is not made counts as a gateway error"),
  consecutiveErrors: unsupported(
    anything,
    "Istio has replaced it by consecutive5xxErrors and consecutiveGatewayErrors",
  ),
});

const notYet = "nothing in this agent acts on it yet";
const tooFar = "only requests are counted, by http2MaxRequests";
const connectionPool = growingObject({
  http: optional(
    growingObject({
      http2MaxRequests: optional(integer(0, 2 ** 31 - 1), null),
      http1MaxPendingRequests: unsupported(anything, tooFar),
      maxRequestsPerConnection: unsupported(anything, tooFar),
      maxRetries: unsupported(anything, "retries have a budget of a fifth, or ten a second"),
      idleTimeout: unsupported(anything, notYet),
      h2UpgradePolicy: unsupported(anything, notYet),
      useClientProtocol: unsupported(anything, notYet),
      maxConcurrentStreams: unsupported(anything, notYet),
    }),
    null,
  ),
  tcp: unsupported(anything, tooFar),
});
const trafficPolicy = growingObject({
  outlierDetection: optional<Read<typeof outlierDetection> | null>(outlierDetection, null),
  connectionPool: optional<Read<typeof connectionPool> | null>(connectionPool, null),
  loadBalancer: unsupported(anything, `${notYet}; the annotation orlop.dev/balance of the Service chooses`),
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
      subsets: unsupported(anything, notYet),
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

export function toTrafficPolicy({ spec }: DestinationRule, document: Value): TrafficPolicy {
  const outliers = spec.trafficPolicy?.outlierDetection ?? null;
  // Istio's 0 is its default, which is no limit.
  const most = spec.trafficPolicy?.connectionPool?.http?.http2MaxRequests ?? 0;
  return {
    outliers: outliers && {
      consecutive5xx: outliers.consecutive5xxErrors,
      consecutiveGateway: outliers.consecutiveGatewayErrors,
      baseMs: Math.max(1, outliers.baseEjectionTime),
      maxEjected: outliers.maxEjectionPercent,
      minHealthy: outliers.minHealthPercent,
    },
    maxRequests: most === 0 ? null : most,
    from: document.from,
  };
}
