// main thread · typed access to the kernel's tables of pods of this node: which pairs may join, and which pods answer for a virtual
// address. Full maps answer false, as in maps.ts.
import {
  ORLOP_MAX_BACKENDS,
  ORLOP_PAIR_END,
  ORLOP_PAIR_JOIN,
  ORLOP_PAIR_STAY,
  orlopBackend,
  orlopBackends,
  orlopPairKey,
  orlopVipKey,
} from "../abi.ts";
import type { NativeMap } from "../engine/native-maps.ts";
import { bytes16ToIp, writeIp } from "../mesh/ip.ts";
import { checkPort, entriesOf, expectLayout, littleEndian, putUnlessFull, u32, view } from "./maps.ts";

export type PairVerdict = "join" | "stay" | "end";
const pairVerdicts: readonly [PairVerdict, number][] = [
  ["join", ORLOP_PAIR_JOIN],
  ["stay", ORLOP_PAIR_STAY],
  ["end", ORLOP_PAIR_END],
];
/** Two pods of this node by their indices: the first calls the second. */
export type Pair = { readonly sourceIdx: number; readonly destinationIdx: number };
/** What connections of a pair to a port meet. Port 0 is any. */
export type PairEntry = Pair & {
  readonly port: number;
  readonly verdict: PairVerdict;
};

/** Which connections between pods of this node may go without the agent. A miss means that it takes them. */
export class PairVerdicts {
  readonly #map: NativeMap;

  constructor(map: NativeMap) {
    expectLayout(map, orlopPairKey.size, 4);
    this.#map = map;
  }

  put(entry: PairEntry): boolean {
    const number = pairVerdicts.find(([name]) => name === entry.verdict)?.[1] ?? ORLOP_PAIR_END;
    return putUnlessFull(this.#map, this.#key(entry), u32(number));
  }

  delete(entry: Omit<PairEntry, "verdict">): boolean {
    return this.#map.delete(this.#key(entry));
  }

  entries(): PairEntry[] {
    return [...entriesOf(this.#map)].map(([key, value]) => ({
      sourceIdx: view(key).getUint32(orlopPairKey.srcPodIdx, littleEndian),
      destinationIdx: view(key).getUint32(orlopPairKey.dstPodIdx, littleEndian),
      port: view(key).getUint16(orlopPairKey.port, false),
      verdict: pairVerdicts.find(([, number]) => number === view(value).getUint32(0, littleEndian))?.[0] ?? "end",
    }));
  }

  #key({ sourceIdx, destinationIdx, port }: Omit<PairEntry, "verdict">): Uint8Array {
    checkPort(port);
    const key = new Uint8Array(orlopPairKey.size);
    view(key).setUint32(orlopPairKey.srcPodIdx, sourceIdx, littleEndian);
    view(key).setUint32(orlopPairKey.dstPodIdx, destinationIdx, littleEndian);
    view(key).setUint16(orlopPairKey.port, port, false);
    return key;
  }
}

/** `weight` is an integer from 1 on. */
export type Backend = { readonly address: string; readonly port: number; readonly weight: number };
export type VipEntry = { readonly podIdx: number; readonly vip: string; readonly port: number };
export const MAX_BACKENDS = ORLOP_MAX_BACKENDS;

/** The pods that answer for a virtual address, for each calling pod; an entry exists only where all are of this node. */
export class VipBackends {
  readonly #map: NativeMap;

  constructor(map: NativeMap) {
    expectLayout(map, orlopVipKey.size, orlopBackends.size);
    this.#map = map;
  }

  put(entry: VipEntry, backends: readonly Backend[]): boolean {
    if (backends.length > MAX_BACKENDS) throw new RangeError(`${backends.length} backends`);
    const value = new Uint8Array(orlopBackends.size);
    let shares = 0;
    for (const [index, { address, port, weight }] of backends.entries()) {
      const at = orlopBackends.list + index * orlopBackend.size;
      checkPort(port);
      shares += weight;
      if (!writeIp(address, value, at + orlopBackend.addr)) throw new RangeError(`"${address}" is no address`);
      view(value).setUint16(at + orlopBackend.port, port, false);
      view(value).setUint32(at + orlopBackend.shareEnd, shares, littleEndian);
    }
    view(value).setUint32(orlopBackends.count, backends.length, littleEndian);
    view(value).setUint32(orlopBackends.shares, shares, littleEndian);
    return putUnlessFull(this.#map, this.#key(entry), value);
  }

  delete(entry: VipEntry): boolean {
    return this.#map.delete(this.#key(entry));
  }

  keys(): VipEntry[] {
    return [...entriesOf(this.#map)].map(([key]) => ({
      podIdx: view(key).getUint32(orlopVipKey.podIdx, littleEndian),
      vip: bytes16ToIp(key, orlopVipKey.vip),
      port: view(key).getUint16(orlopVipKey.port, false),
    }));
  }

  #key({ podIdx, vip, port }: VipEntry): Uint8Array {
    checkPort(port);
    const key = new Uint8Array(orlopVipKey.size);
    if (!writeIp(vip, key, orlopVipKey.vip)) throw new RangeError(`"${vip}" is no address`);
    view(key).setUint32(orlopVipKey.podIdx, podIdx, littleEndian);
    view(key).setUint16(orlopVipKey.port, port, false);
    return key;
  }
}
