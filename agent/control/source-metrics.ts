// main thread · how many mistakes the configuration has as it is written now, and what of an API server cannot be read.
import type { Metric, MetricFamily } from "../observe/metric.ts";
import { leftOutReasons } from "./left-out.ts";
import type { SourceStatus } from "./source.ts";

export const sourceFamilies = {
  errors: {
    name: "orlop_config_errors",
    type: "gauge",
    unit: "errors",
    labels: [],
    help: "Errors in the configuration as it is now; the last good one runs",
  },
  away: {
    name: "orlop_source_away",
    type: "gauge",
    unit: "1",
    labels: ["kind"],
    help: "1 while a kind cannot be read from the API server; what was read before runs. Absent with source: file",
  },
  objects: {
    name: "orlop_source_objects",
    type: "gauge",
    unit: "objects",
    labels: ["kind"],
    help: "Objects of a kind that the API server has, as far as they were read. Absent with source: file",
  },
  leftOut: {
    name: "orlop_pods_left_out",
    type: "gauge",
    unit: "pods",
    labels: ["reason"],
    help: "Pods of this node that their labels put into the mesh and that stay outside: host-network, sidecar, sandbox",
  },
} as const satisfies Record<string, MetricFamily>;

export function sourceMetrics({
  state,
  problems,
  leftOut,
  kinds,
}: Pick<SourceStatus, "state" | "problems" | "leftOut" | "kinds">): readonly Metric[] {
  const of = (numberOf: (kind: (typeof kinds)[number]) => number): Metric["samples"] =>
    kinds.map((each) => ({ labels: { kind: each.kind }, value: numberOf(each) }));
  return [
    // What waits until its file is still is no mistake.
    { family: sourceFamilies.errors, samples: [{ labels: {}, value: state === "held" ? 0 : problems.length }] },
    { family: sourceFamilies.away, samples: of(({ awaySince }) => (awaySince === "" ? 0 : 1)) },
    { family: sourceFamilies.objects, samples: of(({ objects }) => objects) },
    {
      family: sourceFamilies.leftOut,
      samples: leftOutReasons.map((reason) => ({
        labels: { reason },
        value: leftOut.filter((pod) => pod.reason === reason).length,
      })),
    },
  ];
}
