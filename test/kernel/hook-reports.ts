// support of test/kernel (root) · what the hooks have reported, read from the ring of events and the map of sums.
import { endianness } from "node:os";
import {
  ORLOP_EVENT_CLOSE,
  ORLOP_EVENT_DIRECT,
  ORLOP_EVENT_FAIL,
  ORLOP_EVENT_OPEN,
  ORLOP_EVENT_REFUSED,
  ORLOP_TRAFFIC_AGENT,
  ORLOP_TRAFFIC_JOINED,
  orlopEvent,
  orlopTraffic,
  orlopTrafficKey,
} from "../../agent/abi.ts";
import type { RingBuffer } from "../../agent/engine/addon.ts";
import type { KernelMap } from "../../agent/keeper/addon.ts";
import { bytes16ToIp } from "../../agent/mesh/ip.ts";

const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export type SeenEvent = {
  readonly type: "open" | "close" | "fail" | "refused" | "direct" | "?";
  readonly direction: number;
  readonly flags: number;
  readonly reason: number;
  readonly src: string;
  readonly dst: string;
  readonly sent: bigint;
  readonly received: bigint;
};
const types = new Map<number, SeenEvent["type"]>([
  [ORLOP_EVENT_OPEN, "open"],
  [ORLOP_EVENT_CLOSE, "close"],
  [ORLOP_EVENT_FAIL, "fail"],
  [ORLOP_EVENT_REFUSED, "refused"],
  [ORLOP_EVENT_DIRECT, "direct"],
]);

/** `<address> <port>` of a record. */
export const endpoint = (bytes: Uint8Array, address: number, port: number): string =>
  `${bytes16ToIp(bytes, address)} ${view(bytes).getUint16(port, false)}`;

/** Takes the events that wait in the ring, 20,000 at most. */
export function takeEvents(ring: InstanceType<typeof RingBuffer>): SeenEvent[] {
  const bytes = new Uint8Array(orlopEvent.size * 20_000);
  const count = ring.drain(bytes, orlopEvent.size);
  const out: SeenEvent[] = [];
  for (let at = 0; at < count * orlopEvent.size; at += orlopEvent.size) {
    const record = bytes.subarray(at, at + orlopEvent.size);
    const u32 = (field: number): number => view(record).getUint32(field, little);
    out.push({
      type: types.get(u32(orlopEvent.type)) ?? "?",
      direction: u32(orlopEvent.direction),
      flags: u32(orlopEvent.flags),
      reason: u32(orlopEvent.reason),
      src: endpoint(record, orlopEvent.src, orlopEvent.srcPort),
      dst: endpoint(record, orlopEvent.dst, orlopEvent.dstPort),
      sent: view(record).getBigUint64(orlopEvent.sentBytes, little),
      received: view(record).getBigUint64(orlopEvent.receivedBytes, little),
    });
  }
  return out;
}

export type SeenTraffic = Record<"opened" | "closed" | "failed" | "sentBytes" | "receivedBytes", number>;

/** The rows of a pod, direction and port, summed over ways and CPUs. */
export function trafficIn(
  map: KernelMap,
  { podIdx, direction, port }: { readonly podIdx: number; readonly direction: number; readonly port: number },
): SeenTraffic {
  const values = [0, ORLOP_TRAFFIC_AGENT, ORLOP_TRAFFIC_JOINED].map((way) => {
    const key = new Uint8Array(orlopTrafficKey.size);
    view(key).setUint32(orlopTrafficKey.podIdx, podIdx, little);
    view(key).setUint16(orlopTrafficKey.direction, direction | way, little);
    view(key).setUint16(orlopTrafficKey.port, port, false);
    return map.get(key) ?? Buffer.alloc(0);
  });
  const sum = (field: number): number => {
    let total = 0n;
    for (const value of values) {
      for (let at = field; at < value.length; at += orlopTraffic.size) total += view(value).getBigUint64(at, little);
    }
    return Number(total);
  };
  return {
    opened: sum(orlopTraffic.opened),
    closed: sum(orlopTraffic.closed),
    failed: sum(orlopTraffic.failed),
    sentBytes: sum(orlopTraffic.sentBytes),
    receivedBytes: sum(orlopTraffic.receivedBytes),
  };
}
