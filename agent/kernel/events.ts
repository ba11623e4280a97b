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

/** The kernel's number of a socket. Nearly all are small; where a soft interrupt asks for one they count down from 2^64. */
export type SockCookie = number | bigint;

export type KernelEvent = {
  readonly type: "open" | "close" | "fail" | "refused" | "direct";
  readonly direction: "out" | "in";
  /** Milliseconds of CLOCK_MONOTONIC, as `performance.timeOrigin`-free as process.hrtime. */
  readonly atMs: number;
  readonly podIdx: number;
  readonly sockCookie: SockCookie;
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
  const type = types.get(view.getUint32(at + orlopEvent.type, littleEndian));
  return type === undefined ? undefined : new RingEvent(type, { bytes, view, at });
}

/** Reads what it is asked for, and keeps nothing: of most ends nobody asks more than the cookie and the sums. */
class RingEvent implements KernelEvent {
  readonly type: KernelEvent["type"];
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #at: number;

  constructor(
    type: KernelEvent["type"],
    { bytes, view, at }: { readonly bytes: Uint8Array; readonly view: DataView; readonly at: number },
  ) {
    this.type = type;
    this.#bytes = bytes;
    this.#view = view;
    this.#at = at;
  }

  get direction(): KernelEvent["direction"] {
    return this.#u32(orlopEvent.direction) === ORLOP_DIRECTION_IN ? "in" : "out";
  }
  get atMs(): number {
    return this.#u64(orlopEvent.atNs) / 1e6;
  }
  get podIdx(): number {
    return this.#u32(orlopEvent.podIdx);
  }
  get sockCookie(): SockCookie {
    const cookie = this.#u64(orlopEvent.sockCookie);
    if (Number.isSafeInteger(cookie)) return cookie;
    return this.#view.getBigUint64(this.#at + orlopEvent.sockCookie, littleEndian);
  }
  get source(): Endpoint {
    return this.#endpoint(orlopEvent.src, orlopEvent.srcPort);
  }
  get destination(): Endpoint {
    return this.#endpoint(orlopEvent.dst, orlopEvent.dstPort);
  }
  get sentBytes(): number {
    return this.#u64(orlopEvent.sentBytes);
  }
  get receivedBytes(): number {
    return this.#u64(orlopEvent.receivedBytes);
  }
  get durationMs(): number {
    return this.#u64(orlopEvent.durationNs) / 1e6;
  }
  get srttUs(): number {
    return this.#u32(orlopEvent.srttUs);
  }
  get retransmits(): number {
    return this.#u32(orlopEvent.retransmits);
  }
  get joined(): Endpoint | null {
    return this.#has(ORLOP_SOCK_JOINED) ? this.#endpoint(orlopEvent.to, orlopEvent.toPort) : null;
  }
  get outside(): boolean {
    return this.#has(ORLOP_SOCK_OUTSIDE);
  }
  get throughAgent(): boolean {
    return this.#has(ORLOP_SOCK_CAPTURED | ORLOP_SOCK_FROM_AGENT);
  }
  get fromNode(): boolean {
    return this.#has(ORLOP_SOCK_FROM_NODE);
  }
  get reason(): CounterName | null {
    const decided = this.type === "refused" || this.type === "direct";
    return decided ? (counterNames[this.#u32(orlopEvent.reason)] ?? null) : null;
  }

  #has(flags: number): boolean {
    return (this.#u32(orlopEvent.flags) & flags) !== 0;
  }
  #u32(offset: number): number {
    return this.#view.getUint32(this.#at + offset, littleEndian);
  }
  #u64(offset: number): number {
    return u64(this.#view, this.#at + offset);
  }
  #endpoint(address: number, port: number): Endpoint {
    return {
      address: bytes16ToIp(this.#bytes, this.#at + address),
      port: this.#view.getUint16(this.#at + port, false),
    };
  }
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

  /** Shows at most 4096 events, oldest first; as many as that means there may be more. An event holds only while `handle` has it. */
  drain(handle: (event: KernelEvent) => void): number {
    const count = this.#ring.drain(this.#records, orlopEvent.size);
    for (let i = 0; i < count; i++) {
      const event = readEvent(this.#records, this.#view, i * orlopEvent.size);
      if (event) handle(event);
      else this.#unknown++;
    }
    return count;
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
