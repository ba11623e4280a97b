// The watch over maps and a ring in memory; test/kernel/ring-overflow.test.ts has it over the kernel's.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  counterNames,
  ORLOP_COUNT_EVENT_DROPPED,
  ORLOP_DIRECTION_IN,
  ORLOP_DIRECTION_OUT,
  ORLOP_EVENT_CLOSE,
  ORLOP_EVENT_OPEN,
  ORLOP_SOCK_OUTSIDE,
  orlopEvent,
  orlopTraffic,
  orlopTrafficKey,
} from "../abi.ts";
import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMap } from "../engine/native-maps.ts";
import { writeIp } from "../mesh/ip.ts";
import { FakeMesh, workload } from "../mesh/mesh.fake.ts";
import { RecordTotals } from "../observe/record-totals.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { KernelWatch } from "./kernel-watch.ts";
import { FakeMap } from "./maps.fake.ts";
import { littleEndian, u32, view } from "./maps.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const lent = { events: 1, counters: 2, traffic: 3 } as LentMaps;

/** An inbound plaintext connection to web's port 8080, as the hooks report it. */
function event(type: number, cookie: bigint): Uint8Array {
  const bytes = new Uint8Array(orlopEvent.size);
  view(bytes).setUint32(orlopEvent.type, type, littleEndian);
  view(bytes).setUint32(orlopEvent.podIdx, 1, littleEndian);
  view(bytes).setUint32(orlopEvent.direction, ORLOP_DIRECTION_IN, littleEndian);
  view(bytes).setBigUint64(orlopEvent.sockCookie, cookie, littleEndian);
  view(bytes).setUint16(orlopEvent.dstPort, 8080, false);
  writeIp("10.9.9.9", bytes, orlopEvent.src);
  writeIp("10.0.0.1", bytes, orlopEvent.dst);
  return bytes;
}

/** The kernel's map outlives a descriptor that is closed. */
class KeptMap extends FakeMap {
  override close(): void {}
}

function setUp(t: TestContext) {
  const ring: Uint8Array[] = [];
  const counters = new KeptMap({ name: "counters", keyBytes: 4, valueBytes: 8 });
  const traffic = new KeptMap({ name: "traffic", keyBytes: orlopTrafficKey.size, valueBytes: orlopTraffic.size });
  for (const index of counterNames.keys()) counters.put(u32(index), new Uint8Array(8));
  class Lent {
    constructor(fd: number) {
      // biome-ignore lint/correctness/noConstructorReturn: the double of a class that is looked up by descriptor.
      return fd === lent.traffic ? traffic : counters;
    }
  }
  class Ring {
    skipped = 0;
    drain(into: Uint8Array): number {
      const taken = ring.splice(0, Math.floor(into.length / orlopEvent.size));
      for (const [index, bytes] of taken.entries()) into.set(bytes, index * orlopEvent.size);
      return taken.length;
    }
    close(): void {}
  }
  const mesh = new FakeMesh([web]);
  const totals = new RecordTotals(() => 0);
  const late: number[] = [];
  const watch = new KernelWatch({
    mesh,
    judge: judgeOf(mesh),
    KernelMap: Lent as unknown as new (fd: number) => NativeMap,
    RingBuffer: Ring,
    workloadOf: (podIdx) => (podIdx === 1 ? web : undefined),
    counted: (deltas) => totals.add(0, deltas),
    lateDirect: (podIdx) => void late.push(podIdx),
    log: { debug() {}, info() {}, warn() {}, error() {} },
    accessLog: false,
  });
  t.after(() => watch.close());
  const sums = (values: Partial<Record<"opened" | "closed" | "srttUsSum" | "retransmits", bigint>>): void => {
    const key = new Uint8Array(orlopTrafficKey.size);
    view(key).setUint32(orlopTrafficKey.podIdx, 1, littleEndian);
    view(key).setUint16(orlopTrafficKey.direction, ORLOP_DIRECTION_IN, littleEndian);
    view(key).setUint16(orlopTrafficKey.port, 8080, false);
    const value = new Uint8Array(orlopTraffic.size);
    for (const [name, sum] of Object.entries(values)) {
      view(value).setBigUint64(orlopTraffic[name as keyof typeof values], sum, littleEndian);
    }
    traffic.put(key, value);
  };
  const drop = (): void => {
    const value = new Uint8Array(8);
    view(value).setBigUint64(0, 5n, littleEndian);
    counters.put(u32(ORLOP_COUNT_EVENT_DROPPED), value);
  };
  return { late, ring, watch, totals, sums, drop };
}

test("before a keeper lent its maps there is nothing to tell, and nothing fails", (t) => {
  const { watch } = setUp(t);
  watch.mend();
  watch.beforeMeshChange();
  assert.deepEqual([watch.counters(), watch.connections(9)], [null, []]);
  assert.ok(watch.metrics().every(({ samples }) => samples.length <= 1));
});

test("an open connection is listed with the means of those that ended before it", (t) => {
  const { ring, watch, sums } = setUp(t);
  watch.opened(lent);
  ring.push(event(ORLOP_EVENT_OPEN, 7n));
  watch.beforeMeshChange();
  assert.equal(watch.connections(9)[0]?.transport, null, "none has ended");
  sums({ opened: 5n, closed: 4n, srttUsSum: 1_000n, retransmits: 2n });
  assert.deepEqual(watch.connections(9)[0]?.transport, { rttUs: 250, retransmits: 0.5 });
  ring.push(event(ORLOP_EVENT_CLOSE, 7n));
  watch.beforeMeshChange();
  assert.deepEqual(watch.connections(9), []);
});

test("ends are looked for only when events were lost, and a record ends when its connection has", (t) => {
  const { ring, watch, totals, sums, drop } = setUp(t);
  watch.opened(lent);
  ring.push(event(ORLOP_EVENT_OPEN, 7n), event(ORLOP_EVENT_OPEN, 8n));
  sums({ opened: 2n, closed: 1n });
  for (let look = 0; look < 3; look += 1) watch.mend();
  watch.beforeMeshChange();
  assert.equal(watch.connections(9).length, 2);
  drop();
  for (let look = 0; look < 3; look += 1) watch.mend();
  assert.equal(watch.connections(9).length, 1);
  const closed = totals.metrics().find(({ family }) => family.name === "istio_tcp_connections_closed_total");
  assert.equal(closed?.samples[0]?.value, 1);
});

test("a connection that went direct and opens when its destination is in the mesh by then has its pod swept", (t) => {
  const { watch, ring, late } = setUp(t);
  watch.opened(lent);
  const outside = (cookie: bigint, address: string): Uint8Array => {
    const bytes = event(ORLOP_EVENT_OPEN, cookie);
    view(bytes).setUint32(orlopEvent.direction, ORLOP_DIRECTION_OUT, littleEndian);
    view(bytes).setUint32(orlopEvent.flags, ORLOP_SOCK_OUTSIDE, littleEndian);
    writeIp(address, bytes, orlopEvent.dst);
    return bytes;
  };
  ring.push(outside(1n, "192.0.2.1"), event(ORLOP_EVENT_OPEN, 2n));
  watch.beforeMeshChange();
  assert.deepEqual(late, []);
  ring.push(outside(3n, "10.0.0.1"));
  watch.beforeMeshChange();
  assert.deepEqual(late, [1]);
});
