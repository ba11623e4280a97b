// What an open connection that does nothing costs in TypeScript: a bound on the heap that each keeps, in both directions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { EngineEvent } from "../engine/events.ts";
import { allow } from "../policy/policy.fake.ts";
import { api, Bench } from "./traffic.fake.ts";

const CONNECTIONS = 20_000;
/** Bytes. 1,100 when each had its record, its ends, its header's text and its places in tables of keys for itself. */
const MOST_EACH = 420;

setFlagsFromString("--expose-gc");
const collectAll: () => void = runInNewContext("gc");

/** Bytes of the heap for each of `CONNECTIONS` more connections of one kind. */
function bytesEach(bench: Bench, event: (nth: number) => EngineEvent): number {
  const open = (from: number, to: number): void => {
    for (let nth = from; nth < to; nth++) {
      const answer = bench.traffic.handle(event(nth));
      assert.ok(answer !== undefined && answer.type !== "refuse");
    }
  };
  // What is kept once for all is there before the count begins.
  open(0, 1_000);
  collectAll();
  const before = process.memoryUsage().heapUsed;
  open(1_000, 1_000 + CONNECTIONS);
  collectAll();
  return (process.memoryUsage().heapUsed - before) / CONNECTIONS;
}

const trace = (nth: number): string => nth.toString(16).padStart(32, "0");

test("a captured connection that has gone into a tunnel", () => {
  const bench = new Bench({ judge: () => allow }).serve();
  const each = bytesEach(bench, (nth) => {
    const source = { address: "10.0.0.1", port: 1_024 + nth };
    return bench.outbound({ address: "10.0.0.2", port: 80 }, { source });
  });
  assert.ok(each < MOST_EACH, `${each.toFixed(0)} bytes of the heap for each connection`);
  const listed = bench.recorder.connections(3);
  assert.deepEqual(
    listed.map(({ record }) => record.source.port),
    [1_024, 1_025, 1_026],
  );
  assert.equal(new Set(listed.map(({ record }) => record.traceId)).size, 3);
});

test("a connection that a peer has asked for", () => {
  const bench = new Bench({ judge: () => allow }).serve();
  const peerIdentity = bench.verify(api.identity.text);
  const each = bytesEach(bench, (nth) => {
    const traceparent = `00-${trace(nth)}-${"1".repeat(16)}-00`;
    const ends = { peer: { address: "10.0.0.2", port: 41_000 }, local: { address: "10.0.0.1", port: 15_008 } };
    const said = { authority: "10.0.0.1:8080", baggage: "", forwarded: "", traceparent };
    return { ...bench.ref(), type: "connect-request", podIdx: 1, peerIdentity, ...ends, ...said };
  });
  assert.ok(each < MOST_EACH, `${each.toFixed(0)} bytes of the heap for each connection`);
  assert.deepEqual(
    bench.recorder.connections(3).map(({ record }) => record.traceId),
    [0, 1, 2].map(trace),
  );
});
