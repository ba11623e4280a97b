// main thread · the pods of this node by state, whether the keeper answers, and which programs of the node it lets in to pods.
import type { PodState } from "../admin/source.ts";
import type { AwaitedFound, NodeAccessView } from "../keeper/protocol.ts";
import { type Metric, type MetricFamily, metric, single } from "../observe/metric.ts";

export const nodeFamilies = {
  pods: {
    name: "orlop_pods",
    type: "gauge",
    unit: "pods",
    labels: ["state"],
    help: "Pods of this node by enrollment state: captured, pending, failed, leaving, not-enrolled",
  },
  podsFound: {
    name: "orlop_pods_begun_total",
    type: "counter",
    unit: "pods",
    labels: ["guarded"],
    help: "Pods that policy protects, and that began under a guard: expected, before any process; first-process, before any container; late, when containers ran already, which may have dialled",
  },
  keeperConnected: {
    name: "orlop_keeper_connected",
    type: "gauge",
    unit: "1",
    labels: [],
    help: "1 while the keeper answers",
  },
  nodeAccess: {
    name: "orlop_node_access_programs",
    type: "gauge",
    unit: "programs",
    labels: ["role"],
    help: "Programs of the node that are let in to its pods past their policy: kubelet, named, node",
  },
  nodeAccessMissing: {
    name: "orlop_node_access_missing",
    type: "gauge",
    unit: "1",
    labels: [],
    help: "1 while a program that the node's configuration lets in is not found, or not for certain",
  },
} as const satisfies Record<string, MetricFamily>;

/** Captured and failed pods are counted also where there are none: an alert needs the 0. */
export function nodeMetrics(
  pods: readonly Pick<PodState, "state">[],
  found: Readonly<Record<AwaitedFound, number>>,
  keeperConnected: boolean,
  nodeAccess: NodeAccessView | null,
): readonly Metric[] {
  const programs = new Map([["kubelet", 0]]);
  for (const { role } of nodeAccess?.programs ?? []) programs.set(role, (programs.get(role) ?? 0) + 1);
  const counts: Record<string, number> = { captured: 0, failed: 0 };
  for (const { state } of pods) counts[state] = (counts[state] ?? 0) + 1;
  return [
    metric(
      nodeFamilies.pods,
      Object.entries(counts).map(([state, value]) => ({ labels: { state }, value })),
    ),
    metric(
      nodeFamilies.podsFound,
      Object.entries(found).map(([guarded, value]) => ({ labels: { guarded }, value })),
    ),
    single(nodeFamilies.keeperConnected, keeperConnected ? 1 : 0),
    metric(
      nodeFamilies.nodeAccess,
      nodeAccess === null ? [] : [...programs].map(([role, value]) => ({ labels: { role }, value })),
    ),
    single(nodeFamilies.nodeAccessMissing, nodeAccess === null ? null : nodeAccess.problem === "" ? 0 : 1),
  ];
}
