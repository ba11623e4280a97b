// main thread · adds up what threads and kernel counted, keeps the last report of each thread, and makes the metrics page.
import type { SourceStatus } from "../control/source.ts";
import { sourceMetrics } from "../control/source-metrics.ts";
import type { KeeperClient } from "../engine/keeper-client.ts";
import { certificateMetrics } from "../identity/certificate-metrics.ts";
import type { Certificates } from "../identity/certificates.ts";
import type { KernelCounters } from "../kernel/events.ts";
import { heartbeatAgeMs } from "../kernel/heartbeat.ts";
import { type KernelReadings, kernelMetrics } from "../kernel/kernel-metrics.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import { type Lines, type LineWriter, lineFamilies } from "../observe/line-writer.ts";
import { loopDelay, loopDelayMetric } from "../observe/loop-delay.ts";
import { type Metric, type MetricSource, single } from "../observe/metric.ts";
import { Metrics } from "../observe/metrics.ts";
import { processMetrics } from "../observe/process-metrics.ts";
import { RecordTotals } from "../observe/record-totals.ts";
import type { RecordDeltas } from "../observe/recorder.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { ThreadReport } from "../threads/messages.ts";
import { engineMetrics, PeerCounts } from "../threads/thread-metrics.ts";
import type { Enrolment } from "./enrollment.ts";
import { nodeMetrics } from "./node-metrics.ts";

export type TelemetryParts = {
  readonly version: string;
  readonly threads: Pick<DataThreads, "report">;
  readonly certificates: Pick<Certificates, "view">;
  readonly tables: Pick<KernelTables, "gate">;
  readonly keeper: Pick<KeeperClient, "connected" | "programs">;
  readonly enrolment: Pick<Enrolment, "states">;
  readonly lines: Pick<LineWriter, "add" | "dropped"> | null;
  readonly source: () => SourceStatus;
  readonly counters: () => KernelCounters | null;
  /** What the kernel counted of pods and records. */
  readonly podMetrics: () => readonly Metric[];
};

/** What the page shows of threads and maps is at most this old. */
const SAMPLE_EVERY_MS = 1_000;

export class Telemetry {
  readonly #parts: TelemetryParts;
  readonly #metrics: Metrics;
  readonly #totals = new RecordTotals(Date.now);
  readonly #peers = new PeerCounts();
  readonly #delay = loopDelay();
  readonly #open = new Map<number, number>();
  #reports: readonly ThreadReport[] = [];
  #maps: KernelReadings["maps"] = [];
  #denied = 0;
  #certFailures = 0;
  #droppedInThreads = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(parts: TelemetryParts) {
    this.#parts = parts;
    this.#metrics = new Metrics(this.#sources());
    this.#timer = setInterval(() => void this.#refresh(), SAMPLE_EVERY_MS);
    this.#timer.unref();
  }

  get page(): { readonly contentType: string; readonly text: () => Promise<string> } {
    return { contentType: this.#metrics.contentType, text: () => this.#metrics.text() };
  }

  /** Of all threads and of those that only the kernel saw. */
  get openConnections(): number {
    return [...this.#open.values()].reduce((sum, one) => sum + one, 0);
  }

  get denied(): number {
    return this.#denied;
  }

  /** @param thread its index; -1: the kernel's own records. */
  counted(thread: number, deltas: RecordDeltas, log: Lines): void {
    this.#totals.add(thread, deltas);
    this.#open.set(thread, deltas.open);
    for (const [key, value] of Object.entries(deltas.decisions)) if (key.startsWith("deny|")) this.#denied += value;
    this.#droppedInThreads += log.dropped;
    this.#parts.lines?.add(log.text, log.lines);
  }

  handshakeFailed(reason: string): void {
    this.#peers.handshakeFailed(reason);
  }

  tunnelAbused(reason: string): void {
    this.#peers.tunnelAbused(reason);
  }

  certificateFailed(): void {
    this.#certFailures += 1;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #refresh(): Promise<void> {
    const { threads, keeper } = this.#parts;
    this.#reports = await threads.report(false);
    if (!keeper.connected) return;
    try {
      this.#maps = (await keeper.programs()).maps.filter(({ entries }) => entries >= 0);
    } catch {
      // The keeper went away while we asked; what it said last stands until it is back.
    }
  }

  /** Everything that the page shows, by the room that counts it. */
  #sources(): readonly MetricSource[] {
    const { version, certificates, tables, enrolment, keeper, source, lines, counters } = this.#parts;
    return [
      () => this.#totals.metrics(),
      () => processMetrics(version),
      () => this.#peers.metrics(),
      () => engineMetrics(this.#reports.map(({ engine }) => engine)),
      () => [
        loopDelayMetric([
          ["main", this.#delay()],
          ...this.#reports.map(({ loopDelay: delay }, index) => [String(index), delay] as const),
        ]),
      ],
      () => nodeMetrics(enrolment.states(), keeper.connected),
      () => certificateMetrics(certificates.view(), this.#certFailures),
      () => sourceMetrics(source()),
      () => kernelMetrics({ heartbeatAgeMs: heartbeatAgeMs(tables.gate), counters: counters(), maps: this.#maps }),
      () => this.#parts.podMetrics(),
      () => [single(lineFamilies.dropped, (lines?.dropped ?? 0) + this.#droppedInThreads)],
    ];
  }
}
