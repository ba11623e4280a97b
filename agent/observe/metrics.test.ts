// Tests of metrics.ts and metric-table.ts: what a scrape shows, and that docs/metrics.md says the same.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { counterNames } from "../abi.ts";
import { loopDelay } from "./loop-delay.ts";
import { metricTable } from "./metric-table.ts";
import { Metrics, type MetricsSample } from "./metrics.ts";
import { anOutcome, aRecord, aWorkload } from "./record.fake.ts";
import { Recorder } from "./recorder.ts";

const emptySample: MetricsSample = {
  threads: [],
  loopDelays: [],
  heartbeatAgeMs: null,
  pods: {},
  certs: [],
  certFailures: 0,
  configErrors: 0,
  counters: null,
  maps: [],
  accessLogDropped: 0,
  keeperConnected: false,
};

function setUp(): { metrics: Metrics; recorders: Recorder[]; clock: { ms: number }; sample: { now: MetricsSample } } {
  const clock = { ms: 1_000_000 };
  const sample = { now: emptySample };
  const metrics = new Metrics({ version: "1.2.3", now: () => clock.ms, sample: () => sample.now });
  const recorders = [0, 1].map(
    (thread) => new Recorder({ thread, labelSets: 100, now: () => clock.ms, log: () => undefined }),
  );
  return { metrics, recorders, clock, sample };
}

const linesOf = (text: string, name: string): string[] => text.split("\n").filter((line) => line.startsWith(name));

test("two threads add up to one series; decisions are counted by reason", async () => {
  const { metrics, recorders } = setUp();
  recorders.forEach((recorder, thread) => {
    recorder.opened(aRecord()).closed(anOutcome({ sentBytes: 5, receivedBytes: 7 }));
    metrics.apply(thread, structuredClone(recorder.takeDeltas()));
  });
  const text = await metrics.text();
  const [line = "", ...rest] = linesOf(text, "istio_tcp_connections_opened_total{");
  assert.equal(rest.length, 0);
  assert.match(line, /reporter="source",source_workload="web"/);
  assert.match(line, / 2$/);
  assert.match(linesOf(text, "istio_tcp_sent_bytes_total{")[0] ?? "", / 14$/);
  assert.match(linesOf(text, "istio_build{")[0] ?? "", /component="orlop-agent",tag="1\.2\.3"} 1$/);
});

test("totals kept elsewhere are shown as they are, scrape after scrape", async () => {
  const { metrics, sample } = setUp();
  sample.now = {
    ...emptySample,
    heartbeatAgeMs: 120,
    certs: [{ identity: "spiffe://cluster.local/ns/a/sa/b", notAfterMs: 5_000 }],
    counters: counterNames.map((_, index) => index),
    maps: [{ name: "dst_of_flow", entries: 16, maxEntries: 64 }],
    configErrors: 2,
    keeperConnected: true,
  };
  await metrics.text();
  const text = await metrics.text();
  assert.match(text, /^orlop_bpf_events_total\{counter="in_refused_strict"\} 18$/m);
  assert.match(text, /^orlop_bpf_ring_dropped_total 22$/m);
  assert.match(text, /^orlop_bpf_map_fill_ratio\{map="dst_of_flow"\} 0\.25$/m);
  assert.match(text, /^orlop_certificate_expiry_timestamp_seconds\{identity="[^"]*"\} 5$/m);
  assert.match(text, /^orlop_heartbeat_age_seconds 0\.12$/m);
  sample.now = emptySample;
  assert.doesNotMatch(await metrics.text(), /^orlop_heartbeat_age_seconds /m);
});

test("label sets that nobody uses any more leave the page after an hour", async () => {
  const { metrics, recorders, clock } = setUp();
  const [recorder] = recorders;
  assert.ok(recorder);
  for (let i = 0; i < 20; i += 1) {
    const source = { address: "10.0.0.1", port: 1, identity: null, workload: aWorkload({ workloadName: `w${i}` }) };
    recorder.opened(aRecord({ source })).closed(anOutcome());
  }
  metrics.apply(0, recorder.takeDeltas());
  assert.equal(metrics.labelSets, 20);
  metrics.forget(0);
  clock.ms += 3_700_000;
  metrics.apply(1, recorders[1]?.takeDeltas() ?? recorder.takeDeltas());
  assert.equal(metrics.labelSets, 0);
  assert.equal(linesOf(await metrics.text(), "istio_tcp_connections_opened_total{").length, 0);
});

test("reasons beyond the bound become other", async () => {
  const { metrics } = setUp();
  for (let i = 0; i < 1_000; i += 1) metrics.tunnelAbused(`reason ${i}`);
  const lines = linesOf(await metrics.text(), "orlop_tunnels_abused_total{");
  assert.equal(lines.length, 65);
  assert.ok(lines.includes('orlop_tunnels_abused_total{reason="other"} 936'));
});

test("docs/metrics.md names every metric with its type, unit and stability, and no other", () => {
  const text = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([a-z_]+)` \| (\w+) \| (\S+) \| (\w+) \|/gm)].map((row) =>
    row.slice(1, 5).join(" "),
  );
  const specs = metricTable.map(({ name, type, unit, stability }) => `${name} ${type} ${unit} ${stability}`);
  assert.deepEqual(rows.toSorted(), specs.toSorted());
});

test("the loop's delay is measured without negative numbers", async () => {
  const take = loopDelay();
  await new Promise((resolve) => setTimeout(resolve, 30));
  const { p50, p99, max } = take();
  assert.ok(p50 >= 0 && p99 >= 0 && max >= 0 && Number.isFinite(max));
});
