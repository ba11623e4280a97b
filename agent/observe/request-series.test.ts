// Requests are counted once, under labels of a bounded number, in the bucket that holds their value.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Metrics } from "./metrics.ts";
import { aRecord, aWorkload } from "./record.fake.ts";
import type { RequestFlag } from "./request-record.ts";
import { histogramWidth, RequestSeries, requestBounds, requestLabels, requestRowWidth } from "./request-series.ts";
import { RequestTotals } from "./request-totals.ts";
import type { RowDeltas } from "./row-deltas.ts";

const party = (name: string) => {
  const workload = aWorkload({ name });
  return { address: "10.0.0.1", port: 80, workload, identity: workload.identity };
};
const from = (name: string) => aRecord({ source: party(name), destination: party("api"), service: null });
type Ended = Parameters<RequestSeries["count"]>[1];
const ended = (given: Partial<Ended> = {}): Ended => ({
  ...{ status: 200, flag: "-", durationUs: 1_200, requestBytes: 0, responseBytes: 2_000 },
  ...given,
});

/** By label set, how many requests; each must be in one bucket of each histogram. */
function counted({ fresh, rows }: RowDeltas): readonly (readonly [ReadonlyMap<string, string>, number])[] {
  const known = new Map(fresh.map(({ id, labels }) => [id, labels]));
  return Array.from({ length: rows.length / (requestRowWidth + 1) }, (_, nth) => {
    const row = rows.subarray(nth * (requestRowWidth + 1), (nth + 1) * (requestRowWidth + 1));
    const buckets = [0, 1, 2].map((histogram) => {
      const begin = 1 + histogram * histogramWidth;
      return row.subarray(begin, begin + histogramWidth - 1).reduce((sum, value) => sum + value, 0);
    });
    assert.equal(new Set(buckets).size, 1, `${buckets}`);
    const values = known.get(row[0] ?? -1) ?? [];
    return [new Map(requestLabels.map((name, index) => [name, values[index] ?? ""])), buckets[0] ?? 0] as const;
  });
}

test("by who asked whom, status and flag; at the destination's end, once, and handed over once", () => {
  const series = new RequestSeries({ limit: 100, now: () => 0 });
  const parties = series.of(from("web"));
  for (let nth = 0; nth < 3; nth++) series.count(parties, ended());
  series.count(parties, ended({ status: 403 }));
  series.count(parties, ended({ status: 0, flag: "UC" }));
  assert.equal(series.of(from("web")), parties, "connections that are alike");
  const wanted = ["reporter", "source_workload", "destination_workload", "request_protocol", "response_code"];
  assert.deepEqual(
    counted(series.take()).map(([labels, requests]) => [
      requests,
      ...[...wanted, "response_flags"].map((name) => labels.get(name)),
    ]),
    [
      [3, "destination", "web", "api", "http", "200", "-"],
      [1, "destination", "web", "api", "http", "403", "-"],
      [1, "destination", "web", "api", "http", "0", "UC"],
    ],
  );
  assert.equal(series.take().rows.length, 0);
});

test("a call of gRPC has a protocol and a status of its own", () => {
  const series = new RequestSeries({ limit: 100, now: () => 0 });
  const parties = series.of(from("web"));
  for (const grpcStatus of [0, 14, 0, -1, undefined]) series.count(parties, ended({ grpcStatus }));
  assert.deepEqual(
    counted(series.take()).map(([labels, requests]) => [
      requests,
      ...["request_protocol", "response_code", "grpc_response_status"].map((name) => labels.get(name)),
    ]),
    [
      [2, "grpc", "200", "0"],
      [1, "grpc", "200", "14"],
      [1, "grpc", "200", ""],
      [1, "http", "200", ""],
    ],
  );
});

test("a value is in the bucket of the first bound that is not below it, and in the sum", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          durationUs: fc.nat(4_000_000_000),
          requestBytes: fc.nat(5_000_000),
          responseBytes: fc.oneof(fc.nat(1_100), fc.constantFrom(...requestBounds.map(Math.ceil))),
        }),
        { minLength: 1, maxLength: 30 },
      ),
      (values) => {
        const series = new RequestSeries({ limit: 100, now: () => 0 });
        for (const value of values) series.count(series.of(from("web")), ended(value));
        const row = series.take().rows;
        const histograms = [
          values.map(({ durationUs }) => durationUs / 1_000),
          values.map(({ requestBytes }) => requestBytes),
          values.map(({ responseBytes }) => responseBytes),
        ];
        histograms.forEach((list, nth) => {
          const begin = 1 + nth * histogramWidth;
          requestBounds.forEach((bound, index) => {
            const below = requestBounds[index - 1] ?? -1;
            const inside = list.filter((value) => value > below && value <= bound).length;
            assert.equal(row[begin + index], inside, `${nth}: up to ${bound}`);
          });
          const sum = list.reduce((total, value) => total + value, 0);
          assert.ok(Math.abs((row[begin + histogramWidth - 1] ?? 0) - sum) <= sum * 1e-9);
        });
      },
    ),
  );
});

test("beyond the limit nothing is lost: what has no row of its own counts under other, with status and flag", () => {
  const series = new RequestSeries({ limit: 2, now: () => 0 });
  for (const name of ["a", "b", "c", "d", "c"]) series.count(series.of(from(name)), ended());
  const deltas = series.take();
  assert.deepEqual(
    counted(deltas).map(([labels, requests]) => [
      requests,
      ...["source_workload", "destination_principal", "response_code", "reporter"].map((name) => labels.get(name)),
    ]),
    [
      [1, "a", "spiffe://cluster.local/ns/shop/sa/api", "200", "destination"],
      [1, "b", "spiffe://cluster.local/ns/shop/sa/api", "200", "destination"],
      [3, "other", "other", "200", "destination"],
    ],
  );
  assert.equal(deltas.overflowed, 3);
});

test("whatever names and statuses come, the number of label sets is bounded, and every request is counted", () => {
  const request = fc.record({
    name: fc.integer({ min: 0, max: 40 }),
    status: fc.integer({ min: 0, max: 999 }),
    flag: fc.constantFrom<RequestFlag>("-", "UC", "DC"),
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 400 }), fc.integer({ min: 1, max: 50 }), (requests, limit) => {
      const series = new RequestSeries({ limit, now: () => 0 });
      for (const { name, ...given } of requests) series.count(series.of(from(`w${name}`)), ended(given));
      const sets = counted(series.take());
      assert.equal(
        sets.reduce((sum, [, count]) => sum + count, 0),
        requests.length,
      );
      // Others have at most 32 statuses and "other", with each flag.
      assert.ok(sets.length <= limit + 33 * 3, `${sets.length} label sets`);
    }),
    { numRuns: 50 },
  );
});

test("a row that nothing was counted in for an hour gives its room back", () => {
  let now = 0;
  const series = new RequestSeries({ limit: 1, now: () => now });
  const parties = series.of(from("web"));
  series.count(parties, ended());
  const [first] = series.take().fresh;
  now = 3_600_000;
  assert.deepEqual(series.take().dropped, [first?.id]);
  series.count(parties, ended());
  series.count(series.of(from("late")), ended());
  const after = counted(series.take());
  assert.deepEqual(
    after.map(([labels, requests]) => [requests, labels.get("source_workload")]),
    [
      [1, "web"],
      [1, "other"],
    ],
  );
});

test("totals add up over threads, have a limit of their own, and forget a label set an hour after the last thread", async () => {
  let now = 0;
  const totals = new RequestTotals(() => now, 2);
  const threads = [0, 1].map(() => new RequestSeries({ limit: 10, now: () => now }));
  threads.forEach((series, thread) => {
    for (const name of ["web", `only-${thread}`, `more-${thread}`]) series.count(series.of(from(name)), ended());
    totals.add(thread, series.take());
  });
  const page = new Metrics([() => totals.metrics()]);
  const values = async (line: RegExp): Promise<readonly string[]> =>
    [...(await page.text()).matchAll(line)].map(String);
  const requests = /^istio_requests_total\{.*source_workload="([^"]*)".*\} (\d+)$/gm;
  const shown = async () => (await values(requests)).map((match) => match.slice(match.lastIndexOf("} ") + 2));
  assert.deepEqual(await shown(), ["2,web,2", "1,only-0,1", "3,other,3"]);
  assert.equal((await values(/^istio_request_duration_milliseconds_count\{.*\} 2$/gm)).length, 1);
  assert.equal((await values(/^istio_response_bytes_bucket\{.*source_workload="web".* 2$/gm)).length, 10);
  assert.equal((await values(/^istio_response_bytes_sum\{.*source_workload="web".*\} 4000$/gm)).length, 1);
  now = 3_600_000;
  threads.forEach((series, thread) => {
    totals.add(thread, series.take());
  });
  assert.equal((await shown()).length, 3, "to be scraped once more");
  now = 7_200_000;
  totals.add(0, new RequestSeries({ limit: 1, now: () => now }).take());
  assert.deepEqual(await shown(), []);
});
