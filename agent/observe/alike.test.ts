// Records of open connections share what they have alike, and each is still its own.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Endpoint } from "../mesh/endpoint.ts";
import { summarize } from "./decision-summary.ts";
import { anOutcome, aRecord, aWorkload } from "./record.fake.ts";
import type { ConnectionRecord } from "./record.ts";
import { type OpenRecord, Recorder } from "./recorder.ts";

const [web, api, other] = [aWorkload(), aWorkload({ name: "api" }), aWorkload({ name: "other" })];
const endpoints: readonly Endpoint[] = [
  { address: "10.0.0.2", port: 80 },
  { address: "10.0.0.2", port: 81 },
  { address: "10.0.0.3", port: 80 },
];
const from = { file: "mesh.yaml", line: 1, column: 1 };
const rule = { kind: "AuthorizationPolicy", namespace: "shop", name: "p", rule: 0, from } as const;
const allowed = { verdict: "allow", layer: "L4", audited: [], dryRunDenied: [], steps: [] } as const;

/** Each field has few values, so that records are often alike, and often in all but a field. */
const records: fc.Arbitrary<ConnectionRecord> = fc
  .record({
    ...{ reporter: fc.constantFrom("source", "destination"), podIdx: fc.nat(1), port: fc.nat(3) },
    ...{ source: fc.constantFrom(web, other, null), destination: fc.constantFrom(api, other, null) },
    ...{ identity: fc.constantFrom(web.identity, null), security: fc.constantFrom("mtls", "socket", "none") },
    ...{ at: fc.constantFrom(...endpoints), hbone: fc.constantFrom(null, ...endpoints) },
    dialled: fc.constantFrom(null, ...endpoints),
    service: fc.constantFrom(null, "api", "other"),
    decidedBy: fc.constantFrom(undefined, null, rule),
    audited: fc.boolean(),
    unjudged: fc.constantFrom(null, "node-access"),
    traceId: fc.constantFrom("", "a".repeat(32), "b".repeat(32)),
  } as const)
  .map(({ port, source, destination, identity, at, service, decidedBy, audited, ...rest }) =>
    aRecord({
      ...rest,
      direction: rest.reporter === "source" ? "outbound" : "inbound",
      source: { address: "10.0.0.1", port, workload: source, identity },
      destination: { ...at, workload: destination, identity: destination?.identity ?? null },
      service: service && { name: service, namespace: "shop", hostname: `${service}.shop` },
      decision:
        decidedBy === undefined ? null : summarize({ ...allowed, decidedBy, ...(audited && { audited: [rule] }) }),
    }),
  );

test("whatever else is open, the record of a connection is what it was opened with, or changed to", () => {
  const step = fc.record({ record: records, change: fc.option(records), end: fc.nat(30) });
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const logged: ConnectionRecord[] = [];
    const recorder = new Recorder({
      ...{ thread: 0, labelSets: 10, now: () => 0 },
      log: ({ record }) => void logged.push(record),
    });
    const open: { readonly of: OpenRecord; record: ConnectionRecord }[] = [];
    for (const { record, change, end } of steps) {
      const begun = { of: recorder.opened(record), record };
      open.push(begun);
      if (change !== null) {
        begun.of.changed(change);
        begun.record = change;
      }
      const [ended] = open.splice(end, 1);
      ended?.of.closed(anOutcome());
      if (ended !== undefined) assert.deepEqual(logged.at(-1), ended.record);
      assert.deepEqual(
        recorder.connections(100).map((each) => each.record),
        open.map((each) => each.record),
      );
    }
  });
  fc.assert(property, { numRuns: 200, verbose: true });
});

test("connections that differ in the caller's port and the trace alone share the rest", () => {
  const recorder = new Recorder({ thread: 0, labelSets: 10, now: () => 0, log: () => undefined });
  const source = (port: number) => ({ address: "10.0.0.1", port, workload: web, identity: web.identity });
  const decision = (): ConnectionRecord["decision"] => summarize({ ...allowed, decidedBy: null });
  const [one, two, third] = [
    recorder.opened(aRecord({ source: source(1), traceId: "a".repeat(32), decision: decision() })),
    recorder.opened(aRecord({ source: source(2), traceId: "b".repeat(32), decision: decision() })),
    recorder.opened(aRecord({ source: source(2), hbone: { address: "10.0.0.2", port: 81 }, decision: decision() })),
  ];
  assert.equal(one.alike, two.alike);
  assert.notEqual(two.alike, third.alike);
  assert.deepEqual([one.record.source.port, two.record.source.port], [1, 2]);
  assert.equal(one.record.traceId, "a".repeat(32));
  const again = recorder.opened(aRecord({ source: source(3), decision: decision() }));
  assert.equal(again.alike, one.alike, "the record before is remembered, too");
});

test("all requests of a connection refer to the same record, for which the access log makes its part of the line once", () => {
  const recorder = new Recorder({ thread: 0, labelSets: 10, now: () => 0, log: () => undefined });
  const open = recorder.opened(aRecord());
  open.speaks("http/1.1");
  assert.equal(open.record, open.record);
  open.reached({ address: "10.0.0.9", port: 15_008 });
  assert.equal(open.record.destination.address, "10.0.0.9");
});
