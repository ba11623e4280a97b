// keeper · what the kernel's maps and links say of each pod, in the bytes of orlop_abi.h. Every call may be repeated.
// A pod's sk_lookup link is pinned as <index>-<uid>: with the maps, that is all a later keeper needs to take over.
import { endianness } from "node:os";
import {
  ORLOP_POD_FAIL_DIRECT,
  ORLOP_POD_SPREAD4,
  ORLOP_POD_SPREAD6,
  ORLOP_PORT_HBONE,
  ORLOP_PORT_INBOUND,
  ORLOP_PORT_OUTBOUND,
  orlopAdmitted,
  orlopFlow,
  orlopGate,
  orlopInKey,
  orlopJoined,
  orlopNodeFlow,
  orlopPairKey,
  orlopPod,
  orlopPodIp,
  orlopSocketKey,
  orlopTrafficKey,
  orlopUsage,
  orlopVipKey,
} from "../abi.ts";
import { bytes16ToIp, ipToBytes16, isIpv6 } from "../mesh/ip.ts";
import type { AdoptedPod, HeldListener, PodRow, PodRows } from "./enrollment-states.ts";
import type { PodUsageView } from "./protocol.ts";

/** One map of the keeper's. Keys and values have exactly the map's sizes. */
export interface Table {
  get(key: Uint8Array): Uint8Array | undefined;
  put(key: Uint8Array, value: Uint8Array): void;
  /** False: there was none. */
  delete(key: Uint8Array): boolean;
  keys(): Uint8Array[];
}

export type PodTables = {
  readonly podByNetns: Table;
  readonly podByIp: Table;
  readonly inboundSocket: Table;
  readonly inByPort: Table;
  readonly dstOfFlow: Table;
  readonly pendingFlow: Table;
  readonly joinedFlow: Table;
  readonly agentFlow: Table;
  readonly podUsage: Table;
  readonly traffic: Table;
  readonly pairVerdict: Table;
  readonly vipBackends: Table;
  readonly nodePort: Table;
  readonly nodeFlow: Table;
};

/** sk_lookup links on pods' namespaces, by the name they are pinned under. */
export interface PodLinks {
  /**
   * Attaches and pins; what is pinned under that name already gets the program in place.
   * @param podIdx every address of the namespace is this pod's; 0: only those that `podByIp` has are anybody's
   */
  attach(name: string, netnsFd: number, podIdx: number): void;
  /** The indices for which it is attached next, the soonest first. */
  foresee(podIdxs: readonly number[]): void;
  /** Detaches and unpins; does nothing when there is none. */
  detach(name: string): void;
  names(): string[];
}

const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const u32At = (bytes: Uint8Array, offset: number): number => view(bytes).getUint32(offset, little);

function cookieKey(cookie: bigint): Uint8Array {
  const key = new Uint8Array(8);
  view(key).setBigUint64(0, cookie, little);
  return key;
}

function podValue(row: PodRow, flags: number): Uint8Array {
  const value = new Uint8Array(orlopPod.size);
  view(value).setUint32(orlopPod.podIdx, row.podIdx, little);
  view(value).setUint32(orlopPod.flags, flags, little);
  const ip4 = row.addresses.find((address) => !isIpv6(address));
  const ip6 = row.addresses.find((address) => isIpv6(address));
  if (ip4 !== undefined) value.set(ipToBytes16(ip4), orlopPod.ip4);
  if (ip6 !== undefined) value.set(ipToBytes16(ip6), orlopPod.ip6);
  return value;
}

const spreadFlag = (family: 4 | 6): number => (family === 4 ? ORLOP_POD_SPREAD4 : ORLOP_POD_SPREAD6);

const podFlags = (row: PodRow, failDirect: boolean): number =>
  row.spread.reduce((flags, family) => flags | spreadFlag(family), failDirect ? ORLOP_POD_FAIL_DIRECT : 0);

function podIpValue(podIdx: number, flags: number): Uint8Array {
  const value = new Uint8Array(orlopPodIp.size);
  view(value).setUint32(orlopPodIp.podIdx, podIdx, little);
  view(value).setUint32(orlopPodIp.flags, flags, little);
  return value;
}

/** Ports that sk_lookup gives to the keeper's listeners, and to nobody else. */
const ASSIGNED_PORTS = [ORLOP_PORT_OUTBOUND, ORLOP_PORT_INBOUND, ORLOP_PORT_HBONE];

function socketKey(podIdx: number, family: 4 | 6, port: number): Uint8Array {
  const key = new Uint8Array(orlopSocketKey.size);
  view(key).setUint32(orlopSocketKey.podIdx, podIdx, little);
  view(key).setUint16(orlopSocketKey.family, family, little);
  view(key).setUint16(orlopSocketKey.port, port, false);
  return key;
}

/** A listening socket's descriptor, as a sockhash takes it: 64 bit. */
function socketValue(fd: number): Uint8Array {
  const value = new Uint8Array(8);
  view(value).setBigUint64(0, BigInt(fd), little);
  return value;
}

/** The bpf file system refuses dots in names; a UID holds no plus sign. */
export const linkName = (row: Pick<PodRow, "podIdx" | "uid">): string =>
  `${row.podIdx}-${row.uid.replaceAll(".", "+")}`;

export function parseLinkName(name: string): { readonly podIdx: number; readonly uid: string } | undefined {
  const [, idx, uid] = /^([1-9]\d{0,5})-([A-Za-z0-9][A-Za-z0-9+_-]*)$/.exec(name) ?? [];
  return idx === undefined || uid === undefined ? undefined : { podIdx: Number(idx), uid: uid.replaceAll("+", ".") };
}

const addressOf = (value: Uint8Array, offset: number): string | null => {
  const bytes = value.subarray(offset, offset + 16);
  return bytes.every((byte) => byte === 0) ? null : bytes16ToIp(bytes, 0);
};

/** A walk over all tables takes milliseconds, as the kernel looks into each of a million slots; a walk for many indices takes no longer. */
const FORGET_AFTER_MS = 50;
/** After a walk that failed. */
const FORGET_AGAIN_MS = 1_000;

/** A walk failed while nobody waited for it. None of the indices is given before a later walk has cleared it. */
export type UnclearedIndices = {
  readonly podIdxs: readonly number[];
  /** Walks of this keeper that have failed so. */
  readonly failures: number;
  readonly error: unknown;
};

export class PodRowMaps implements PodRows {
  readonly #tables: PodTables;
  readonly #links: PodLinks;
  readonly #uncleared: (failure: UnclearedIndices) => void;
  /** Nobody's, and not cleared yet. */
  readonly #freed = new Set<number>();
  #walk: NodeJS.Timeout | undefined;
  #failures = 0;

  constructor(tables: PodTables, links: PodLinks, uncleared: (failure: UnclearedIndices) => void) {
    this.#tables = tables;
    this.#links = links;
    this.#uncleared = uncleared;
  }

  foresee(podIdxs: readonly number[]): void {
    this.#links.foresee(podIdxs);
  }

  forget(podIdx: number): void {
    this.#freed.add(podIdx);
    this.#walk ??= setTimeout(() => this.#clearUnasked(), FORGET_AFTER_MS).unref();
  }

  #clearUnasked(): void {
    try {
      this.clear([]);
    } catch (error) {
      this.#failures += 1;
      this.#walk ??= setTimeout(() => this.#clearUnasked(), FORGET_AGAIN_MS).unref();
      this.#uncleared({ podIdxs: [...this.#freed], failures: this.#failures, error });
    }
  }

  clear(podIdxs: readonly number[]): void {
    clearTimeout(this.#walk);
    this.#walk = undefined;
    const gone = new Set([...podIdxs, ...this.#freed]);
    if (gone.size === 0) return;
    this.#clearTables(gone);
    // What failed half way is owed: the next walk goes over all of it.
    this.#freed.clear();
  }

  #clearTables(gone: ReadonlySet<number>): void {
    const { pairVerdict, vipBackends } = this.#tables;
    deleteWhere(
      pairVerdict,
      (key) => gone.has(u32At(key, orlopPairKey.srcPodIdx)) || gone.has(u32At(key, orlopPairKey.dstPodIdx)),
    );
    deleteWhere(vipBackends, (key) => gone.has(u32At(key, orlopVipKey.podIdx)));
    this.#forgetCaptures(gone);
  }

  close(): void {
    this.clear([]);
  }

  forgetCapture(podIdx: number): void {
    this.#forgetCaptures(new Set([podIdx]));
  }

  #forgetCaptures(gone: ReadonlySet<number>): void {
    const { inByPort, nodePort, traffic } = this.#tables;
    deleteWhere(inByPort, (key) => gone.has(u32At(key, orlopInKey.podIdx)));
    deleteWhere(nodePort, (key) => gone.has(u32At(key, orlopInKey.podIdx)));
    deleteWhere(traffic, (key) => gone.has(u32At(key, orlopTrafficKey.podIdx)));
    // What the sums count goes before the sums: a hook that deletes an entry later finds none and takes nothing off.
    const { pendingFlow, joinedFlow, agentFlow, nodeFlow, podUsage } = this.#tables;
    deleteWhereValue(pendingFlow, (value) => gone.has(u32At(value, 0)));
    deleteWhereValue(joinedFlow, (value) => gone.has(u32At(value, orlopJoined.srcPodIdx)));
    deleteWhereValue(agentFlow, (value) => gone.has(u32At(value, orlopAdmitted.podIdx)));
    deleteWhereValue(nodeFlow, (value) => gone.has(u32At(value, orlopNodeFlow.podIdx)));
    for (const podIdx of gone) podUsage.put(indexKey(podIdx), new Uint8Array(orlopUsage.size));
  }

  /** What a pod holds of the maps that all pods share. Sums of the kernel's below zero read as zero. */
  usage({ podIdx, uid }: Pick<PodRow, "podIdx" | "uid">): PodUsageView {
    const value = this.#tables.podUsage.get(indexKey(podIdx)) ?? new Uint8Array(orlopUsage.size);
    const held = (offset: number): number => Math.max(0, view(value).getInt32(offset, little));
    return {
      podIdx,
      uid,
      flows: held(orlopUsage.flows),
      joined: held(orlopUsage.joined),
      dials: held(orlopUsage.dials),
      nodeDials: held(orlopUsage.nodeDials),
      traffic: held(orlopUsage.traffic),
      refused: Number(view(value).getBigUint64(orlopUsage.refused, little)),
      eventsLost: Number(view(value).getBigUint64(orlopUsage.eventsLost, little)),
    };
  }

  forgetFlows(netnsCookie: bigint): void {
    deleteWhere(this.#tables.dstOfFlow, (key) => view(key).getBigUint64(orlopFlow.netnsCookie, little) === netnsCookie);
  }

  /**
   * A pod without an address: connect refuses for want of a source, and sk_lookup since no address is anybody's. What an
   * `admit` wrote that no `capture` followed goes, while the link stays.
   */
  guard(row: PodRow, netnsFd: number): void {
    this.#links.attach(linkName(row), netnsFd, 0);
    this.#tables.podByNetns.put(cookieKey(row.netnsCookie), podValue({ ...row, addresses: [] }, 0));
    this.#forgetInbound(row);
  }

  admit(row: PodRow, listeners: readonly HeldListener[], netnsFd: number): void {
    for (const address of row.addresses) this.#tables.podByIp.put(ipToBytes16(address), podIpValue(row.podIdx, 0));
    for (const { family, port, fd } of listeners) {
      if (!ASSIGNED_PORTS.includes(port)) continue;
      this.#tables.inboundSocket.put(socketKey(row.podIdx, family, port), socketValue(fd));
    }
    this.#links.attach(linkName(row), netnsFd, row.podIdx);
  }

  capture(row: PodRow, failDirect: boolean): void {
    const flags = failDirect ? ORLOP_POD_FAIL_DIRECT : 0;
    for (const address of row.addresses) this.#tables.podByIp.put(ipToBytes16(address), podIpValue(row.podIdx, flags));
    this.#tables.podByNetns.put(cookieKey(row.netnsCookie), podValue(row, podFlags(row, failDirect)));
  }

  readdress(before: PodRow, after: PodRow, failDirect: boolean): void {
    this.capture(after, failDirect);
    for (const address of before.addresses) {
      if (!after.addresses.includes(address))
        this.#deleteIfOf(this.#tables.podByIp, ipToBytes16(address), after.podIdx);
    }
  }

  withdraw(row: PodRow): void {
    this.#tables.podByNetns.delete(cookieKey(row.netnsCookie));
    this.#links.detach(linkName(row));
    this.#forgetInbound(row);
  }

  #forgetInbound(row: PodRow): void {
    const { podByIp, inboundSocket } = this.#tables;
    for (const address of row.addresses) this.#deleteIfOf(podByIp, ipToBytes16(address), row.podIdx);
    for (const port of ASSIGNED_PORTS) {
      for (const family of [4, 6] as const) inboundSocket.delete(socketKey(row.podIdx, family, port));
    }
  }

  /** Whole pods are taken over; halves, from a keeper that died in between, are removed. */
  adopted(): readonly AdoptedPod[] {
    const { podByNetns, podByIp } = this.#tables;
    const pinned = new Map<number, { readonly name: string; readonly uid: string }>();
    for (const name of this.#links.names()) {
      const known = parseLinkName(name);
      if (known === undefined || pinned.has(known.podIdx)) this.#links.detach(name);
      else pinned.set(known.podIdx, { name, uid: known.uid });
    }
    const pods: AdoptedPod[] = [];
    for (const key of podByNetns.keys()) {
      const value = podByNetns.get(key);
      if (value === undefined) continue;
      const podIdx = u32At(value, orlopPod.podIdx);
      const link = pinned.get(podIdx);
      if (link === undefined || pods.some(({ row }) => row.podIdx === podIdx)) {
        podByNetns.delete(key);
        continue;
      }
      const netnsCookie = view(key).getBigUint64(0, little);
      const sources = [addressOf(value, orlopPod.ip4), addressOf(value, orlopPod.ip6)];
      const addresses = sources.filter((address) => address !== null);
      const flags = u32At(value, orlopPod.flags);
      const spread = ([4, 6] as const).filter((family) => (flags & spreadFlag(family)) !== 0);
      const failDirect = (flags & ORLOP_POD_FAIL_DIRECT) !== 0;
      pods.push({ row: { podIdx, uid: link.uid, netnsCookie, addresses, spread }, failDirect });
    }
    const further = new Map(pods.map(({ row }) => [row.podIdx, new Set(row.addresses)]));
    for (const [podIdx, { name }] of pinned) if (!further.has(podIdx)) this.#links.detach(name);
    for (const key of podByIp.keys()) {
      const value = podByIp.get(key);
      if (value === undefined) continue;
      const addresses = further.get(u32At(value, orlopPodIp.podIdx));
      if (addresses === undefined) podByIp.delete(key);
      else addresses.add(bytes16ToIp(key, 0));
    }
    return pods.map(({ row, failDirect }) => ({
      row: { ...row, addresses: [...(further.get(row.podIdx) ?? [])] },
      failDirect,
    }));
  }

  /** An address that has meanwhile become another pod's is left alone. */
  #deleteIfOf(table: Table, key: Uint8Array, podIdx: number): void {
    const value = table.get(key);
    if (value !== undefined && u32At(value, 0) === podIdx) table.delete(key);
  }
}

/** gate[0] as numbers. */
export const gateBeat = (value: Uint8Array): { readonly beatNs: bigint; readonly limitNs: bigint } => ({
  beatNs: view(value).getBigUint64(orlopGate.beatNs, little),
  limitNs: view(value).getBigUint64(orlopGate.limitNs, little),
});

/** Of a table that was made anew: no agent has written its mesh there. */
export function gateValue({ beatNs, limitNs }: ReturnType<typeof gateBeat>): Uint8Array {
  const value = new Uint8Array(orlopGate.size);
  view(value).setBigUint64(orlopGate.beatNs, beatNs, little);
  view(value).setBigUint64(orlopGate.limitNs, limitNs, little);
  return value;
}

function indexKey(podIdx: number): Uint8Array {
  const key = new Uint8Array(4);
  view(key).setUint32(0, podIdx, little);
  return key;
}

function deleteWhereValue(table: Table, matches: (value: Uint8Array) => boolean): void {
  for (const key of table.keys()) {
    const value = table.get(key);
    if (value !== undefined && matches(value)) table.delete(key);
  }
}

function deleteWhere(table: Table, matches: (key: Uint8Array) => boolean): void {
  for (const key of table.keys()) if (matches(key)) table.delete(key);
}
