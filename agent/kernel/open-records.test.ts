import assert from "node:assert/strict";
import { test } from "node:test";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { aRecord } from "../observe/record.fake.ts";
import type { Outcome } from "../observe/record.ts";
import { Recorder } from "../observe/recorder.ts";
import type { SockCookie } from "./events.ts";
import { OpenEntry, OpenRecords, rowOf } from "./open-records.ts";
import type { TrafficRow } from "./traffic-sums.ts";

function setUp() {
  const outcomes: Outcome[] = [];
  const recorder = new Recorder({
    ...{ thread: -1, labelSets: 10, now: () => 5_000 },
    log: (_record, outcome) => void outcomes.push(outcome),
  });
  const open = new OpenRecords();
  const begin = (cookie: SockCookie, port = 80): OpenEntry => {
    const destination = { address: "10.0.0.2", port, workload: null, identity: null };
    const record = recorder.opened(aRecord({ hbone: null, security: "socket", destination }));
    const entry = new OpenEntry(cookie, record, null);
    open.add(entry);
    return entry;
  };
  return { open, outcomes, recorder, begin };
}
const row = (opened: number, closed: number, port = 80): TrafficRow => ({
  ...{ podIdx: 1, direction: "out", way: "joined", port, opened, closed },
  ...{ failed: 0, sentBytes: 0, receivedBytes: 0, srttUs: 0, retransmits: 0 },
});

test("a record's row: what was dialled, or where the pod listens; joined or direct", () => {
  const vip = { address: "10.96.0.1", port: 443 };
  const record = aRecord({ security: "socket", hbone: null, dialled: vip });
  assert.deepEqual(rowOf(record), { podIdx: 1, direction: "out", way: "joined", port: 443 });
  const passed = aRecord({ reporter: "destination", security: "none", hbone: null });
  assert.deepEqual(rowOf(passed), { podIdx: 1, direction: "in", way: "direct", port: 15008 });
});

test("two of three ends were lost: the two oldest records end at the second look, without bytes, counted", () => {
  const { open, outcomes, recorder, begin } = setUp();
  for (const cookie of [1n, 2n, 3n]) begin(cookie);
  assert.equal(open.endLost([row(3, 2)], 8_000), true, "an event may be on its way: look again");
  assert.equal(outcomes.length, 0);
  assert.equal(open.endLost([row(3, 2)], 9_000), false);
  assert.deepEqual(
    outcomes.map(({ flag, cause, sentBytes, durationUs }) => [flag, cause, sentBytes, durationUs]),
    [
      ["-", "end-lost", 0, 4_000_000],
      ["-", "end-lost", 0, 4_000_000],
    ],
  );
  assert.equal(open.endsLost, 2);
  assert.equal(recorder.connections(9).length, 1);
  assert.equal(open.take(1n), "written-off", "its end came after all: it has a record already");
  assert.equal(open.take(1n), undefined);
});

test("ports beyond the pod's bound share the row of port 0", () => {
  const { open, outcomes, begin } = setUp();
  for (const [cookie, port] of [80, 9_001, 9_002].entries()) begin(BigInt(cookie), port);
  const rows = [row(1, 0), row(2, 1, 0)];
  open.endLost(rows, 8_000);
  assert.equal(open.endLost(rows, 9_000), false);
  assert.equal(outcomes.length, 1);
  assert.notEqual(open.take(0n), undefined, "the row of port 80 lost nothing");
});

test("an end that arrives between the two looks is no lost one", () => {
  const { open, outcomes, begin } = setUp();
  for (const cookie of [1n, 2n]) begin(cookie);
  assert.equal(open.endLost([row(2, 1)], 8_000), true);
  assert.notEqual(open.take(2n), undefined);
  assert.equal(open.endLost([row(2, 1)], 9_000), false);
  assert.equal(outcomes.length, 0);
});

test("sums that began anew with the pod's index say nothing of older connections", () => {
  const { open, outcomes, begin } = setUp();
  begin(1n);
  for (const rows of [[], [row(0, 1)], [row(0, 1)]]) assert.equal(open.endLost(rows, 9_000), false);
  assert.equal(outcomes.length, 0);
});

test("whatever ends are lost, two looks leave as many records as connections, and end none of a row that lost nothing", () => {
  const connections = fc.array(
    fc.record({ port: fc.constantFrom(80, 81, 82), ended: fc.boolean(), told: fc.boolean() }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(connections, (list) => {
      const { open, recorder, begin } = setUp();
      for (const [index, { port }] of list.entries()) begin(BigInt(index), port);
      for (const [index, { ended, told }] of list.entries()) {
        const entry = ended && told ? open.take(BigInt(index)) : undefined;
        if (entry !== undefined && entry !== "written-off") {
          const quiet = { message: "", sentBytes: 0, receivedBytes: 0, durationUs: 0 };
          entry.record.closed({ flag: "-", cause: "finished", ...quiet });
        }
      }
      const of = (port: number) => list.filter((one) => one.port === port);
      const rows = [80, 81, 82].map((port) => row(of(port).length, of(port).filter(({ ended }) => ended).length, port));
      open.endLost(rows, 9_000);
      assert.equal(open.endLost(rows, 9_000), false);
      for (const port of [80, 81, 82]) {
        const left = recorder.connections(99).filter(({ record }) => record.destination.port === port);
        assert.equal(left.length, of(port).filter(({ ended }) => !ended).length);
      }
      assert.equal(open.endsLost, list.filter(({ ended, told }) => ended && !told).length);
    }),
    { numRuns: 500, verbose: true },
  );
});

test("by its cookie each is found once, and all of them come in the order of opening, as of a Map", () => {
  // Few places, cookies that count down from 2^64, and what is a number beside what is none.
  const cookie = fc.oneof(
    fc.integer({ min: 0, max: 20 }),
    fc.integer({ min: 0, max: 5 }).map((nth) => 4_096 * nth),
    fc.integer({ min: 1, max: 5 }).map((nth) => 2n ** 64n - BigInt(4_096 * nth)),
  );
  const steps = fc.array(fc.tuple(fc.boolean(), cookie), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (taken) => {
      const { open, begin } = setUp();
      const model = new Map<SockCookie, OpenEntry>();
      for (const [adds, each] of taken) {
        if (adds && !model.has(each)) model.set(each, begin(each));
        if (!adds) assert.equal(open.take(each), model.get(each));
        if (!adds) model.delete(each);
        assert.deepEqual([...open.values()], [...model.values()]);
      }
    }),
  );
});

setFlagsFromString("--expose-gc");
const collect: (how: { type: "minor" | "major" }) => void = runInNewContext("gc");
const oldBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space")?.space_used_size ?? 0;

test("connections that come and go leave nothing that gets old, also where others stay open for long", (t) => {
  const { open, outcomes, begin } = setUp();
  const comeAndGo = (from: number, count: number): void => {
    for (let nth = from; nth < from + count; nth++) {
      begin(nth);
      const entry = open.take(nth);
      assert.ok(entry instanceof OpenEntry);
      entry.record.closed({ flag: "-", cause: "finished", message: "", sentBytes: 0, receivedBytes: 0, durationUs: 0 });
      outcomes.length = 0;
      if (nth % 50 === 0) collect({ type: "minor" });
    }
  };
  for (let nth = 0; nth < 20; nth++) begin(1_000_000 + nth);
  comeAndGo(0, 500);
  collect({ type: "major" });
  const before = oldBytes();
  comeAndGo(500, 5_000);
  const each = (oldBytes() - before) / 5_000;
  t.diagnostic(`${each.toFixed(1)} bytes a connection`);
  assert.ok(each < 20, `${each} bytes`);
});
