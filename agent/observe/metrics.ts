// main thread · adds up what the data threads hand over and samples the rest at each scrape. The only prom-client import.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import type { Counter, Gauge, Registry } from "prom-client";
import { counterNames } from "../abi.ts";
import { type MetricSpec, ownMetrics, trafficMetrics } from "./metric-table.ts";
import type { RecordDeltas } from "./recorder.ts";
import { seriesValues, trafficLabels } from "./series.ts";

export type ThreadSample = {
  readonly thread: string;
  readonly connections: number;
  readonly tunnels: number;
  readonly streams: number;
  readonly handshakes: number;
  readonly bufferBytes: number;
  readonly openDescriptors: number;
  readonly acceptedTotal: number;
  readonly tunnelsDialledTotal: number;
  readonly shedTotal: number;
};

/** Seconds. */
export type LoopDelaySample = {
  readonly thread: string;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
};

/** What main knows at the moment of a scrape; null: not known now, and then the metric is absent rather than 0. */
export type MetricsSample = {
  readonly threads: readonly ThreadSample[];
  readonly loopDelays: readonly LoopDelaySample[];
  readonly heartbeatAgeMs: number | null;
  readonly pods: Readonly<Record<string, number>>;
  readonly certs: readonly { readonly identity: string; readonly notAfterMs: number }[];
  readonly certFailures: number;
  readonly configErrors: number;
  /** Totals in the order of `counterNames`. */
  readonly counters: readonly number[] | null;
  readonly maps: readonly { readonly name: string; readonly entries: number; readonly maxEntries: number }[];
  readonly accessLogDropped: number;
  readonly keeperConnected: boolean;
};

export type MetricsOptions = {
  readonly version: string;
  readonly now: () => number;
  readonly sample: () => MetricsSample;
};

// The package's entry also loads node:cluster, zlib, https and the default metrics: 8 MB resident that a node agent has no
// use for (measured: 8.4 MB after node:http, these three files 0.5 MB). The versions are pinned, so are the paths.
const load = createRequire(import.meta.url);
const parts = {
  Counter: load("prom-client/lib/counter.js") as typeof Counter,
  Gauge: load("prom-client/lib/gauge.js") as typeof Gauge,
  Registry: load("prom-client/lib/registry.js") as typeof Registry,
};

type Labels = Record<string, string>;
type Shared = { readonly labels: Labels; users: number; idleSinceMs: number };

/** A label set that no thread knows any more stays this long, so that the last numbers are scraped. */
const forgetMs = 3_600_000;
/** Peers choose neither of these words freely, but a bound costs nothing. */
const maxReasons = 64;

export class Metrics {
  readonly #options: MetricsOptions;
  readonly #registry = new parts.Registry();
  readonly #traffic: Record<(typeof seriesValues)[number], Counter>;
  readonly #counters = new Map<MetricSpec, Counter>();
  readonly #gauges = new Map<MetricSpec, Gauge>();
  readonly #byThread = new Map<number, Map<number, Shared>>();
  readonly #shared = new Map<string, Shared>();
  readonly #reasons = new Map<MetricSpec, Set<string>>();

  constructor(options: MetricsOptions) {
    this.#options = options;
    const registers = [this.#registry];
    const make = (spec: MetricSpec): Counter =>
      new parts.Counter({ name: spec.name, help: spec.help, labelNames: spec.labels, registers });
    this.#traffic = {
      opened: make(trafficMetrics.opened),
      closed: make(trafficMetrics.closed),
      failed: make(trafficMetrics.failed),
      sentBytes: make(trafficMetrics.sentBytes),
      receivedBytes: make(trafficMetrics.receivedBytes),
    };
    for (const spec of Object.values(ownMetrics)) {
      if (spec.type === "counter") this.#counters.set(spec, make(spec));
      else
        this.#gauges.set(
          spec,
          new parts.Gauge({ name: spec.name, help: spec.help, labelNames: spec.labels, registers }),
        );
    }
    this.#set(ownMetrics.build, 1, { component: "orlop-agent", tag: options.version });
    this.#set(ownMetrics.startTime, (options.now() - process.uptime() * 1000) / 1000);
  }

  /** Adds what one data thread counted since its last hand-over. */
  apply(thread: number, deltas: RecordDeltas): void {
    const known = this.#byThread.get(thread) ?? new Map<number, Shared>();
    this.#byThread.set(thread, known);
    for (const { id, labels } of deltas.fresh) known.set(id, this.#use(labels));
    const width = seriesValues.length + 1;
    for (let at = 0; at + width <= deltas.rows.length; at += width) {
      const shared = known.get(deltas.rows[at] ?? -1);
      if (!shared) continue; // Only a thread that was forgotten in between sends such a row.
      seriesValues.forEach((name, column) => {
        const value = deltas.rows[at + column + 1] ?? 0;
        if (value > 0) this.#traffic[name].inc(shared.labels, value);
      });
    }
    for (const id of deltas.dropped) this.#release(known, id);
    this.#count(ownMetrics.seriesOverflow, deltas.overflowed);
    for (const [key, value] of Object.entries(deltas.decisions)) {
      const [verdict = "", layer = "", reason = ""] = key.split("|");
      this.#count(ownMetrics.decisions, value, { verdict, layer, reason });
    }
    this.#countEach(ownMetrics.dryRunDenied, "policy", deltas.dryRunDenied);
    this.#countEach(ownMetrics.audited, "policy", deltas.audited);
    this.#forgetIdle();
  }

  /** The thread is gone: its numbers stay until nobody has used them for an hour. */
  forget(thread: number): void {
    const known = this.#byThread.get(thread);
    for (const id of known?.keys() ?? []) this.#release(known, id);
    this.#byThread.delete(thread);
  }

  handshakeFailed(reason: string): void {
    this.#countEach(ownMetrics.handshakeFailures, "reason", { [reason]: 1 });
  }

  tunnelAbused(reason: string): void {
    this.#countEach(ownMetrics.tunnelsAbused, "reason", { [reason]: 1 });
  }

  /** Label sets held, for tests and `orlop status`. */
  get labelSets(): number {
    return this.#shared.size;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The page, in Prometheus' text format. */
  async text(): Promise<string> {
    this.#collect();
    return this.#registry.metrics();
  }

  #collect(): void {
    const sample = this.#options.sample();
    const fresh = (spec: MetricSpec): void => (this.#gauges.get(spec) ?? this.#counters.get(spec))?.reset();
    for (const [spec, read] of threadMetrics) {
      fresh(spec);
      for (const one of sample.threads) {
        if (spec.type === "gauge") this.#set(spec, read(one), { thread: one.thread });
        else this.#count(spec, read(one), { thread: one.thread });
      }
    }
    fresh(ownMetrics.loopDelay);
    for (const { thread, p50, p99, max } of sample.loopDelays) {
      this.#set(ownMetrics.loopDelay, p50, { thread, quantile: "0.5" });
      this.#set(ownMetrics.loopDelay, p99, { thread, quantile: "0.99" });
      this.#set(ownMetrics.loopDelay, max, { thread, quantile: "1" });
    }
    this.#gauges.get(ownMetrics.heartbeatAge)?.remove();
    if (sample.heartbeatAgeMs !== null) this.#set(ownMetrics.heartbeatAge, sample.heartbeatAgeMs / 1000);
    fresh(ownMetrics.pods);
    for (const [state, count] of Object.entries(sample.pods)) this.#set(ownMetrics.pods, count, { state });
    fresh(ownMetrics.certExpiry);
    for (const { identity, notAfterMs } of sample.certs)
      this.#set(ownMetrics.certExpiry, notAfterMs / 1000, { identity });
    this.#total(ownMetrics.certFailures, sample.certFailures);
    this.#set(ownMetrics.configErrors, sample.configErrors);
    this.#collectKernel(sample);
    this.#total(ownMetrics.accessLogDropped, sample.accessLogDropped);
    this.#set(ownMetrics.keeperConnected, sample.keeperConnected ? 1 : 0);
    this.#collectProcess();
  }

  #collectKernel(sample: MetricsSample): void {
    if (sample.counters) {
      this.#counters.get(ownMetrics.bpfEvents)?.reset();
      counterNames.forEach((counter, index) => {
        const value = sample.counters?.[index] ?? 0;
        if (counter === "event_dropped") this.#total(ownMetrics.bpfEventsDropped, value);
        this.#count(ownMetrics.bpfEvents, value, { counter });
      });
    }
    for (const spec of [ownMetrics.bpfMapEntries, ownMetrics.bpfMapFill]) this.#gauges.get(spec)?.reset();
    for (const { name, entries, maxEntries } of sample.maps) {
      this.#set(ownMetrics.bpfMapEntries, entries, { map: name });
      this.#set(ownMetrics.bpfMapFill, maxEntries > 0 ? entries / maxEntries : 0, { map: name });
    }
  }

  #collectProcess(): void {
    // Counted by the kernel, not by us: a counter of our own could drift from the truth
    // (docs/reference/failures.md, row G7).
    this.#set(ownMetrics.openFds, readdirSync("/proc/self/fd").length);
    this.#set(ownMetrics.residentBytes, process.memoryUsage.rss());
    const { user, system } = process.cpuUsage();
    this.#total(ownMetrics.cpuSeconds, (user + system) / 1_000_000);
  }

  #use(labels: readonly string[]): Shared {
    const key = labels.join("\u0000");
    let shared = this.#shared.get(key);
    if (!shared) {
      const named = Object.fromEntries(trafficLabels.map((name, index) => [name, labels[index] ?? "unknown"]));
      shared = { labels: named, users: 0, idleSinceMs: 0 };
      this.#shared.set(key, shared);
    }
    shared.users += 1;
    return shared;
  }

  #release(known: Map<number, Shared> | undefined, id: number): void {
    const shared = known?.get(id);
    if (!shared) return;
    known?.delete(id);
    shared.users -= 1;
    shared.idleSinceMs = this.#options.now();
  }

  #forgetIdle(): void {
    const now = this.#options.now();
    for (const [key, shared] of this.#shared) {
      if (shared.users > 0 || now - shared.idleSinceMs < forgetMs) continue;
      this.#shared.delete(key);
      for (const metric of Object.values(this.#traffic)) metric.remove(shared.labels);
    }
  }

  #countEach(spec: MetricSpec, label: string, values: Readonly<Record<string, number>>): void {
    const reasons = this.#reasons.get(spec) ?? new Set<string>();
    this.#reasons.set(spec, reasons);
    for (const [name, value] of Object.entries(values)) {
      const short = name.slice(0, 128);
      if (reasons.size < maxReasons) reasons.add(short);
      this.#count(spec, value, { [label]: reasons.has(short) ? short : "other" });
    }
  }

  #count(spec: MetricSpec, value: number, labels: Labels = {}): void {
    if (value > 0) this.#counters.get(spec)?.inc(labels, value);
  }

  /** A counter whose total is kept elsewhere. */
  #total(spec: MetricSpec, value: number): void {
    this.#counters.get(spec)?.reset();
    this.#count(spec, value);
  }

  #set(spec: MetricSpec, value: number, labels: Labels = {}): void {
    this.#gauges.get(spec)?.set(labels, value);
  }
}

const threadMetrics: readonly (readonly [MetricSpec, (one: ThreadSample) => number])[] = [
  [ownMetrics.connectionsOpen, (one) => one.connections],
  [ownMetrics.tunnelsOpen, (one) => one.tunnels],
  [ownMetrics.streamsOpen, (one) => one.streams],
  [ownMetrics.handshakesOpen, (one) => one.handshakes],
  [ownMetrics.bufferBytes, (one) => one.bufferBytes],
  [ownMetrics.engineDescriptors, (one) => one.openDescriptors],
  [ownMetrics.accepted, (one) => one.acceptedTotal],
  [ownMetrics.tunnelsDialled, (one) => one.tunnelsDialledTotal],
  [ownMetrics.shed, (one) => one.shedTotal],
];
