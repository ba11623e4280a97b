import assert from "node:assert/strict";
import { test } from "node:test";
import { workload } from "../traffic/mesh.fake.ts";
import { connectionRecord } from "./record.ts";
import type { RequestRecord } from "./request-record.ts";
import { type RequestCount, RequestSeries, requestLabels } from "./request-series.ts";
import { RequestTotals } from "./request-totals.ts";

const party = (name: string) => {
  const found = workload(name);
  return { address: "10.0.0.1", port: 80, workload: found, identity: found.identity };
};
function request(source: string, given: Partial<RequestRecord> = {}): RequestRecord {
  const ends = { source: party(source), destination: party("api") };
  return {
    connection: connectionRecord({ reporter: "destination", podIdx: 1, security: "mtls", ...ends }),
    ...{ method: "GET", path: "/", host: "api", decision: null, status: 200, outcome: "answered", refusal: 0 },
    ...{ requestBytes: 0, responseBytes: 0, durationUs: 1 },
    ...given,
  };
}
const labelOf = ({ labels }: RequestCount, name: (typeof requestLabels)[number]) => labels[requestLabels.indexOf(name)];

test("requests are counted by who asked whom, status and how they ended, and handed over once", () => {
  const series = new RequestSeries(100);
  for (let nth = 0; nth < 3; nth++) series.count(request("web"));
  series.count(request("web", { status: 403, outcome: "replied" }));
  series.count(request("web", { status: 0, outcome: "reset-by-upstream" }));
  const counts = series.take();
  const named = counts.map((count) => [
    count.requests,
    ...(
      ["source_workload", "destination_workload", "request_protocol", "response_code", "response_flags"] as const
    ).map((name) => labelOf(count, name)),
  ]);
  assert.deepEqual(named, [
    [3, "web", "api", "http", "200", "-"],
    [1, "web", "api", "http", "403", "-"],
    [1, "web", "api", "http", "0", "UC"],
  ]);
  assert.deepEqual(series.take(), []);
});

test("beyond the limit nothing is lost: what has no series of its own is of nobody known", () => {
  const series = new RequestSeries(2);
  for (const name of ["a", "b", "c", "d", "c"]) series.count(request(name));
  const counts = series.take();
  assert.deepEqual(
    counts.map((count) => [count.requests, labelOf(count, "source_workload")]),
    [
      [1, "a"],
      [1, "b"],
      [3, "unknown"],
    ],
  );
});

test("totals add up over threads, and a label set of an hour ago is forgotten", () => {
  let now = 0;
  const totals = new RequestTotals(() => now);
  const [first, second] = [new RequestSeries(10), new RequestSeries(10)];
  for (const series of [first, second]) {
    series.count(request("web"));
    totals.add(series.take());
  }
  const shown = () => totals.metric().samples.map(({ labels, value }) => [labels.source_workload, value]);
  assert.deepEqual(shown(), [["web", 2]]);
  now = 3_600_000;
  first.count(request("late"));
  totals.add(first.take());
  assert.deepEqual(shown(), [["late", 1]]);
});
