// The bytes that maps.ts writes, against the layouts of bpf/orlop_abi.h spelled out by hand.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMap } from "./maps.fake.ts";
import { entriesOf, Gate, InByPort, littleEndian, OutByDst } from "./maps.ts";

/** 32 bits as this machine's kernel writes them. */
const host32 = (value: number): string => {
  const bytes = Buffer.alloc(4);
  if (littleEndian) bytes.writeUInt32LE(value);
  else bytes.writeUInt32BE(value);
  return bytes.toString("hex");
};

test("in_by_port: the index in host order, the port in wire order", () => {
  const map = new FakeMap({ name: "in_by_port", keyBytes: 8, valueBytes: 4, maxEntries: 3 });
  const table = new InByPort(map);
  assert.equal(table.put(7, 8080, "agent"), true);
  assert.equal(Buffer.from(map.dump()).toString("hex"), `${host32(7)}1f900000${host32(3)}`);
  assert.equal(table.put(7, 0, "refuse"), true);
  assert.equal(table.put(8, 0, "pass"), true);
  assert.equal(table.get(7, 0), "refuse");
  assert.equal(table.get(8, 0), "pass");
  assert.equal(table.get(9, 0), undefined);
  assert.deepEqual(table.ports(7), [8080, 0]);
  assert.equal(table.put(9, 0, "pass"), false, "a full map is an answer");
  assert.equal(table.put(8, 0, "refuse"), true, "what is there can still be changed");
  assert.equal(table.delete(7, 8080), true);
  assert.equal(table.delete(7, 8080), false);
  for (const port of [-1, 65_536, 1.5]) assert.throws(() => table.put(1, port, "pass"), RangeError);
});

test("a verdict of a newer version reads as refuse", () => {
  const map = new FakeMap({ name: "in_by_port", keyBytes: 8, valueBytes: 4 });
  map.put(Buffer.from(`${host32(1)}00000000`, "hex"), Buffer.from(host32(99), "hex"));
  assert.equal(new InByPort(map).get(1, 0), "refuse");
});

test("out_by_dst: both families in sixteen bytes", () => {
  const map = new FakeMap({ name: "out_by_dst", keyBytes: 20, valueBytes: 4 });
  const table = new OutByDst(map);
  table.put("10.1.2.3", 443, "direct");
  assert.equal(Buffer.from(map.dump()).toString("hex"), `00000000000000000000ffff0a01020301bb0000${host32(2)}`);
  table.put("fd00::1", 0, "refuse");
  assert.deepEqual(table.entries(), [
    { address: "10.1.2.3", port: 443, verdict: "direct" },
    { address: "fd00::1", port: 0, verdict: "refuse" },
  ]);
  assert.equal(table.delete("10.1.2.3", 443), true);
  assert.throws(() => table.put("10.1.2", 1, "direct"), RangeError);
  assert.equal([...entriesOf(map)].length, 1);
});

test("a beat keeps the keeper's limit, and stop is late at once", () => {
  const map = new FakeMap({ name: "gate", keyBytes: 4, valueBytes: 24, maxEntries: 1 });
  assert.throws(() => new Gate(map).read(), /no entry/);
  const value = Buffer.alloc(24);
  const limit = 2_000_000_000n;
  littleEndian ? value.writeBigUInt64LE(limit, 8) : value.writeBigUInt64BE(limit, 8);
  map.put(Buffer.alloc(4), value);
  const gate = new Gate(map);
  gate.beat(123n);
  assert.deepEqual(gate.read(), { beatNs: 123n, limitNs: limit });
});

test("an agent that only beats keeps what the agent that writes the tables says of them", () => {
  const map = new FakeMap({ name: "gate", keyBytes: 4, valueBytes: 24, maxEntries: 1 });
  map.put(Buffer.alloc(4), Buffer.alloc(24));
  const [old, next] = [new Gate(map), new Gate(map)];
  old.setMeshWritten(true);
  old.onlyBeat();
  const written = (): boolean => (map.get(Buffer.alloc(4)) ?? Buffer.alloc(24)).subarray(16).some((byte) => byte !== 0);
  old.beat(1n);
  assert.equal(written(), true);
  next.setMeshWritten(false);
  old.beat(2n);
  assert.deepEqual([written(), old.read().beatNs], [false, 2n]);
  next.setMeshWritten(true);
  old.beat(3n);
  assert.equal(written(), true);
});

test("a map of another layout is refused at once", () => {
  const map = new FakeMap({ name: "gate", keyBytes: 4, valueBytes: 8 });
  assert.throws(() => new Gate(map), /different layouts/);
});
