// main thread · how many mistakes the configuration has as it is written now.
import type { Metric, MetricFamily } from "../observe/metric.ts";
import type { SourceStatus } from "./source.ts";

export const sourceFamilies = {
  errors: {
    name: "orlop_config_errors",
    type: "gauge",
    unit: "errors",
    labels: [],
    help: "Errors in the configuration as it is now; the last good one runs",
  },
} as const satisfies Record<string, MetricFamily>;

export function sourceMetrics({ state, problems }: Pick<SourceStatus, "state" | "problems">): readonly Metric[] {
  // What waits until its file is still is no mistake.
  return [{ family: sourceFamilies.errors, samples: [{ labels: {}, value: state === "held" ? 0 : problems.length }] }];
}
