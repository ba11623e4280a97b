// main thread · the kernel's sums by pod, as metrics: rows of indices become rows of names, and ports are bounded per pod.
import type { Workload } from "../mesh/workload.ts";
import { type Metric, type MetricFamily, metric } from "../observe/metric.ts";
import type { TrafficRow, TrafficSums } from "./traffic-sums.ts";

const byPod = { type: "counter", labels: ["namespace", "pod", "direction", "port", "path"] } as const;

export const podFamilies = {
  opened: {
    ...byPod,
    name: "orlop_pod_connections_opened_total",
    unit: "connections",
    help: "Connections of a pod that were established, counted in the kernel",
  },
  closed: {
    ...byPod,
    name: "orlop_pod_connections_closed_total",
    unit: "connections",
    help: "Connections of a pod that ended, counted in the kernel",
  },
  failed: {
    ...byPod,
    name: "orlop_pod_connections_failed_total",
    unit: "connections",
    help: "Dials of a pod that never became a connection, counted in the kernel",
  },
  sentBytes: {
    ...byPod,
    name: "orlop_pod_sent_bytes_total",
    unit: "bytes",
    help: "Payload that a pod's sockets sent, counted in the kernel when a connection ends",
  },
  receivedBytes: {
    ...byPod,
    name: "orlop_pod_received_bytes_total",
    unit: "bytes",
    help: "Payload that a pod's sockets received, counted in the kernel when a connection ends",
  },
  srttUs: {
    ...byPod,
    name: "orlop_pod_round_trip_seconds_total",
    unit: "seconds",
    help: "Sum of the round-trip times of a pod's ended connections; divided by closed: their mean",
  },
  retransmits: {
    ...byPod,
    name: "orlop_pod_retransmits_total",
    unit: "segments",
    help: "Segments that a pod's sockets sent again, counted in the kernel when a connection ends",
  },
} as const satisfies Record<keyof TrafficSums, MetricFamily>;

const sums = Object.keys(podFamilies) as (keyof TrafficSums)[];
/** Seconds in a value as the kernel keeps it. */
const factors: Partial<Record<keyof TrafficSums, number>> = { srttUs: 1e-6 };

/** Ports of a pod that have labels of their own, in each direction: a pod that dials every port must not fill the page. */
const MAX_PORTS = 32;

type PodLabels = { namespace: string; pod: string; direction: string; port: string; path: string };
type NamedRow = { readonly labels: PodLabels; readonly totals: Record<keyof TrafficSums, number> };

export class PodMetrics {
  readonly #workloadOf: (podIdx: number) => Workload | undefined;
  /** By pod and direction: the ports that were seen first. A port keeps its place, so that no counter goes backwards. */
  #named = new Map<string, Set<number>>();

  constructor(workloadOf: (podIdx: number) => Workload | undefined) {
    this.#workloadOf = workloadOf;
  }

  /** Rows of an index that means no pod now are left out. */
  metrics(rows: readonly TrafficRow[]): readonly Metric[] {
    const named = new Map<string, Set<number>>();
    const byLabels = new Map<string, NamedRow>();
    for (const row of rows.toSorted((one, other) => one.port - other.port)) {
      const workload = this.#workloadOf(row.podIdx);
      if (workload === undefined) continue;
      const side = `${workload.uid} ${row.direction}`;
      const ports = named.get(side) ?? this.#named.get(side) ?? new Set<number>();
      named.set(side, ports);
      if (ports.size < MAX_PORTS) ports.add(row.port);
      const labels = {
        namespace: workload.namespace,
        pod: workload.name,
        direction: row.direction === "in" ? "inbound" : "outbound",
        port: ports.has(row.port) ? String(row.port) : "other",
        path: row.way,
      };
      const key = Object.values(labels).join("\u0000");
      const { totals } = byLabels.get(key) ?? { totals: nothing() };
      byLabels.set(key, { labels, totals });
      for (const sum of sums) totals[sum] += row[sum];
    }
    this.#named = named;
    const all = [...byLabels.values()];
    return sums.map((sum) =>
      metric(
        podFamilies[sum],
        all.map(({ labels, totals }) => ({ labels, value: totals[sum] * (factors[sum] ?? 1) })),
      ),
    );
  }
}

const nothing = (): Record<keyof TrafficSums, number> => ({
  ...{ opened: 0, closed: 0, failed: 0, sentBytes: 0, receivedBytes: 0, srttUs: 0, retransmits: 0 },
});
