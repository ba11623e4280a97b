import assert from "node:assert/strict";
import { test } from "node:test";
import { anOutcome, aRecord, aWorkload } from "./record.fake.ts";
import { RecordTotals } from "./record-totals.ts";
import { Recorder } from "./recorder.ts";

function setUp() {
  const clock = { ms: 1_000_000 };
  const totals = new RecordTotals(() => clock.ms);
  const [first, second] = [0, 1].map(
    (thread) => new Recorder({ thread, labelSets: 100, now: () => clock.ms, log: () => undefined }),
  );
  assert.ok(first && second);
  const samplesOf = (name: string) => totals.metrics().find(({ family }) => family.name === name)?.samples ?? [];
  return { totals, recorders: [first, second] as const, clock, samplesOf };
}
const decision = {
  verdict: "deny",
  layer: "L4",
  reason: "denied-by-policy",
  policy: "shop/deny[0]",
  at: "mesh.yaml:3",
  nearestMiss: "",
  audited: ["shop/watch[0]"],
  dryRunDenied: ["shop/next[0]"],
} as const;

test("two threads add up to one series; what never happened has no sample", () => {
  const { totals, recorders, samplesOf } = setUp();
  for (const [thread, recorder] of recorders.entries()) {
    recorder.opened(aRecord()).closed(anOutcome({ sentBytes: 5, receivedBytes: 7 }));
    totals.add(thread, structuredClone(recorder.takeDeltas()));
    totals.add(thread, recorder.takeDeltas());
  }
  const [opened, ...rest] = samplesOf("istio_tcp_connections_opened_total");
  assert.equal(rest.length, 0);
  assert.partialDeepStrictEqual(opened, { labels: { reporter: "source", source_workload: "web" }, value: 2 });
  assert.equal(samplesOf("istio_tcp_sent_bytes_total")[0]?.value, 14);
  assert.deepEqual(samplesOf("istio_tcp_connections_failed_total"), []);
});

test("decisions by verdict, layer and reason; audit and dry-run by policy; what exceeded the budget", () => {
  const { totals, recorders, samplesOf } = setUp();
  recorders[0].opened(aRecord({ decision })).closed(anOutcome({ flag: "DENY" }));
  totals.add(0, recorders[0].takeDeltas());
  assert.deepEqual(samplesOf("orlop_decisions_total"), [
    { labels: { verdict: "deny", layer: "L4", reason: "denied-by-policy" }, value: 1 },
  ]);
  assert.deepEqual(samplesOf("orlop_audited_total"), [{ labels: { policy: "shop/watch[0]" }, value: 1 }]);
  assert.deepEqual(samplesOf("orlop_dry_run_denied_total"), [{ labels: { policy: "shop/next[0]" }, value: 1 }]);
  assert.deepEqual(samplesOf("orlop_series_overflow_total"), [{ labels: {}, value: 0 }]);
});

test("a label set that no thread uses any more leaves the page an hour later", () => {
  const { totals, recorders, clock, samplesOf } = setUp();
  for (let i = 0; i < 20; i += 1) {
    const source = { address: "10.0.0.1", port: 1, identity: null, workload: aWorkload({ workloadName: `w${i}` }) };
    recorders[0].opened(aRecord({ source })).closed(anOutcome());
  }
  totals.add(0, recorders[0].takeDeltas());
  clock.ms += 3_700_000;
  totals.add(0, recorders[0].takeDeltas());
  assert.equal(samplesOf("istio_tcp_connections_opened_total").length, 20, "the thread has just given them up");
  clock.ms += 3_700_000;
  totals.add(0, recorders[0].takeDeltas());
  assert.equal(samplesOf("istio_tcp_connections_opened_total").length, 0);
});
