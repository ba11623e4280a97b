// main thread · what the process says of itself: version, descriptors, memory, time. Counted by the kernel: a counter of our own
// could drift from the truth.
import { readdirSync } from "node:fs";
import { type Metric, type MetricFamily, metric, single } from "./metric.ts";

export const processFamilies = {
  build: {
    name: "istio_build",
    type: "gauge",
    unit: "1",
    labels: ["component", "tag"],
    help: "Always 1; tag is the version",
  },
  openFds: {
    name: "process_open_fds",
    type: "gauge",
    unit: "descriptors",
    labels: [],
    help: "Descriptors of the process, from /proc",
  },
  residentBytes: {
    name: "process_resident_memory_bytes",
    type: "gauge",
    unit: "bytes",
    labels: [],
    help: "Resident memory",
  },
  cpuSeconds: {
    name: "process_cpu_seconds_total",
    type: "counter",
    unit: "seconds",
    labels: [],
    help: "CPU time, user and system, all threads",
  },
  startTime: {
    name: "process_start_time_seconds",
    type: "gauge",
    unit: "seconds",
    labels: [],
    help: "When the process began, Unix time",
  },
} as const satisfies Record<string, MetricFamily>;

/** @param component as in Istio's own: which program it is */
export function processMetrics(version: string, component = "orlop-agent"): readonly Metric[] {
  const { user, system } = process.cpuUsage();
  return [
    metric(processFamilies.build, [{ labels: { component, tag: version }, value: 1 }]),
    single(processFamilies.openFds, readdirSync("/proc/self/fd").length),
    single(processFamilies.residentBytes, process.memoryUsage.rss()),
    single(processFamilies.cpuSeconds, (user + system) / 1_000_000),
    single(processFamilies.startTime, Math.round(performance.timeOrigin) / 1000),
  ];
}
