// main thread · adds up what threads and kernel counted, keeps the last report of each thread, and makes the metrics page.
import type { SourceStatus } from "../control/source.ts";
import type { KeeperClient } from "../engine/keeper-client.ts";
import type { Certificates } from "../identity/certificates.ts";
import type { KernelCounters } from "../kernel/events.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import type { Lines, LineWriter } from "../observe/line-writer.ts";
import { loopDelay } from "../observe/loop-delay.ts";
import { Metrics, type MetricsSample } from "../observe/metrics.ts";
import type { RecordDeltas } from "../observe/recorder.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { ThreadReport } from "../threads/messages.ts";
import type { Enrolment } from "./enrollment.ts";

export type TelemetryParts = {
  readonly version: string;
  readonly threads: DataThreads;
  readonly certificates: Certificates;
  readonly tables: KernelTables;
  readonly keeper: KeeperClient;
  readonly enrolment: Enrolment;
  readonly lines: LineWriter | null;
  readonly source: () => SourceStatus;
  readonly counters: () => KernelCounters | null;
};

/** What the page shows of threads and maps is at most this old. */
const SAMPLE_EVERY_MS = 1_000;

export class Telemetry {
  readonly #parts: TelemetryParts;
  readonly #metrics: Metrics;
  readonly #delay = loopDelay();
  readonly #open = new Map<number, number>();
  #reports: readonly ThreadReport[] = [];
  #maps: MetricsSample["maps"] = [];
  #denied = 0;
  #certFailures = 0;
  #droppedInThreads = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(parts: TelemetryParts) {
    this.#parts = parts;
    this.#metrics = new Metrics({ version: parts.version, now: Date.now, sample: () => this.#sample() });
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
    this.#metrics.apply(thread, deltas);
    this.#open.set(thread, deltas.open);
    for (const [key, value] of Object.entries(deltas.decisions)) if (key.startsWith("deny|")) this.#denied += value;
    this.#droppedInThreads += log.dropped;
    this.#parts.lines?.add(log.text, log.lines);
  }

  handshakeFailed(reason: string): void {
    this.#metrics.handshakeFailed(reason);
  }

  tunnelAbused(reason: string): void {
    this.#metrics.tunnelAbused(reason);
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

  #sample(): MetricsSample {
    const { certificates, tables, enrolment, keeper, source, lines, counters } = this.#parts;
    const beat = tables.gate?.read();
    const pods: Record<string, number> = { captured: 0, failed: 0 };
    for (const { state } of enrolment.states()) pods[state] = (pods[state] ?? 0) + 1;
    const named = counters();
    return {
      threads: this.#reports.map(({ engine }, index) => ({ thread: String(index), ...engine })),
      loopDelays: [
        { thread: "main", ...this.#delay() },
        ...this.#reports.map(({ loopDelay: delay }, index) => ({ thread: String(index), ...delay })),
      ],
      heartbeatAgeMs:
        beat === undefined || beat.beatNs === 0n ? null : Number(process.hrtime.bigint() - beat.beatNs) / 1e6,
      pods,
      certs: certificates
        .view()
        .flatMap(({ spiffeId, notAfter }) =>
          notAfter === "" ? [] : [{ identity: spiffeId, notAfterMs: Date.parse(notAfter) }],
        ),
      certFailures: this.#certFailures,
      configErrors: source().problems.length,
      counters: named === null ? null : Object.values(named),
      maps: this.#maps,
      accessLogDropped: (lines?.dropped ?? 0) + this.#droppedInThreads,
      keeperConnected: keeper.connected,
    };
  }
}
