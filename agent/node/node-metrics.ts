// main thread · the pods of this node by state, and whether the keeper answers.
import type { PodState } from "../admin/source.ts";
import { type Metric, type MetricFamily, metric, single } from "../observe/metric.ts";

export const nodeFamilies = {
  pods: {
    name: "orlop_pods",
    type: "gauge",
    unit: "pods",
    labels: ["state"],
    help: "Pods of this node by enrollment state: captured, pending, failed, not-enrolled",
  },
  keeperConnected: {
    name: "orlop_keeper_connected",
    type: "gauge",
    unit: "1",
    labels: [],
    help: "1 while the keeper answers",
  },
} as const satisfies Record<string, MetricFamily>;

/** Captured and failed pods are counted also where there are none: an alert needs the 0. */
export function nodeMetrics(pods: readonly Pick<PodState, "state">[], keeperConnected: boolean): readonly Metric[] {
  const counts: Record<string, number> = { captured: 0, failed: 0 };
  for (const { state } of pods) counts[state] = (counts[state] ?? 0) + 1;
  return [
    metric(
      nodeFamilies.pods,
      Object.entries(counts).map(([state, value]) => ({ labels: { state }, value })),
    ),
    single(nodeFamilies.keeperConnected, keeperConnected ? 1 : 0),
  ];
}
