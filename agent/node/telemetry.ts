// main thread · the metrics page: what the rooms count, read at each scrape, and the last report of each data thread.
import type { ConfigurationSource } from "../control/source.ts";
import { sourceMetrics } from "../control/source-metrics.ts";
import type { KeeperClient } from "../engine/keeper-client.ts";
import { certificateMetrics } from "../identity/certificate-metrics.ts";
import type { Certificates } from "../identity/certificates.ts";
import type { NodeAccessView } from "../keeper/protocol.ts";
import { heartbeatAgeMs } from "../kernel/heartbeat.ts";
import { type KernelReadings, kernelMetrics } from "../kernel/kernel-metrics.ts";
import type { KernelWatch } from "../kernel/kernel-watch.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import { lineFamilies } from "../observe/line-writer.ts";
import { loopDelay, loopDelayMetric } from "../observe/loop-delay.ts";
import { type MetricSource, single } from "../observe/metric.ts";
import { Metrics } from "../observe/metrics.ts";
import { processMetrics } from "../observe/process-metrics.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import { ejectionMetrics } from "../threads/ejection-metrics.ts";
import type { LimitBuffers } from "../threads/limit-buffers.ts";
import { limitMetrics } from "../threads/limit-metrics.ts";
import type { ThreadReport } from "../threads/messages.ts";
import { overflowMetrics } from "../threads/overflow-metrics.ts";
import { engineMetrics } from "../threads/thread-metrics.ts";
import type { AgentCounts } from "./agent-counts.ts";
import type { NodeEnrollment } from "./enrollment.ts";
import { nodeMetrics } from "./node-metrics.ts";

export type TelemetryParts = {
  readonly version: string;
  readonly counts: AgentCounts;
  readonly threads: Pick<DataThreads, "report" | "ejections" | "connectionOverflow">;
  readonly certificates: Pick<Certificates, "view">;
  readonly tables: Pick<KernelTables, "gate">;
  readonly keeper: Pick<KeeperClient, "connected" | "programs" | "nodeAccess">;
  readonly enrollment: Pick<NodeEnrollment, "states">;
  readonly source: Pick<ConfigurationSource, "status">;
  readonly watch: Pick<KernelWatch, "counters" | "metrics">;
  readonly limits: Pick<LimitBuffers, "counted">;
};

/** What the page shows of threads and maps is at most this old. */
const SAMPLE_EVERY_MS = 1_000;

export class Telemetry {
  readonly #parts: TelemetryParts;
  readonly #metrics: Metrics;
  readonly #delay = loopDelay();
  #reports: readonly ThreadReport[] = [];
  #maps: KernelReadings["maps"] = [];
  #nodeAccess: NodeAccessView | null = null;
  readonly #timer: NodeJS.Timeout;

  constructor(parts: TelemetryParts) {
    this.#parts = parts;
    this.#metrics = new Metrics(this.#sources());
    this.#timer = setInterval(() => void this.refresh(), SAMPLE_EVERY_MS);
    this.#timer.unref();
  }

  get page(): { readonly contentType: string; readonly text: () => Promise<string> } {
    return { contentType: this.#metrics.contentType, text: () => this.#metrics.text() };
  }

  /** Asks data threads and keeper for what the page shows of them. Called by its own timer, and by tests. */
  async refresh(): Promise<void> {
    const { threads, keeper } = this.#parts;
    this.#reports = await threads.report(false);
    if (!keeper.connected) return;
    try {
      this.#nodeAccess = await keeper.nodeAccess();
      this.#maps = (await keeper.programs()).maps.filter(({ entries }) => entries >= 0);
    } catch {
      // The keeper went away before it answered. The page shows its last answer until it is back.
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Everything that the page shows, by the room that counts it. */
  #sources(): readonly MetricSource[] {
    const { version, counts, certificates, tables, enrollment, keeper, source, watch, limits, threads } = this.#parts;
    return [
      () => counts.totals.metrics(),
      () => processMetrics(version),
      () => counts.peers.metrics(),
      () => engineMetrics(this.#reports.map(({ engine }) => engine)),
      () => [
        loopDelayMetric([
          ["main", this.#delay()],
          ...this.#reports.map(({ loopDelay: delay }, index) => [String(index), delay] as const),
        ]),
      ],
      () => nodeMetrics(enrollment.states(), counts.podsFound, keeper.connected, this.#nodeAccess),
      () => certificateMetrics(certificates.view(), counts.certificateFailures),
      () => sourceMetrics(source.status()),
      () =>
        kernelMetrics({ heartbeatAgeMs: heartbeatAgeMs(tables.gate), counters: watch.counters(), maps: this.#maps }),
      () => watch.metrics(),
      () => limitMetrics(limits),
      () => ejectionMetrics(threads.ejections),
      () => overflowMetrics(threads.connectionOverflow),
      () => [single(lineFamilies.dropped, counts.linesDropped)],
    ];
  }
}
