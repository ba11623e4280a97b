import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LabelledCounts } from "./labelled-counts.ts";
import { loopDelay, loopDelayMetric } from "./loop-delay.ts";
import { type MetricFamily, metric, single } from "./metric.ts";
import { Metrics } from "./metrics.ts";
import { processMetrics } from "./process-metrics.ts";

const size = { name: "a_bytes", type: "gauge", unit: "bytes", labels: ["of"], help: "How much" } as const;
const age = { name: "an_age_seconds", type: "gauge", unit: "seconds", labels: [], help: "How old" } as const;
const took = { name: "took_seconds", type: "histogram", unit: "seconds", labels: ["of"], help: "How long" } as const;

test("the page has each family with its help and type, and what its source says at that moment", async () => {
  let bytes = 1;
  const page = new Metrics([
    () => [metric(size, [{ labels: { of: 'a "quoted" \n name' }, value: bytes }])],
    () => [single(age, null)],
  ]);
  assert.match(page.contentType, /^text\/plain; version=0\.0\.4/);
  await page.text();
  bytes = 2;
  assert.equal(
    await page.text(),
    `# HELP a_bytes How much
# TYPE a_bytes gauge
a_bytes{of="a \\"quoted\\" \\n name"} 2

# HELP an_age_seconds How old
# TYPE an_age_seconds gauge
`,
  );
});

test("a histogram's buckets are cumulative, with sum and count", async () => {
  const value = { bounds: [0.1, 1], counts: [3, 2, 1], sum: 4.5 };
  const lines = (await new Metrics([() => [metric(took, [{ labels: { of: "x" }, value }])]]).text())
    .split("\n")
    .slice(1);
  assert.deepEqual(lines, [
    "# TYPE took_seconds histogram",
    'took_seconds_bucket{of="x",le="0.1"} 3',
    'took_seconds_bucket{of="x",le="1"} 5',
    'took_seconds_bucket{of="x",le="+Inf"} 6',
    'took_seconds_sum{of="x"} 4.5',
    'took_seconds_count{of="x"} 6',
    "",
  ]);
});

test("two sources with one family are a fault, not a page that contradicts itself", async () => {
  await assert.rejects(new Metrics([() => [single(age, 1)], () => [single(age, 2)]]).text(), /already been registered/);
});

test("values of a label that others choose are bounded: the rest counts as other", () => {
  const counts = new LabelledCounts("reason");
  for (let i = 0; i < 1_000; i += 1) counts.add(`reason ${i}`);
  counts.add("reason 3", 5);
  counts.add(`reason ${"x".repeat(1_000)}`);
  const samples = counts.samples();
  assert.equal(samples.length, 65);
  const countOf = (reason: string) => samples.find(({ labels }) => labels.reason === reason)?.value;
  assert.deepEqual([countOf("reason 3"), countOf("other")], [6, 937]);
});

test("the process: version, descriptors, memory and when it began", async () => {
  const text = await new Metrics([() => processMetrics("1.2.3")]).text();
  assert.match(text, /^istio_build\{component="orlop-agent",tag="1\.2\.3"\} 1$/m);
  assert.match(text, /^process_open_fds [1-9]\d*$/m);
  const [, began = ""] = /^process_start_time_seconds (\d+)/m.exec(text) ?? [];
  assert.ok(Math.abs(Number(began) - (Date.now() / 1000 - process.uptime())) < 5, began);
});

test("the loop's delay is measured without negative numbers, and shown by quantile", async () => {
  const take = loopDelay();
  await new Promise((resolve) => setTimeout(resolve, 30));
  const none = take();
  assert.ok([none.p50, none.p99, none.max].every((seconds) => seconds >= 0 && Number.isFinite(seconds)));
  // Longer than the time between two looks: it is seen whenever it happens, but for as much.
  await new Promise((resolve) => setTimeout(resolve, 120));
  for (const began = performance.now(); performance.now() - began < 200; );
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.ok(take().max >= 0.14, "a pause of 200 ms was not seen");
  const { samples } = loopDelayMetric([["main", { p50: 1, p99: 2, max: 3 }]]);
  assert.deepEqual(
    samples.map(({ labels, value }) => [labels.thread, labels.quantile, value]),
    [
      ["main", "0.5", 1],
      ["main", "0.99", 2],
      ["main", "1", 3],
    ],
  );
});

/** Held by the compiler: label names and the kind of value are the family's own. */
export function mistakes(): readonly unknown[] {
  return [
    // @ts-expect-error -- there is no label "off"
    metric(size, [{ labels: { off: "x" }, value: 1 }]),
    // @ts-expect-error -- a histogram is not one number
    metric(took, [{ labels: { of: "x" }, value: 1 }]),
    { ...size, type: "gauge" } satisfies MetricFamily,
  ];
}

test("whatever a label's value holds, the page has that value, and no line or label more", async () => {
  const nasty = fc.constantFrom("\\", '"', "\n", '"} 1\nforged 1\n', '",of="', "\\n", "\r\n", "\u2028", "{", "# TYPE");
  const values = fc.uniqueArray(
    fc.array(fc.oneof(nasty, fc.string({ unit: "binary", maxLength: 4 }))).map((parts) => parts.join("")),
    { minLength: 1, maxLength: 5 },
  );
  // The exposition format: within quotes \\, \" and \n are escapes, and a line ends with a line feed alone.
  const unescaped = (text: string): string => text.replace(/\\(.)/gs, (_, sign) => (sign === "n" ? "\n" : sign));
  await fc.assert(
    fc.asyncProperty(values, async (written) => {
      const samples = written.map((of, value) => ({ labels: { of }, value }));
      const lines = (await new Metrics([() => [metric(size, samples)]]).text()).trimEnd().split("\n").slice(2);
      const read = lines.map((line) => /^a_bytes\{of="((?:[^"\\\n]|\\["\\n])*)"\} (\d+)$/s.exec(line)?.slice(1));
      assert.deepEqual(
        read.map((found) => [unescaped(found?.[0] ?? "none"), Number(found?.[1])]),
        written.map((of, value) => [of, value]),
      );
    }),
    { numRuns: 300 },
  );
});
