import assert from "node:assert/strict";
import { test } from "node:test";
import { orlopBackend, orlopBackends, orlopPairKey, orlopVipKey } from "../abi.ts";
import { FakeMap } from "./maps.fake.ts";
import { littleEndian, u32, view } from "./maps.ts";
import { MAX_BACKENDS, PairVerdicts, VipBackends } from "./pair-maps.ts";

const pairMap = (maxEntries = 9) =>
  new FakeMap({ name: "pair_verdict", keyBytes: orlopPairKey.size, valueBytes: 4, maxEntries });
const vipMap = () => new FakeMap({ name: "vip_backends", keyBytes: orlopVipKey.size, valueBytes: orlopBackends.size });
const row = { sourceIdx: 1, destinationIdx: 2, port: 8080 } as const;

test("a pair's verdict is read back; a number that nobody knows reads as the strictest", () => {
  const map = pairMap();
  const pairs = new PairVerdicts(map);
  assert.equal(pairs.put({ ...row, verdict: "join" }), true);
  assert.deepEqual(pairs.entries(), [{ ...row, verdict: "join" }]);
  map.put(map.dump().slice(0, orlopPairKey.size), u32(77));
  assert.equal(pairs.entries()[0]?.verdict, "end");
  assert.deepEqual([pairs.delete(row), pairs.delete(row)], [true, false]);
});

test("a full map is an answer; a port that is none, or another layout, is a fault", () => {
  const pairs = new PairVerdicts(pairMap(1));
  assert.equal(pairs.put({ ...row, verdict: "join" }), true);
  assert.equal(pairs.put({ ...row, port: 0, verdict: "end" }), false);
  assert.throws(() => pairs.put({ ...row, port: 70_000, verdict: "end" }), RangeError);
  assert.throws(() => new PairVerdicts(vipMap()), /different layouts/);
});

test("backends: addresses and ports in wire order, and the sums of weights that the kernel draws from", () => {
  const map = vipMap();
  const vips = new VipBackends(map);
  const entry = { podIdx: 3, vip: "10.96.0.1", port: 80 };
  vips.put(entry, [
    { address: "10.0.0.1", port: 8080, weight: 2 },
    { address: "10.0.0.2", port: 8081, weight: 3 },
  ]);
  assert.deepEqual(vips.keys(), [entry]);
  const value = view(map.dump().subarray(orlopVipKey.size));
  const backend = (index: number) => orlopBackends.list + index * orlopBackend.size;
  assert.equal(value.getUint32(orlopBackends.count, littleEndian), 2);
  assert.equal(value.getUint32(orlopBackends.shares, littleEndian), 5);
  assert.equal(value.getUint32(backend(1) + orlopBackend.shareEnd, littleEndian), 5);
  assert.equal(value.getUint16(backend(0) + orlopBackend.port, false), 8080);
  const many = Array.from({ length: MAX_BACKENDS + 1 }, () => ({ address: "10.0.0.1", port: 80, weight: 1 }));
  assert.throws(() => vips.put(entry, many), RangeError);
  assert.throws(() => vips.put({ ...entry, vip: "api" }, []), RangeError);
});
