// Tests of recorder.ts and series.ts: exactly once, and never more label sets than the budget.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anOutcome, aRecord, aWorkload } from "./record.fake.ts";
import type { ConnectionRecord, Outcome } from "./record.ts";
import { Recorder } from "./recorder.ts";
import { labelsOf, seriesValues, trafficLabels } from "./series.ts";

function recorder(labelSets = 100): {
  readonly recorder: Recorder;
  readonly logged: { record: ConnectionRecord; outcome: Outcome }[];
  readonly clock: { ms: number };
} {
  const logged: { record: ConnectionRecord; outcome: Outcome }[] = [];
  const clock = { ms: 1_000 };
  return {
    recorder: new Recorder({
      thread: 1,
      labelSets,
      now: () => clock.ms,
      log: ({ record }, outcome) => logged.push({ record, outcome }),
    }),
    logged,
    clock,
  };
}

/** Sums of each value over all rows. */
function sums(rows: Float64Array): Record<string, number> {
  const result: Record<string, number> = Object.fromEntries(seriesValues.map((name) => [name, 0]));
  const width = seriesValues.length + 1;
  for (let at = 0; at < rows.length; at += width) {
    seriesValues.forEach((name, column) => {
      result[name] = (result[name] ?? 0) + (rows[at + column + 1] ?? 0);
    });
  }
  return result;
}

test("a connection is counted and logged once, however often its end is reported", () => {
  const { recorder: one, logged } = recorder();
  const open = one.opened(aRecord());
  open.closed(anOutcome({ sentBytes: 80, receivedBytes: 512 }));
  open.closed(anOutcome({ flag: "CONNECT" }));
  assert.equal(logged.length, 1);
  assert.deepEqual(sums(one.takeDeltas().rows), { opened: 1, closed: 1, failed: 0, sentBytes: 512, receivedBytes: 80 });
  assert.deepEqual(one.takeDeltas().rows.length, 0);
});

test("a refusal is a record too: opened, closed and failed under its flag, and the verdict is counted", () => {
  const { recorder: one, logged } = recorder();
  one.refused(aRecord({ decision: deniedBy() }), { flag: "DENY", cause: "refused", message: "", durationUs: 10 });
  const deltas = one.takeDeltas();
  assert.deepEqual(sums(deltas.rows), { opened: 1, closed: 1, failed: 1, sentBytes: 0, receivedBytes: 0 });
  assert.deepEqual(deltas.decisions, { "deny|L4|denied-by-policy": 1 });
  assert.equal(logged[0]?.outcome.flag, "DENY");
  const flags = deltas.fresh.map(({ labels }) => labels[trafficLabels.indexOf("response_flags")]);
  assert.deepEqual(flags, ["-", "DENY"]);
});

test("open connections are listed oldest first and leave the list when they end", () => {
  const { recorder: one } = recorder();
  const first = one.opened(aRecord());
  one.opened(aRecord());
  assert.deepEqual(
    one.connections(10).map(({ id }) => id),
    ["1-1", "1-2"],
  );
  assert.equal(one.connections(1).length, 1);
  first.closed(anOutcome({}));
  assert.equal(one.takeDeltas().open, 1);
});

test("an open connection that the engine holds is measured when it is listed", () => {
  const measured: unknown[] = [];
  const one = new Recorder({
    ...{ thread: 1, labelSets: 10, now: () => 1_000, log: () => undefined },
    transport: (handle, record) => {
      measured.push([handle, record.direction]);
      return { rttUs: 250, retransmits: 1 };
    },
  });
  one.opened(aRecord(), { conn: 7, generation: 2 });
  one.opened(aRecord());
  assert.deepEqual(
    one.connections(10).map(({ transport }) => transport),
    [{ rttUs: 250, retransmits: 1 }, null],
  );
  assert.deepEqual(measured, [[{ conn: 7, generation: 2 }, "outbound"]]);
});

test("100,000 names stay within the budget and none is lost (G7)", () => {
  const { recorder: one } = recorder(50);
  for (let i = 0; i < 100_000; i += 1) {
    const source = { address: "10.0.0.1", port: 1, identity: null, workload: aWorkload({ workloadName: `w${i}` }) };
    one.opened(aRecord({ source })).closed(anOutcome({}));
  }
  const deltas = one.takeDeltas();
  assert.ok(deltas.fresh.length <= 51, `${deltas.fresh.length} label sets`);
  assert.equal(sums(deltas.rows).opened, 100_000);
  assert.equal(deltas.overflowed, 100_000 - 50);
});

test("a series without connections for an hour gives its place back; one with a connection keeps it", () => {
  const { recorder: one, clock } = recorder(2);
  const held = one.opened(aRecord());
  const other = aRecord({ direction: "inbound", reporter: "destination" });
  one.opened(other).closed(anOutcome({}));
  assert.equal(one.takeDeltas().fresh.length, 2);
  clock.ms += 3_700_000;
  assert.deepEqual(one.takeDeltas().dropped, [2]);
  held.closed(anOutcome({ sentBytes: 7 }));
  assert.equal(sums(one.takeDeltas().rows).receivedBytes, 7);
});

test("any order of openings and endings keeps opened = closed + open", () => {
  const property = fc.property(
    fc.array(fc.tuple(fc.boolean(), fc.nat(5), fc.boolean()), { maxLength: 60 }),
    (steps) => {
      const { recorder: one, logged } = recorder(3);
      const opens = [one.opened(aRecord())];
      for (const [begin, which, fails] of steps) {
        if (begin) opens.push(one.opened(aRecord({ security: which % 2 === 0 ? "mtls" : "none" })));
        else opens[which % opens.length]?.closed(anOutcome({ flag: fails ? "CONNECT" : "-" }));
      }
      const deltas = one.takeDeltas();
      const { opened = 0, closed = 0, failed = 0 } = sums(deltas.rows);
      assert.equal(opened, opens.length);
      assert.equal(opened, closed + deltas.open);
      assert.equal(closed, logged.length);
      assert.equal(failed, logged.filter(({ outcome }) => outcome.flag !== "-").length);
    },
  );
  fc.assert(property, { numRuns: 300 });
});

test("connections that differ in a single label's origin are counted apart, in whatever order they come", () => {
  const base = aRecord();
  const other = aWorkload({ name: "other" });
  const { identity } = other;
  const service = { name: "api", namespace: "shop", hostname: "api.shop.svc.cluster.local" };
  const kinds: readonly ConnectionRecord[] = [
    base,
    { ...base, reporter: "destination" },
    { ...base, security: "none" },
    { ...base, source: { ...base.source, workload: other } },
    { ...base, destination: { ...base.destination, workload: other } },
    { ...base, source: { ...base.source, identity } },
    { ...base, destination: { ...base.destination, identity } },
    { ...base, service },
    { ...base, service: { ...service, hostname: "other.shop.svc.cluster.local" } },
    { ...base, service: { ...service, namespace: "other" } },
  ];
  const property = fc.property(
    fc.array(fc.tuple(fc.nat(kinds.length - 1), fc.boolean()), { minLength: 1, maxLength: 40 }),
    (steps) => {
      const { recorder: one } = recorder();
      const wanted = new Map<string, number>();
      for (const [kind, fails] of steps) {
        const record = kinds[kind] ?? base;
        one.opened(record).closed(anOutcome({ flag: fails ? "CONNECT" : "-" }));
        const labels = labelsOf(record, "-").join(" ");
        wanted.set(labels, (wanted.get(labels) ?? 0) + 1);
      }
      const { fresh, rows } = one.takeDeltas();
      const width = seriesValues.length + 1;
      const found = new Map<string, number>();
      for (let at = 0; at < rows.length; at += width) {
        const labels = fresh.find(({ id }) => id === rows[at])?.labels ?? [];
        const [opened = 0, , failed = 0] = rows.subarray(at + 1);
        if (opened > 0) found.set(labels.join(" "), opened);
        // A failure has a row under its own flag.
        assert.equal(failed > 0, labels.includes("CONNECT"));
      }
      assert.deepEqual(new Map([...found].sort()), new Map([...wanted].sort()));
    },
  );
  fc.assert(property, { seed: 20_261_129, numRuns: 300 });
});

test("more pairs of workloads than are found at once are still counted apart", () => {
  const { recorder: one } = recorder(10_000);
  const records = Array.from({ length: 600 }, (_, nth) => {
    const workload = aWorkload({ workloadName: `w${nth}` });
    const end = { address: "10.0.0.1", port: 1, identity: null, workload };
    return nth % 2 === 0 ? aRecord({ source: end }) : aRecord({ destination: end });
  });
  for (const record of [...records, ...records]) one.opened(record).closed(anOutcome({}));
  const { fresh, rows } = one.takeDeltas();
  assert.equal(fresh.length, 600);
  const width = seriesValues.length + 1;
  for (let at = 0; at < rows.length; at += width) assert.equal(rows[at + 1], 2, `row ${rows[at]}`);
});

test("labels: Istio's words, unknown for what is missing, bounded length", () => {
  const labels = labelsOf(aRecord({ service: null, security: "socket" }), "-");
  assert.equal(labels.length, trafficLabels.length);
  const named = Object.fromEntries(trafficLabels.map((name, index) => [name, labels[index]]));
  assert.equal(named.destination_service, "unknown");
  assert.equal(named.connection_security_policy, "unknown");
  assert.equal(named.source_principal, "spiffe://cluster.local/ns/shop/sa/web");
  const long = aRecord({ service: { name: "x".repeat(5_000), namespace: "n", hostname: "h" } });
  assert.ok(labelsOf(long, "-").every((value) => value.length <= 256));
});

function deniedBy(): NonNullable<ConnectionRecord["decision"]> {
  return {
    verdict: "deny",
    layer: "L4",
    reason: "denied-by-policy",
    policy: "shop/deny[0]",
    at: "mesh.yaml:3",
    nearestMiss: "",
    audited: [],
    dryRunDenied: [],
  };
}
