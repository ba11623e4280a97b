// Ring records, per-CPU counters as typed values.
import assert from "node:assert/strict";
import { test } from "node:test";
import { counterNames, ORLOP_EVENT_CLOSE, ORLOP_EVENT_REFUSED, orlopEvent } from "../abi.ts";
import type { NativeRing } from "../engine/native-maps.ts";
import { writeIp } from "../mesh/ip.ts";
import { type KernelEvent, KernelEvents, readCounters, readDropped } from "./events.ts";
import { FakeMap } from "./maps.fake.ts";
import { littleEndian } from "./maps.ts";

function record(type: number, fields: { reason?: number } = {}): Uint8Array {
  const bytes = new Uint8Array(orlopEvent.size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(orlopEvent.atNs, 5_500_000n, littleEndian);
  view.setBigUint64(orlopEvent.sockCookie, 2n ** 60n, littleEndian);
  view.setBigUint64(orlopEvent.sentBytes, 2n ** 40n, littleEndian);
  view.setBigUint64(orlopEvent.durationNs, 1_500_000n, littleEndian);
  view.setUint32(orlopEvent.type, type, littleEndian);
  view.setUint32(orlopEvent.podIdx, 3, littleEndian);
  view.setUint32(orlopEvent.direction, 1, littleEndian);
  view.setUint32(orlopEvent.reason, fields.reason ?? 0, littleEndian);
  view.setUint32(orlopEvent.srttUs, 80, littleEndian);
  view.setUint16(orlopEvent.srcPort, 40_000, false);
  view.setUint16(orlopEvent.dstPort, 80, false);
  writeIp("10.0.0.1", bytes, orlopEvent.src);
  writeIp("fd00::2", bytes, orlopEvent.dst);
  return bytes;
}

class FakeRing implements NativeRing {
  skipped = 0;
  readonly records: Uint8Array[] = [];
  drain(into: Uint8Array, recordBytes: number): number {
    const room = Math.floor(into.length / recordBytes);
    const taken = this.records.splice(0, room);
    for (const [index, one] of taken.entries()) into.set(one, index * recordBytes);
    return taken.length;
  }
  close(): void {}
}

/** What the event says now, with the fields that `like` has. */
function fieldsOf(event: KernelEvent, like: object): KernelEvent {
  const names = ["type", "reason", ...Object.keys(like)];
  return Object.fromEntries(names.map((name) => [name, event[name as keyof KernelEvent]])) as KernelEvent;
}

test("a close carries the final figures; a refusal its counter", () => {
  const ring = new FakeRing();
  const events = new KernelEvents(ring);
  ring.records.push(record(ORLOP_EVENT_CLOSE), record(ORLOP_EVENT_REFUSED, { reason: 7 }), record(99));
  const figures = {
    direction: "out" as const,
    atMs: 5.5,
    podIdx: 3,
    sockCookie: 2n ** 60n,
    source: { address: "10.0.0.1", port: 40_000 },
    destination: { address: "fd00::2", port: 80 },
    sentBytes: 2 ** 40,
    receivedBytes: 0,
    durationMs: 1.5,
    srttUs: 80,
    retransmits: 0,
    throughAgent: false,
    outside: false,
    fromNode: false,
    joined: null,
  };
  const seen: KernelEvent[] = [];
  assert.equal(
    events.drain((event) => seen.push(fieldsOf(event, figures))),
    3,
  );
  assert.deepEqual(seen, [
    { ...figures, type: "close", reason: null },
    { ...figures, type: "refused", reason: "connect_refused_port" },
  ]);
  ring.skipped = 2;
  assert.equal(events.unknown, 3, "an unknown type and two records of another size");
});

test("more than one drain's worth comes in turns, nothing lost", () => {
  const ring = new FakeRing();
  const events = new KernelEvents(ring);
  for (let i = 0; i < 5000; i++) ring.records.push(record(ORLOP_EVENT_CLOSE));
  let seen = 0;
  const drain = () => events.drain(() => seen++);
  assert.deepEqual([drain(), drain(), drain()], [4096, 904, 0]);
  assert.equal(seen, 5000);
});

test("counters are sums over every CPU, and every name is there", () => {
  const map = new FakeMap({ name: "counters", keyBytes: 4, valueBytes: 8, cpus: 3 });
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, 1, littleEndian);
  const value = new BigUint64Array([1n, 20n, 300n]);
  map.put(key, new Uint8Array(value.buffer));
  const counters = readCounters(map);
  assert.equal(counters.connect_not_enrolled, 321);
  assert.equal(counters.connect_captured, 0);
  assert.deepEqual(Object.keys(counters), [...counterNames]);
  assert.equal(readDropped(map), 0);
  new DataView(key.buffer).setUint32(0, counterNames.indexOf("event_dropped"), littleEndian);
  map.put(key, new Uint8Array(new BigUint64Array([4n, 0n, 5n]).buffer));
  assert.deepEqual([readDropped(map), readCounters(map).event_dropped], [9, 9]);
});
