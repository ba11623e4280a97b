// main thread · every metric by name: type, unit, labels, stability. docs/metrics.md is this table in words; a test holds them equal.
import { trafficLabels } from "./series.ts";

export type MetricStability = "stable" | "unstable";
export type MetricSpec = {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly unit: string;
  readonly stability: MetricStability;
  readonly labels: readonly string[];
  readonly help: string;
};

function counter(name: string, unit: string, labels: readonly string[], help: string): MetricSpec {
  return { name, type: "counter", unit, stability: name.startsWith("istio_") ? "stable" : "unstable", labels, help };
}
function gauge(name: string, unit: string, labels: readonly string[], help: string): MetricSpec {
  return { name, type: "gauge", unit, stability: name.startsWith("istio_") ? "stable" : "unstable", labels, help };
}

/** Counters that traffic fills, in the order of `seriesValues`. */
export const trafficMetrics = {
  opened: counter(
    "istio_tcp_connections_opened_total",
    "connections",
    trafficLabels,
    "Connections begun, refused ones included",
  ),
  closed: counter(
    "istio_tcp_connections_closed_total",
    "connections",
    trafficLabels,
    "Connections ended, refused ones included",
  ),
  failed: counter(
    "istio_tcp_connections_failed_total",
    "connections",
    trafficLabels,
    "Connections that failed; why: response_flags",
  ),
  sentBytes: counter(
    "istio_tcp_sent_bytes_total",
    "bytes",
    trafficLabels,
    "Payload of responses, counted when a connection ends",
  ),
  receivedBytes: counter(
    "istio_tcp_received_bytes_total",
    "bytes",
    trafficLabels,
    "Payload of requests, counted when a connection ends",
  ),
} as const;

export const ownMetrics = {
  build: gauge("istio_build", "1", ["component", "tag"], "Always 1; tag is the version"),
  decisions: counter(
    "orlop_decisions_total",
    "decisions",
    ["verdict", "layer", "reason"],
    "Verdicts of the evaluator on real connections",
  ),
  dryRunDenied: counter(
    "orlop_dry_run_denied_total",
    "decisions",
    ["policy"],
    "Connections a dry-run policy would have denied",
  ),
  audited: counter("orlop_audited_total", "decisions", ["policy"], "Connections an AUDIT rule matched"),
  seriesOverflow: counter(
    "orlop_series_overflow_total",
    "connections",
    [],
    'Connections counted under "other": the label budget is spent',
  ),
  handshakeFailures: counter(
    "orlop_handshake_failures_total",
    "handshakes",
    ["reason"],
    "TLS handshakes on :15008 that never became a tunnel",
  ),
  tunnelsAbused: counter(
    "orlop_tunnels_abused_total",
    "tunnels",
    ["reason"],
    "Tunnels ended because of what the peer did",
  ),
  connectionsOpen: gauge("orlop_connections_open", "connections", ["thread"], "Connections open now"),
  tunnelsOpen: gauge("orlop_tunnels_open", "tunnels", ["thread"], "HBONE tunnels open now, both directions"),
  streamsOpen: gauge("orlop_streams_open", "streams", ["thread"], "CONNECT streams open now, both directions"),
  handshakesOpen: gauge("orlop_handshakes_open", "handshakes", ["thread"], "TLS handshakes under way"),
  bufferBytes: gauge("orlop_buffer_bytes", "bytes", ["thread"], "Bytes held in relay and TLS buffers"),
  engineDescriptors: gauge("orlop_engine_descriptors", "descriptors", ["thread"], "Descriptors the engine holds"),
  accepted: counter("orlop_accepted_total", "connections", ["thread"], "Connections accepted from any listener"),
  tunnelsDialled: counter("orlop_tunnels_dialled_total", "tunnels", ["thread"], "Tunnels dialled to other nodes"),
  shed: counter(
    "orlop_shed_total",
    "connections",
    ["thread"],
    "Connections refused to stay within descriptor and memory budgets",
  ),
  loopDelay: gauge(
    "orlop_event_loop_delay_seconds",
    "seconds",
    ["thread", "quantile"],
    "Delay of the event loop since the last scrape",
  ),
  heartbeatAge: gauge("orlop_heartbeat_age_seconds", "seconds", [], "Age of the heartbeat the kernel sees"),
  pods: gauge(
    "orlop_pods",
    "pods",
    ["state"],
    "Pods of this node by enrolment state: captured, pending, failed, not-enrolled",
  ),
  certExpiry: gauge(
    "orlop_certificate_expiry_timestamp_seconds",
    "seconds",
    ["identity"],
    "When the certificate of an identity ends, Unix time",
  ),
  certFailures: counter(
    "orlop_certificate_failures_total",
    "attempts",
    [],
    "Failed attempts to get or renew a certificate",
  ),
  configErrors: gauge(
    "orlop_config_errors",
    "errors",
    [],
    "Errors in the configuration as it is now; the last good one runs",
  ),
  bpfEvents: counter(
    "orlop_bpf_events_total",
    "events",
    ["counter"],
    "Counters of the eBPF programs, by name (bpf/orlop_abi.h)",
  ),
  bpfEventsDropped: counter(
    "orlop_bpf_ring_dropped_total",
    "events",
    [],
    "Events lost because the ring buffer was full",
  ),
  bpfMapEntries: gauge("orlop_bpf_map_entries", "entries", ["map"], "Entries of an eBPF map"),
  bpfMapFill: gauge("orlop_bpf_map_fill_ratio", "ratio", ["map"], "Entries of an eBPF map divided by its bound"),
  accessLogDropped: counter(
    "orlop_access_log_dropped_total",
    "lines",
    [],
    "Access log lines dropped because the sink stalled",
  ),
  keeperConnected: gauge("orlop_keeper_connected", "1", [], "1 while the keeper answers"),
  openFds: gauge("process_open_fds", "descriptors", [], "Descriptors of the process, from /proc"),
  residentBytes: gauge("process_resident_memory_bytes", "bytes", [], "Resident memory"),
  cpuSeconds: counter("process_cpu_seconds_total", "seconds", [], "CPU time, user and system, all threads"),
  startTime: gauge("process_start_time_seconds", "seconds", [], "When the process began, Unix time"),
} as const;

export const metricTable: readonly MetricSpec[] = [...Object.values(trafficMetrics), ...Object.values(ownMetrics)];
