// main thread · what the kernel's programs and maps say of themselves.
import { type Metric, type MetricFamily, metric, single } from "../observe/metric.ts";
import type { KernelCounters } from "./events.ts";

export const kernelFamilies = {
  heartbeatAge: {
    name: "orlop_heartbeat_age_seconds",
    type: "gauge",
    unit: "seconds",
    labels: [],
    help: "Age of the heartbeat the kernel sees",
  },
  events: {
    name: "orlop_bpf_events_total",
    type: "counter",
    unit: "events",
    labels: ["counter"],
    help: "Counters of the eBPF programs, by name (bpf/orlop_abi.h)",
  },
  ringDropped: {
    name: "orlop_bpf_ring_dropped_total",
    type: "counter",
    unit: "events",
    labels: [],
    help: "Events lost because the ring buffer was full",
  },
  endsLost: {
    name: "orlop_records_without_end_total",
    type: "counter",
    unit: "connections",
    labels: [],
    help: "Connections whose end was among the events lost: their record has no bytes, orlop_pod_* count them",
  },
  mapEntries: {
    name: "orlop_bpf_map_entries",
    type: "gauge",
    unit: "entries",
    labels: ["map"],
    help: "Entries of an eBPF map",
  },
  mapFill: {
    name: "orlop_bpf_map_fill_ratio",
    type: "gauge",
    unit: "ratio",
    labels: ["map"],
    help: "Entries of an eBPF map divided by its bound",
  },
} as const satisfies Record<string, MetricFamily>;

/** null: no keeper has lent its maps yet. */
export type KernelReadings = {
  readonly heartbeatAgeMs: number | null;
  readonly counters: KernelCounters | null;
  readonly maps: readonly { readonly name: string; readonly entries: number; readonly maxEntries: number }[];
};

export function kernelMetrics({ heartbeatAgeMs, counters, maps }: KernelReadings): readonly Metric[] {
  return [
    single(kernelFamilies.heartbeatAge, heartbeatAgeMs === null ? null : heartbeatAgeMs / 1000),
    metric(
      kernelFamilies.events,
      Object.entries(counters ?? {}).map(([counter, value]) => ({ labels: { counter }, value })),
    ),
    single(kernelFamilies.ringDropped, counters === null ? null : counters.event_dropped),
    metric(
      kernelFamilies.mapEntries,
      maps.map(({ name, entries }) => ({ labels: { map: name }, value: entries })),
    ),
    metric(
      kernelFamilies.mapFill,
      maps.map(({ name, entries, maxEntries }) => ({
        labels: { map: name },
        value: maxEntries > 0 ? entries / maxEntries : 0,
      })),
    ),
  ];
}
