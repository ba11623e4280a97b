// main thread · what `orlop control` counts: certificates and refusals, and until when it can sign.
import { type Metric, type MetricFamily, metric, single } from "../observe/metric.ts";

export const authorityFamilies = {
  requests: {
    name: "orlop_authority_requests_total",
    type: "counter",
    unit: "requests",
    labels: ["code"],
    help: "Requests for certificates, by the code of gRPC that was answered; OK is a certificate",
  },
  signs: {
    name: "orlop_authority_signs",
    type: "gauge",
    unit: "1",
    labels: [],
    help: "1 while there is a root that signs",
  },
  rootExpiry: {
    name: "orlop_authority_root_expiry_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    labels: [],
    help: "When the root that signs, or its intermediate, ends, Unix time",
  },
} as const satisfies Record<string, MetricFamily>;

/** @param rootEndsMs ms since the epoch; null: nothing signs */
export function authorityMetrics(requests: ReadonlyMap<string, number>, rootEndsMs: number | null): readonly Metric[] {
  const { requests: family, signs, rootExpiry } = authorityFamilies;
  return [
    metric(
      family,
      [...requests].map(([code, value]) => ({ labels: { code }, value })),
    ),
    single(signs, rootEndsMs === null ? 0 : 1),
    metric(rootExpiry, rootEndsMs === null ? [] : [{ labels: {}, value: rootEndsMs / 1_000 }]),
  ];
}
