import assert from "node:assert/strict";
import { test } from "node:test";
import { counterNames } from "../abi.ts";
import type { KernelCounters } from "./events.ts";
import { kernelMetrics } from "./kernel-metrics.ts";

const valuesOf = (readings: Parameters<typeof kernelMetrics>[0]): Record<string, unknown> =>
  Object.fromEntries(
    kernelMetrics(readings).map(({ family, samples }) => [family.name, samples.map(({ value }) => value)]),
  );

test("before a keeper lent its maps nothing is known, and nothing is shown as 0", () => {
  const values = valuesOf({ heartbeatAgeMs: null, counters: null, maps: [] });
  assert.ok(Object.values(values).every((samples) => Array.isArray(samples) && samples.length === 0));
});

test("seconds, every counter by name, lost events apart, fill of maps; a map without a bound is not full", () => {
  const counters = Object.fromEntries(counterNames.map((name, index) => [name, index])) as KernelCounters;
  const maps = [
    { name: "dst_of_flow", entries: 16, maxEntries: 64 },
    { name: "odd", entries: 1, maxEntries: 0 },
  ];
  const values = valuesOf({ heartbeatAgeMs: 120, counters, maps });
  assert.deepEqual(values.orlop_heartbeat_age_seconds, [0.12]);
  assert.deepEqual(
    values.orlop_bpf_events_total,
    counterNames.map((_, index) => index),
  );
  assert.deepEqual(values.orlop_bpf_ring_dropped_total, [counters.event_dropped]);
  assert.deepEqual(values.orlop_bpf_map_fill_ratio, [0.25, 0]);
});
