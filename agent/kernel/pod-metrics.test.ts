import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { workload } from "../mesh/mesh.fake.ts";
import { PodMetrics } from "./pod-metrics.ts";
import type { TrafficRow } from "./traffic-sums.ts";

const web = workload("web");
const rowOf = (values: Partial<TrafficRow>): TrafficRow => ({
  ...{ podIdx: 1, direction: "out", way: "joined", port: 80 },
  ...{ opened: 3, closed: 2, failed: 1, sentBytes: 10, receivedBytes: 20, srttUs: 500_000, retransmits: 4 },
  ...values,
});
const workloadOf = (podIdx: number) => (podIdx === 1 ? web : undefined);

/** Samples of one family by their labels. */
function samplesOf(metrics: PodMetrics, rows: readonly TrafficRow[], name: string): Record<string, number> {
  const samples = metrics.metrics(rows).find(({ family }) => family.name === name)?.samples ?? [];
  return Object.fromEntries(
    samples.map(({ labels: { namespace, pod, direction, port, path }, value }) => [
      [namespace, pod, direction, port, path].join(" "),
      value as number,
    ]),
  );
}

test("rows of indices become rows of names; an index that means no pod now is left out", () => {
  const metrics = new PodMetrics(workloadOf);
  const rows = [rowOf({}), rowOf({ direction: "in", way: "direct", port: 8080 }), rowOf({ podIdx: 7 })];
  assert.deepEqual(samplesOf(metrics, rows, "orlop_pod_sent_bytes_total"), {
    "shop web outbound 80 joined": 10,
    "shop web inbound 8080 direct": 10,
  });
  assert.deepEqual(samplesOf(metrics, rows, "orlop_pod_round_trip_seconds_total"), {
    "shop web outbound 80 joined": 0.5,
    "shop web inbound 8080 direct": 0.5,
  });
});

test("however many ports a pod dials, few have labels of their own, nothing is lost and no counter goes backwards", () => {
  const steps = fc.array(fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 60 }), { maxLength: 8 });
  fc.assert(
    fc.property(steps, (dialled) => {
      const metrics = new PodMetrics(workloadOf);
      const opened = new Map<number, number>();
      let before: Record<string, number> = {};
      for (const ports of dialled) {
        for (const port of ports) opened.set(port, (opened.get(port) ?? 0) + 1);
        const rows = [...opened].map(([port, count]) => rowOf({ port, opened: count }));
        const now = samplesOf(metrics, rows, "orlop_pod_connections_opened_total");
        assert.ok(Object.keys(now).length <= 33);
        const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
        assert.equal(sum(Object.values(now)), sum(opened.values()));
        for (const [labels, value] of Object.entries(before)) assert.ok((now[labels] ?? 0) >= value, labels);
        before = now;
      }
    }),
    { numRuns: 200, verbose: true },
  );
});
