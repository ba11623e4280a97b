// main thread · the metrics page in Prometheus' text format, made of what every source says at the moment of a scrape. The only
// import of prom-client.
import { createRequire } from "node:module";
import { setImmediate } from "node:timers/promises";
import type { Registry } from "prom-client";
import type { Histogram, Metric, MetricSource } from "./metric.ts";

// The package's entry also loads node:cluster, zlib, https and the default metrics: 8 MB resident that a node agent has no
// use for (measured: 8.4 MB after node:http, this file 0.5 MB). The version is pinned, so is the path.
const load = createRequire(import.meta.url);
const RegistryClass = load("prom-client/lib/registry.js") as typeof Registry;

type RegisteredMetric = Parameters<Registry["registerMetric"]>[0];

export class Metrics {
  readonly #sources: readonly MetricSource[];

  constructor(sources: readonly MetricSource[]) {
    this.#sources = sources;
  }

  get contentType(): string {
    return RegistryClass.PROMETHEUS_CONTENT_TYPE;
  }

  /**
   * Family by family, each in a turn of its own: with many label sets a family takes a tenth of a second, in which the agent does nothing
   * else. Throws when two sources name the same family.
   */
  async text(): Promise<string> {
    const names = new Set<string>();
    const parts: string[] = [];
    for (const source of this.#sources) {
      for (const metric of source()) {
        const { name } = metric.family;
        if (names.has(name)) throw new Error(`A metric with the name ${name} has already been registered.`);
        names.add(name);
        const registry = new RegistryClass();
        registry.registerMetric(rendered(metric));
        parts.push(await registry.metrics());
        await setImmediate();
      }
    }
    return parts.join("\n");
  }
}

type Line = {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
};

/** Of a metric the registry asks its name and its lines. The rest of its classes counts, which is done elsewhere. */
function rendered({ family, samples }: Metric): RegisteredMetric {
  const { name, help, type } = family;
  const lines = samples.flatMap(({ labels, value }): readonly Line[] =>
    typeof value === "number" ? [{ labels, value }] : histogramLines(name, labels, value),
  );
  const read = { name, get: () => ({ name, help, type, values: lines }) };
  return read as unknown as RegisteredMetric;
}

/** Buckets are cumulative on the page, and the last of them, +Inf, is the count of all. */
function histogramLines(name: string, labels: Line["labels"], { bounds, counts, sum }: Histogram): readonly Line[] {
  let below = 0;
  const buckets = [...bounds, "+Inf"].map((bound, index) => {
    below += counts[index] ?? 0;
    return { labels: { ...labels, le: bound }, value: below, metricName: `${name}_bucket` };
  });
  return [
    ...buckets,
    { labels, value: sum, metricName: `${name}_sum` },
    { labels, value: below, metricName: `${name}_count` },
  ];
}
