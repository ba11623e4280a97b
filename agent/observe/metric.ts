// any thread · what a metric is. Each room declares its families beside what they count and hands over their samples; metrics.ts
// makes the page of them. docs/metrics.md lists every family, and a test holds it to that.

/** `name` ends in its unit, and in `_total` when it is a counter, as Prometheus advises. `labels` are all of its labels. */
export type MetricFamily = {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly unit: string;
  readonly labels: readonly string[];
  readonly help: string;
};

/** `counts[n]` values are at most `bounds[n]` and above the bound before; there is one more count, of all values above. */
export type Histogram = {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
};

/** A counter's value is its total since the process or the kernel's table began. */
export type Sample<Family extends MetricFamily = MetricFamily> = {
  readonly labels: Readonly<Record<Family["labels"][number], string>>;
  readonly value: Family["type"] extends "histogram"
    ? Histogram
    : Family["type"] extends "counter" | "gauge"
      ? number
      : number | Histogram;
};

/** A family as it is now. No samples: nothing is known now, and then the page names the family without a value. */
export type Metric<Family extends MetricFamily = MetricFamily> = {
  readonly family: Family;
  readonly samples: readonly Sample<Family>[];
};

/** Called at each scrape; every call names the same families. */
export type MetricSource = () => readonly Metric[];

/** Names that begin with `istio_` are Istio's, and dashboards hold them; all others may change with a minor version. */
export const stabilityOf = ({ name }: MetricFamily): "stable" | "unstable" =>
  name.startsWith("istio_") ? "stable" : "unstable";

/** A family that has one value and no labels; null: not known now. */
export function single<
  Family extends MetricFamily & { readonly type: "counter" | "gauge"; readonly labels: readonly [] },
>(family: Family, value: number | null): Metric {
  return { family, samples: value === null ? [] : [{ labels: {}, value }] };
}

/** `metric(family, samples)` with the family's own label names and kind of value. */
export function metric<Family extends MetricFamily>(family: Family, samples: readonly Sample<Family>[]): Metric {
  return { family, samples };
}
