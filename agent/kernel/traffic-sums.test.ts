import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ORLOP_DIRECTION_IN,
  ORLOP_DIRECTION_OUT,
  ORLOP_TRAFFIC_AGENT,
  ORLOP_TRAFFIC_JOINED,
  orlopTraffic,
  orlopTrafficKey,
} from "../abi.ts";
import { FakeMap } from "./maps.fake.ts";
import { littleEndian, view } from "./maps.ts";
import { readTraffic, trafficKeyOf } from "./traffic-sums.ts";

function key(direction: number, port: number): Uint8Array {
  const bytes = new Uint8Array(orlopTrafficKey.size);
  view(bytes).setUint32(orlopTrafficKey.podIdx, 9, littleEndian);
  view(bytes).setUint16(orlopTrafficKey.direction, direction, littleEndian);
  view(bytes).setUint16(orlopTrafficKey.port, port, false);
  return bytes;
}

const mapOf = (cpus: number) =>
  new FakeMap({ name: "traffic", keyBytes: orlopTrafficKey.size, valueBytes: orlopTraffic.size, cpus });

test("a row: its port in wire order, sums over all CPUs", () => {
  const map = mapOf(2);
  const values = [5n, 4n, 1n, 100n, 50n, 2_000_000n, 400n, 1n, 5n, 0n, 0n, 11n, 0n, 0n, 0n, 2n];
  map.put(key(ORLOP_DIRECTION_IN, 8080), new Uint8Array(new BigUint64Array(values).buffer));
  assert.deepEqual(readTraffic(map), [
    {
      ...{ podIdx: 9, direction: "in", way: "direct", port: 8080 },
      ...{ opened: 10, closed: 4, failed: 1, sentBytes: 111, receivedBytes: 50, srttUs: 400, retransmits: 3 },
    },
  ]);
});

test("the three ways of a port are three rows", () => {
  const map = mapOf(1);
  for (const way of [0, ORLOP_TRAFFIC_AGENT, ORLOP_TRAFFIC_JOINED]) {
    map.put(key(ORLOP_DIRECTION_OUT | way, 80), new Uint8Array(orlopTraffic.size));
  }
  assert.deepEqual(readTraffic(map).map(trafficKeyOf), ["9 out direct 80", "9 out agent 80", "9 out joined 80"]);
});

test("sums of another layout are refused, not misread", () => {
  const map = new FakeMap({ name: "traffic", keyBytes: orlopTrafficKey.size, valueBytes: 8, cpus: 2 });
  assert.throws(() => readTraffic(map), /different layouts/);
});
