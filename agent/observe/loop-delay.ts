// any thread · how late this thread's event loop was since it was last asked. Seconds.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { type Metric, type MetricFamily, metric } from "./metric.ts";

export type LoopDelay = { readonly p50: number; readonly p99: number; readonly max: number };

export const loopDelayFamily = {
  name: "orlop_event_loop_delay_seconds",
  type: "gauge",
  unit: "seconds",
  labels: ["thread", "quantile"],
  help: "Delay of the event loop since the last scrape",
} as const satisfies MetricFamily;

/** By the thread's name. */
export function loopDelayMetric(delays: readonly (readonly [thread: string, delay: LoopDelay])[]): Metric {
  return metric(
    loopDelayFamily,
    delays.flatMap(([thread, { p50, p99, max }]) => [
      { labels: { thread, quantile: "0.5" }, value: p50 },
      { labels: { thread, quantile: "0.99" }, value: p99 },
      { labels: { thread, quantile: "1" }, value: max },
    ]),
  );
}

/** Each look wakes the thread: an idle agent does little else. */
const resolutionMs = 50;

/** Starts measuring; each call of the result gives the delays since the call before and starts anew. */
export function loopDelay(): () => LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  // The histogram holds whole sampling intervals: what exceeds the interval is the delay.
  const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - resolutionMs / 1000) || 0;
  return () => {
    const delay = {
      p50: seconds(histogram.percentile(50)),
      p99: seconds(histogram.percentile(99)),
      max: histogram.count > 0 ? seconds(histogram.max) : 0,
    };
    histogram.reset();
    return delay;
  };
}
