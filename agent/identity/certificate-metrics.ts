// main thread · when certificates end, and how often it failed to get them.
import type { Metric, MetricFamily } from "../observe/metric.ts";
import type { CertificateView } from "./certificates.ts";

export const certificateFamilies = {
  expiry: {
    name: "orlop_certificate_expiry_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    labels: ["identity"],
    help: "When the certificate of an identity ends, Unix time",
  },
  failures: {
    name: "orlop_certificate_failures_total",
    type: "counter",
    unit: "attempts",
    labels: [],
    help: "Failed attempts to get or renew a certificate",
  },
} as const satisfies Record<string, MetricFamily>;

/** An identity without a certificate has no sample. */
export function certificateMetrics(certificates: readonly CertificateView[], failures: number): readonly Metric[] {
  const samples = certificates.flatMap(({ spiffeId, notAfter }) =>
    notAfter === "" ? [] : [{ labels: { identity: spiffeId }, value: Date.parse(notAfter) / 1000 }],
  );
  return [
    { family: certificateFamilies.expiry, samples },
    { family: certificateFamilies.failures, samples: [{ labels: {}, value: failures }] },
  ];
}
