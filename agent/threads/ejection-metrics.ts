// main thread · endpoints that were left out because they fail, out of the cells that the data threads share.
import { type Metric, metric, single } from "../observe/metric.ts";
import type { EjectionCounts } from "../traffic/ejection-cells.ts";

export const ejectionFamilies = {
  ejections: {
    name: "orlop_endpoint_ejections_total",
    type: "counter",
    unit: "ejections",
    labels: ["reason"],
    help: "Endpoints that were left out for a caller's requests, as a DestinationRule says, by what they did",
  },
  probes: {
    name: "orlop_endpoint_probes_total",
    type: "counter",
    unit: "requests",
    labels: [],
    help: "Requests by which it was found out whether an endpoint that was left out serves again",
  },
  returns: {
    name: "orlop_endpoint_returns_total",
    type: "counter",
    unit: "endpoints",
    labels: [],
    help: "Endpoints that were left out and are used again",
  },
  untracked: {
    name: "orlop_endpoint_untracked_total",
    type: "counter",
    unit: "requests",
    labels: [],
    help: "Requests that were not counted for their endpoint, and comparisons that were left out, since too many endpoints are counted",
  },
} as const;

export function ejectionMetrics({ ejections, probes, returned, untracked }: EjectionCounts): readonly Metric[] {
  const rows = ejections.map(({ reason, count }) => ({ labels: { reason }, value: count }));
  return [
    metric(ejectionFamilies.ejections, rows),
    single(ejectionFamilies.probes, probes),
    single(ejectionFamilies.returns, returned),
    single(ejectionFamilies.untracked, untracked),
  ];
}
