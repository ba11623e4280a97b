import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createCluster } from "../../test/box/cluster.ts";
import { call, startServers } from "../app/roles.ts";
import { asCaptured, type Packet, startCapture } from "./capture.ts";
import { readWire, requireTls } from "./wire.ts";

const packet = (sequence: number, payload: Buffer, syn = false): Packet => ({
  kind: "tcp",
  source: "10.0.0.1",
  destination: "10.0.0.2",
  sourcePort: 1,
  destinationPort: 15008,
  sequence: sequence >>> 0,
  syn,
  payload,
});
const addressesOf = (host: { ip4: string; ip6: string }) => [asCaptured(host.ip4), asCaptured(host.ip6)];
const record = (type: number, length: number): Buffer => {
  const bytes = Buffer.alloc(5 + length);
  bytes.set([type, 3, 3, length >> 8, length & 255]);
  return bytes;
};

describe("reading TLS off the wire", () => {
  const handshake = record(22, 100);
  const data = record(23, 300);
  test("records across segments, out of order, repeated, and a sequence number that wraps", () => {
    const all = Buffer.concat([handshake, data]);
    const start = 0xffffffc0;
    const segments = [
      packet(start, Buffer.alloc(0), true),
      packet(start + 1 + 200, all.subarray(200)),
      packet(start + 1, all.subarray(0, 200)),
    ];
    segments.push(packet(start + 1, all.subarray(0, 50)), packet(start, Buffer.alloc(1)));
    assert.deepEqual(requireTls(segments), { streams: 1, records: 2, applicationBytes: 300 });
  });
  test("plaintext in the middle is found", () => {
    const segments = [
      packet(0, Buffer.alloc(0), true),
      packet(1, Buffer.concat([handshake, Buffer.from("GET / secret")])),
    ];
    assert.throws(() => requireTls(segments), /byte 105 begins no TLS record: "GET \/ secret/);
  });
  test("a gap and a missing beginning prove nothing", () => {
    assert.throws(() => requireTls([packet(0, Buffer.alloc(0), true), packet(10, data)]), /9 bytes were not captured/);
    assert.throws(() => requireTls([packet(10, data)]), /beginning was not captured/);
  });
  test("addresses in one form", () => {
    assert.equal(asCaptured("fd90:0:0:2::1f"), "fd90:0:0:2:0:0:0:1f");
    assert.equal(asCaptured("::1"), "0:0:0:0:0:0:0:1");
    assert.equal(asCaptured("fd90::"), "fd90:0:0:0:0:0:0:0");
    assert.equal(asCaptured("10.1.2.3"), "10.1.2.3");
  });
});

test("without a mesh the capture sees the plaintext of a call between nodes", async () => {
  const nodes = [
    { name: "node-a", pods: [{ name: "web" }] },
    { name: "node-b", pods: [{ name: "api" }] },
  ];
  const cluster = await createCluster({ nodes });
  try {
    const [web, api] = [cluster.pod("web"), cluster.pod("api")];
    await startServers(api);
    for (const host of [api.ip4, api.ip6]) {
      const capture = await startCapture(cluster);
      const result = await call(web, { host, port: 8080 }, "in the clear");
      assert.equal(result.reply?.said, "in the clear");
      const packets = await capture.stop();
      const sent = packets.filter(
        (packet) => packet.destination === asCaptured(host) && packet.destinationPort === 8080,
      );
      assert.ok(sent.some((packet) => packet.payload.includes("in the clear")));
      assert.throws(() => requireTls(sent), /begins no TLS record: "in the clear/);
      const mesh = new Set([...addressesOf(web), ...addressesOf(api)]);
      assert.throws(() => readWire(packets, mesh, ["the clear"]), /carries "the clear" in the clear/);
      assert.throws(() => readWire(packets, mesh, []), /is no HBONE/);
      assert.equal(readWire(packets, new Set(addressesOf(web)), []).meshPackets, 0);
    }
  } finally {
    await cluster.close();
  }
});
