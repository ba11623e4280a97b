// main thread · the kernel's sums of each pod's connections and bytes, by direction, port and way. The hooks add to them at every
// connection, whether or not the ring of events has room, so they are right where records were lost.
import {
  ORLOP_DIRECTION_IN,
  ORLOP_TRAFFIC_AGENT,
  ORLOP_TRAFFIC_JOINED,
  orlopTraffic,
  orlopTrafficKey,
} from "../abi.ts";
import type { NativeMap } from "../engine/native-maps.ts";
import { entriesOf, expectLayout, littleEndian, sumOverCpus, view } from "./maps.ts";

/**
 * agent: the agent sits in between. joined: the kernel has joined two pods of this node. direct: straight between the pod and
 * its peer, which is plaintext that no agent sees.
 */
export type TrafficWay = "agent" | "joined" | "direct";

/** Which connections of a pod a row sums up. `port` is what was dialled, or where the pod's application listens. */
export type TrafficKey = {
  readonly podIdx: number;
  readonly direction: "out" | "in";
  readonly way: TrafficWay;
  readonly port: number;
};

/** Since the keeper gave the pod its index. Bytes, RTT and retransmits are added when a connection ends. */
export type TrafficSums = {
  readonly opened: number;
  readonly closed: number;
  /** Dials that never became a connection. */
  readonly failed: number;
  /** Payload that the pod's own sockets sent and received. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /**
   * Sum of the smoothed round-trip times of the connections that ended; with the way "agent" that of the hop inside the
   * pod. Microseconds.
   */
  readonly srttUs: number;
  /** Segments that the pod's own sockets sent again. */
  readonly retransmits: number;
};

export type TrafficRow = TrafficKey & TrafficSums;

/** Every row of the map `traffic`, summed over CPUs. @throws Error when the map has another layout */
export function readTraffic(map: NativeMap): TrafficRow[] {
  expectLayout(map, orlopTrafficKey.size, orlopTraffic.size * map.cpus);
  return [...entriesOf(map)].map(([key, value]) => {
    const sum = (offset: number): number => sumOverCpus(value, map.cpus, offset);
    const direction = view(key).getUint16(orlopTrafficKey.direction, littleEndian);
    return {
      podIdx: view(key).getUint32(orlopTrafficKey.podIdx, littleEndian),
      direction: (direction & ORLOP_DIRECTION_IN) === 0 ? "out" : "in",
      way:
        (direction & ORLOP_TRAFFIC_AGENT) !== 0
          ? "agent"
          : (direction & ORLOP_TRAFFIC_JOINED) !== 0
            ? "joined"
            : "direct",
      port: view(key).getUint16(orlopTrafficKey.port, false),
      opened: sum(orlopTraffic.opened),
      closed: sum(orlopTraffic.closed),
      failed: sum(orlopTraffic.failed),
      sentBytes: sum(orlopTraffic.sentBytes),
      receivedBytes: sum(orlopTraffic.receivedBytes),
      srttUs: sum(orlopTraffic.srttUsSum),
      retransmits: sum(orlopTraffic.retransmits),
    };
  });
}

/** A row's key as text, to look rows up by. */
export const trafficKeyOf = ({ podIdx, direction, way, port }: TrafficKey): string =>
  `${podIdx} ${direction} ${way} ${port}`;
