// main thread · ring buffer and per-CPU counters → typed events and numbers. What the hooks saw, without an opinion.
import {
  counterNames,
  ORLOP_DIRECTION_IN,
  ORLOP_EVENT_CLOSE,
  ORLOP_EVENT_DIRECT,
  ORLOP_EVENT_FAIL,
  ORLOP_EVENT_OPEN,
  ORLOP_EVENT_REFUSED,
  ORLOP_SOCK_CAPTURED,
  ORLOP_SOCK_FROM_AGENT,
  ORLOP_SOCK_FROM_NODE,
  ORLOP_SOCK_JOINED,
  ORLOP_SOCK_OUTSIDE,
  orlopEvent,
} from "../abi.ts";
import type { NativeMap, NativeRing } from "../engine/native-maps.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import { bytes16ToIp } from "../mesh/ip.ts";
import { entriesOf, littleEndian, sumOverCpus, u32, u64 } from "./maps.ts";

export type CounterName = (typeof counterNames)[number];
const droppedKey = u32(counterNames.indexOf("event_dropped"));
/** Sums over all CPUs since the map was made. */
export type KernelCounters = { readonly [Name in CounterName]: number };

export type KernelEvent = {
  readonly type: "open" | "close" | "fail" | "refused" | "direct";
  readonly direction: "out" | "in";
  /** Milliseconds of CLOCK_MONOTONIC, as `performance.timeOrigin`-free as process.hrtime. */
  readonly atMs: number;
  readonly podIdx: number;
  readonly sockCookie: bigint;
  readonly source: Endpoint;
  /** What the application dialled, not where the hook sent it. */
  readonly destination: Endpoint;
  /** Final in close; zero in the others. Application payload as TCP counts it. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly durationMs: number;
  readonly srttUs: number;
  readonly retransmits: number;
  /** The agent sits in between and tells of it itself, unless nobody accepted it (`fail`). */
  readonly throughAgent: boolean;
  /** From a program of the node that is let in past the pod's policy. */
  readonly fromNode: boolean;
  /** Where it really went when both ends are pods of this node and nobody sits in between; null: it was not so. */
  readonly joined: Endpoint | null;
  /** The hook let it go direct, since its destination was outside the mesh. */
  readonly outside: boolean;
  /** refused, direct: the counter that was raised with it. */
  readonly reason: CounterName | null;
};

const types = new Map<number, KernelEvent["type"]>([
  [ORLOP_EVENT_OPEN, "open"],
  [ORLOP_EVENT_CLOSE, "close"],
  [ORLOP_EVENT_FAIL, "fail"],
  [ORLOP_EVENT_REFUSED, "refused"],
  [ORLOP_EVENT_DIRECT, "direct"],
]);

/** Records of one drain: 4096 of them are half a MiB, an eighth of the ring. */
export const MAX_RECORDS = 4096;

/** The record at `at`, of which `view` sees the same bytes; undefined: a type this version does not know. */
export function readEvent(bytes: Uint8Array, view: DataView, at = 0): KernelEvent | undefined {
  const u32 = (offset: number): number => view.getUint32(at + offset, littleEndian);
  const endpoint = (address: number, port: number): Endpoint => ({
    address: bytes16ToIp(bytes, at + address),
    port: view.getUint16(at + port, false),
  });
  const type = types.get(u32(orlopEvent.type));
  if (type === undefined) return undefined;
  const decided = type === "refused" || type === "direct";
  return {
    type,
    direction: u32(orlopEvent.direction) === ORLOP_DIRECTION_IN ? "in" : "out",
    atMs: u64(view, at + orlopEvent.atNs) / 1e6,
    podIdx: u32(orlopEvent.podIdx),
    sockCookie: view.getBigUint64(at + orlopEvent.sockCookie, littleEndian),
    source: endpoint(orlopEvent.src, orlopEvent.srcPort),
    destination: endpoint(orlopEvent.dst, orlopEvent.dstPort),
    sentBytes: u64(view, at + orlopEvent.sentBytes),
    receivedBytes: u64(view, at + orlopEvent.receivedBytes),
    durationMs: u64(view, at + orlopEvent.durationNs) / 1e6,
    srttUs: u32(orlopEvent.srttUs),
    retransmits: u32(orlopEvent.retransmits),
    joined: (u32(orlopEvent.flags) & ORLOP_SOCK_JOINED) === 0 ? null : endpoint(orlopEvent.to, orlopEvent.toPort),
    outside: (u32(orlopEvent.flags) & ORLOP_SOCK_OUTSIDE) !== 0,
    throughAgent: (u32(orlopEvent.flags) & (ORLOP_SOCK_CAPTURED | ORLOP_SOCK_FROM_AGENT)) !== 0,
    fromNode: (u32(orlopEvent.flags) & ORLOP_SOCK_FROM_NODE) !== 0,
    reason: decided ? (counterNames[u32(orlopEvent.reason)] ?? null) : null,
  };
}

/** Reads what is there; the caller's timer says when. Lost events are a counter of the kernel: `event_dropped`. */
export class KernelEvents {
  readonly #ring: NativeRing;
  readonly #records = new Uint8Array(MAX_RECORDS * orlopEvent.size);
  readonly #view = new DataView(this.#records.buffer);
  #unknown = 0;

  constructor(ring: NativeRing) {
    this.#ring = ring;
  }

  /** Records that could not be understood: of another size or an unknown type. */
  get unknown(): number {
    return this.#unknown + this.#ring.skipped;
  }

  /** At most 4096 events, oldest first; as many as that means there may be more. */
  drain(): KernelEvent[] {
    const count = this.#ring.drain(this.#records, orlopEvent.size);
    const events: KernelEvent[] = [];
    for (let i = 0; i < count; i++) {
      const event = readEvent(this.#records, this.#view, i * orlopEvent.size);
      if (event) events.push(event);
      else this.#unknown++;
    }
    return events;
  }

  close(): void {
    this.#ring.close();
  }
}

/** How many events the full ring has lost. Asked often: it reads that counter alone. */
export function readDropped(map: NativeMap): number {
  const value = map.get(droppedKey);
  return value === undefined ? 0 : sumOverCpus(value, map.cpus, 0);
}

/** The hooks' counters by name, summed over CPUs, since the programs were loaded. */
export function readCounters(map: NativeMap): KernelCounters {
  const counters: Partial<Record<CounterName, number>> = {};
  for (const name of counterNames) counters[name] = 0;
  for (const [key, value] of entriesOf(map)) {
    const index = new DataView(key.buffer, key.byteOffset, 4).getUint32(0, littleEndian);
    const name = counterNames[index];
    if (name !== undefined) counters[name] = sumOverCpus(value, map.cpus, 0);
  }
  return counters as KernelCounters; // Every name was set above.
}
