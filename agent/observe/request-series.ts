// data thread · counts of requests by Istio's labels, between two hand-overs to the main thread.
import type { MetricFamily } from "./metric.ts";
import type { RequestRecord } from "./request-record.ts";
import { labelsOf, trafficLabels } from "./series.ts";

/** Istio's traffic labels, and the status that the caller was answered with; 0: none. */
export const requestLabels = [...trafficLabels, "response_code"] as const;

export const requestFamily = {
  name: "istio_requests_total",
  type: "counter",
  unit: "requests",
  labels: requestLabels,
  help: "Requests of HTTP/1.1 on connections that policy has read, refused ones included",
} as const satisfies MetricFamily;

/** Envoy's flags (envoy:docs/root/configuration/observability/access_log/usage.rst), where one says the same as our outcome. */
const flags: Readonly<Record<string, string>> = {
  refused: "DPE",
  "bad-response": "UPE",
  "reset-by-downstream": "DC",
  "reset-by-upstream": "UC",
  timeout: "SI",
};

/** Plain data: crosses to main by structured clone. */
export type RequestCount = { readonly labels: readonly string[]; readonly requests: number };

export class RequestSeries {
  readonly #limit: number;
  #counts = new Map<string, { readonly labels: readonly string[]; requests: number }>();

  /** @param limit label sets between two hand-overs; requests beyond them are counted as of nobody known. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  count({ connection, status, outcome }: RequestRecord): void {
    const { reporter, security, source, destination, service } = connection;
    const parts = [reporter, security, source.workload?.uid, source.identity?.text, destination.workload?.uid];
    const key = [...parts, destination.identity?.text, service?.hostname, status, outcome].join("|");
    const known = this.#counts.get(key);
    if (known !== undefined) {
      known.requests += 1;
      return;
    }
    const isFull = this.#counts.size >= this.#limit;
    const labels = labelsOf(
      isFull ? { ...connection, source: nobody, destination: nobody, service: null } : connection,
      "-",
    );
    const named = [...labels, String(status)].map((value, index) => {
      if (requestLabels[index] === "request_protocol") return "http";
      return requestLabels[index] === "response_flags" ? (flags[outcome] ?? "-") : value;
    });
    this.#counts.set(isFull ? named.join("|") : key, {
      labels: named,
      requests: 1 + (isFull ? this.#beyond(named) : 0),
    });
  }

  take(): readonly RequestCount[] {
    const counts = [...this.#counts.values()];
    this.#counts = new Map();
    return counts;
  }

  #beyond(labels: readonly string[]): number {
    return this.#counts.get(labels.join("|"))?.requests ?? 0;
  }
}

const nobody = { address: "", port: 0, workload: null, identity: null } as const;
