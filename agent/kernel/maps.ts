// main thread · typed get and put on the maps the keeper lent: what the evaluator said, in the kernel's bytes.
// A full map is an answer (false), not an error: the kernel then refuses, and the caller counts it.
import { endianness } from "node:os";
import {
  ORLOP_IN_AGENT,
  ORLOP_IN_PASS,
  ORLOP_IN_REFUSE,
  ORLOP_OUT_DIRECT,
  ORLOP_OUT_REFUSE,
  ORLOP_OUT_UNANSWERED,
  orlopGate,
  orlopInKey,
  orlopOutKey,
} from "../abi.ts";
import type { NativeMap } from "../engine/native-maps.ts";
import { bytes16ToIp, writeIp } from "../mesh/ip.ts";

/** Of this machine: kernel and agent share memory layouts. Ports and addresses are in wire order in every case. */
export const littleEndian = endianness() === "LE";

/** What plaintext to a port meets: STRICT refuses; PERMISSIVE passes without policy, and with policy goes to the agent's :15006. */
export type InVerdict = "refuse" | "pass" | "agent";
/** A row of in_by_port. Port 0 is the pod's default. */
export type InEntry = { readonly podIdx: number; readonly port: number; readonly verdict: InVerdict };
const inVerdicts: readonly [InVerdict, number][] = [
  ["refuse", ORLOP_IN_REFUSE],
  ["pass", ORLOP_IN_PASS],
  ["agent", ORLOP_IN_AGENT],
];
/**
 * What a destination gets while the heartbeat is late: refused, or direct. While it is not, the agent takes the connection, except
 * that an "unanswered" destination is refused at once, since nobody answers for it, or nobody can tell who would.
 */
export type OutVerdict = "refuse" | "direct" | "unanswered-refuse" | "unanswered-direct";
const outVerdicts: readonly [OutVerdict, number][] = [
  ["refuse", ORLOP_OUT_REFUSE],
  ["direct", ORLOP_OUT_DIRECT],
  ["unanswered-refuse", ORLOP_OUT_REFUSE | ORLOP_OUT_UNANSWERED],
  ["unanswered-direct", ORLOP_OUT_DIRECT | ORLOP_OUT_UNANSWERED],
];

export const goesDirect = (verdict: OutVerdict): boolean => verdict === "direct" || verdict === "unanswered-direct";
export const isAnswered = (verdict: OutVerdict): boolean => verdict === "refuse" || verdict === "direct";
/** @param direct whether the connection goes straight there without an agent @param answered whether a client finds an endpoint there at all */
export function outVerdict(direct: boolean, answered: boolean): OutVerdict {
  if (direct) return answered ? "direct" : "unanswered-direct";
  return answered ? "refuse" : "unanswered-refuse";
}

export const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** 64 bits as a number: exact below 2^53, which no byte count or age of a machine reaches. */
export function u64(bytes: DataView, offset: number): number {
  const [low, high] = littleEndian ? [offset, offset + 4] : [offset + 4, offset];
  return bytes.getUint32(high, littleEndian) * 2 ** 32 + bytes.getUint32(low, littleEndian);
}

/** Adds up the 64-bit field at `offset` over the values of all CPUs. */
export function sumOverCpus(value: Uint8Array, cpus: number, offset: number): number {
  const stride = value.byteLength / cpus;
  let sum = 0;
  for (let cpu = 0; cpu < cpus; cpu++) sum += u64(view(value), cpu * stride + offset);
  return sum;
}

/** A number below 2^32 as the four bytes of a map's key or value, in the byte order of the machine. */
export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  view(bytes).setUint32(0, value, littleEndian);
  return bytes;
}

/** `bytes` as keys and values of `map`; the views are only valid as long as `bytes`. */
export function* entriesOf(map: NativeMap, bytes = map.dump()): Generator<[key: Uint8Array, value: Uint8Array]> {
  const size = map.keyBytes + map.valueBytes;
  for (let at = 0; at + size <= bytes.length; at += size) {
    yield [bytes.subarray(at, at + map.keyBytes), bytes.subarray(at + map.keyBytes, at + size)];
  }
}

export function expectLayout(map: NativeMap, keyBytes: number, valueBytes: number): void {
  if (map.keyBytes !== keyBytes || map.valueBytes !== valueBytes) {
    throw new Error(
      `map ${map.name} holds ${map.keyBytes}→${map.valueBytes} bytes, expected ${keyBytes}→${valueBytes}: keeper and agent are of different layouts`,
    );
  }
}

export function putUnlessFull(map: NativeMap, key: Uint8Array, value: Uint8Array): boolean {
  try {
    map.put(key, value);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "E2BIG") return false;
    throw error;
  }
}

/** Port 0 is allowed: in the tables it means the other ports. @throws RangeError */
export function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new RangeError(`port ${port}`);
}

/** What sk_lookup does with plaintext to a pod's port. Port 0 is the pod's default; a miss refuses. */
export class InByPort {
  readonly #map: NativeMap;

  constructor(map: NativeMap) {
    expectLayout(map, orlopInKey.size, 4);
    this.#map = map;
  }

  put(podIdx: number, port: number, verdict: InVerdict): boolean {
    const number = inVerdicts.find(([name]) => name === verdict)?.[1] ?? ORLOP_IN_REFUSE;
    return putUnlessFull(this.#map, this.#key(podIdx, port), u32(number));
  }

  get(podIdx: number, port: number): InVerdict | undefined {
    const value = this.#map.get(this.#key(podIdx, port));
    if (value === undefined) return undefined;
    // The kernel refuses at a number that it does not know, so that is what such a number means here.
    return inVerdicts.find(([, number]) => number === view(value).getUint32(0, littleEndian))?.[0] ?? "refuse";
  }

  delete(podIdx: number, port: number): boolean {
    return this.#map.delete(this.#key(podIdx, port));
  }

  /** Ports of a pod that have an entry, its default (0) included. */
  ports(podIdx: number): number[] {
    const ports: number[] = [];
    for (const [key] of entriesOf(this.#map)) {
      if (view(key).getUint32(orlopInKey.podIdx, littleEndian) === podIdx) {
        ports.push(view(key).getUint16(orlopInKey.port, false));
      }
    }
    return ports;
  }

  #key(podIdx: number, port: number): Uint8Array {
    checkPort(port);
    const key = new Uint8Array(orlopInKey.size);
    view(key).setUint32(orlopInKey.podIdx, podIdx, littleEndian);
    view(key).setUint16(orlopInKey.port, port, false);
    return key;
  }
}

/** A row of out_by_dst. Port 0 is any port of the address. */
export type OutEntry = { readonly address: string; readonly port: number; readonly verdict: OutVerdict };

/** What the connect hook does without the agent. Port 0 is any port of the address. */
export class OutByDst {
  readonly #map: NativeMap;

  constructor(map: NativeMap) {
    expectLayout(map, orlopOutKey.size, 4);
    this.#map = map;
  }

  /** @param address canonical text */
  put(address: string, port: number, verdict: OutVerdict): boolean {
    const number = outVerdicts.find(([name]) => name === verdict)?.[1] ?? ORLOP_OUT_REFUSE;
    return putUnlessFull(this.#map, this.#key(address, port), u32(number));
  }

  delete(address: string, port: number): boolean {
    return this.#map.delete(this.#key(address, port));
  }

  entries(): OutEntry[] {
    return [...entriesOf(this.#map)].map(([key, value]) => ({
      address: bytes16ToIp(key, orlopOutKey.dst),
      port: view(key).getUint16(orlopOutKey.port, false),
      verdict: outVerdicts.find(([, number]) => number === view(value).getUint32(0, littleEndian))?.[0] ?? "refuse",
    }));
  }

  #key(address: string, port: number): Uint8Array {
    checkPort(port);
    const key = new Uint8Array(orlopOutKey.size);
    if (!writeIp(address, key, orlopOutKey.dst)) throw new RangeError(`"${address}" is no address`);
    view(key).setUint16(orlopOutKey.port, port, false);
    return key;
  }
}

/** The agent's sign of life, in nanoseconds of CLOCK_MONOTONIC. The limit is the keeper's word and kept as it is. */
export class Gate {
  readonly #map: NativeMap;
  readonly #key = new Uint8Array(4);
  readonly #value = new Uint8Array(orlopGate.size);
  /**
   * Whether this agent has written all addresses of its mesh; what an earlier agent wrote into the map does not count. Undefined: another
   * agent writes the tables, and its word stays in the map.
   */
  #meshWritten: boolean | undefined = false;

  constructor(map: NativeMap) {
    expectLayout(map, 4, orlopGate.size);
    this.#map = map;
  }

  beat(nowNs: bigint): void {
    const value = this.#read();
    value.setBigUint64(orlopGate.beatNs, nowNs, littleEndian);
    if (this.#meshWritten !== undefined) {
      value.setBigUint64(orlopGate.meshWritten, this.#meshWritten ? 1n : 0n, littleEndian);
    }
    this.#map.put(this.#key, this.#value);
  }

  /** Another agent writes the tables from here on, and says whether they are whole: this agent only beats. */
  onlyBeat(): void {
    this.#meshWritten = undefined;
  }

  /** Whether out_by_dst has every address of the mesh, so that the kernel may take a miss for outside the mesh. */
  setMeshWritten(written: boolean): void {
    this.#meshWritten = written;
    this.beat(this.read().beatNs);
  }

  read(): { readonly beatNs: bigint; readonly limitNs: bigint } {
    const value = this.#read();
    return {
      beatNs: value.getBigUint64(orlopGate.beatNs, littleEndian),
      limitNs: value.getBigUint64(orlopGate.limitNs, littleEndian),
    };
  }

  /** The map's value, copied into ours. */
  #read(): DataView {
    const value = this.#map.get(this.#key);
    if (value === undefined) throw new Error("map gate has no entry 0");
    this.#value.set(value.subarray(0, this.#value.length));
    return view(this.#value);
  }
}
