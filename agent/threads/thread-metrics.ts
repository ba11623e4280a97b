// main thread · what each data thread's engine holds and has done, and what its peers did wrong.
import type { EngineStats } from "../engine/engine.ts";
import { LabelledCounts } from "../observe/labelled-counts.ts";
import { type Metric, type MetricFamily, metric } from "../observe/metric.ts";

const now = { type: "gauge", labels: ["thread"] } as const;
const total = { type: "counter", labels: ["thread"] } as const;

export const engineFamilies = {
  connections: { ...now, name: "orlop_connections_open", unit: "connections", help: "Connections open now" },
  tunnels: {
    ...now,
    name: "orlop_tunnels_open",
    unit: "tunnels",
    help: "HBONE tunnels open now, both directions",
  },
  streams: {
    ...now,
    name: "orlop_streams_open",
    unit: "streams",
    help: "CONNECT streams open now, both directions",
  },
  handshakes: { ...now, name: "orlop_handshakes_open", unit: "handshakes", help: "TLS handshakes under way" },
  bufferBytes: { ...now, name: "orlop_buffer_bytes", unit: "bytes", help: "Bytes held in relay and TLS buffers" },
  openDescriptors: {
    ...now,
    name: "orlop_engine_descriptors",
    unit: "descriptors",
    help: "Descriptors the engine holds",
  },
  acceptedTotal: {
    ...total,
    name: "orlop_accepted_total",
    unit: "connections",
    help: "Connections accepted from any listener",
  },
  tunnelsDialledTotal: {
    ...total,
    name: "orlop_tunnels_dialled_total",
    unit: "tunnels",
    help: "Tunnels dialled to other nodes",
  },
  shedTotal: {
    ...total,
    name: "orlop_shed_total",
    unit: "connections",
    help: "Connections refused or ended, and requests refused, to stay within budgets of descriptors, memory and pods",
  },
  slowedTotal: {
    ...total,
    name: "orlop_tunnels_slowed_total",
    unit: "pauses",
    help: "Times the peer of a tunnel was not read for a while, because it caused more than its budget",
  },
} as const satisfies Partial<Record<keyof EngineStats, MetricFamily>>;

export const peerFamilies = {
  handshakeFailures: {
    name: "orlop_handshake_failures_total",
    type: "counter",
    unit: "handshakes",
    labels: ["reason"],
    help: "TLS handshakes on :15008 that never became a tunnel",
  },
  tunnelsAbused: {
    name: "orlop_tunnels_abused_total",
    type: "counter",
    unit: "tunnels",
    labels: ["reason"],
    help: "Tunnels ended because of what the peer did",
  },
} as const satisfies Record<string, MetricFamily>;

/** Of each thread, in their order. */
export function engineMetrics(stats: readonly EngineStats[]): readonly Metric[] {
  const keys = Object.keys(engineFamilies) as (keyof typeof engineFamilies)[];
  return keys.map((key) =>
    metric(
      engineFamilies[key],
      stats.map((engine, index) => ({ labels: { thread: String(index) }, value: engine[key] })),
    ),
  );
}

/** Counts what data threads tell main of peers. */
export class PeerCounts {
  readonly #handshakeFailures = new LabelledCounts("reason");
  readonly #tunnelsAbused = new LabelledCounts("reason");

  handshakeFailed(reason: string): void {
    this.#handshakeFailures.add(reason);
  }

  tunnelAbused(reason: string): void {
    this.#tunnelsAbused.add(reason);
  }

  metrics(): readonly Metric[] {
    return [
      metric(peerFamilies.handshakeFailures, this.#handshakeFailures.samples()),
      metric(peerFamilies.tunnelsAbused, this.#tunnelsAbused.samples()),
    ];
  }
}
