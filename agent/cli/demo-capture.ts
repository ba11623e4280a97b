// orlop cli · what crosses the wire between nodes: recorded by tcpdump, read here. Only what the demo must prove.
import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { type Running, tail } from "./cluster-process.ts";
import type { Cluster } from "./local-cluster.ts";

export type Packet = {
  /** `tcp`, `arp`, `icmp`, `icmp6`, or the number of what else it is, e.g. `ip 17`, `ethertype 0x88cc`. */
  readonly kind: string;
  /** Canonical enough to compare with ourselves: IPv6 as eight groups without leading zeros. */
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly syn: boolean;
  readonly payload: Buffer;
};

const START_MS = 10_000;

/** Records all that crosses the wire while `during` runs. Throws when the kernel dropped a packet: that would prove nothing. */
export async function captureWire(cluster: Cluster, during: () => Promise<void>): Promise<Packet[]> {
  const file = path.join(cluster.dir, `wire-${Math.round(performance.now())}.pcap`);
  // A promiscuous bridge sees what it forwards. 64 MiB of kernel buffer, whole packets.
  const argv = [
    "tcpdump",
    "-i",
    "wire",
    "-Z",
    "root",
    "-n",
    "-U",
    "--immediate-mode",
    "-s",
    "0",
    "-B",
    "65536",
    "-w",
    file,
  ];
  const tcpdump = cluster.wire.start(argv);
  await heard(tcpdump, "listening on");
  try {
    await during();
    // tcpdump ends at once when told so, without reading what the kernel still holds for it.
    await settled(file);
  } finally {
    tcpdump.kill("SIGINT");
  }
  const done = await tcpdump.wait(START_MS);
  if (!/^0 packets dropped by kernel$/m.test(done.stderr))
    throw new Error(`the capture has gaps: ${tail(done.stderr)}`);
  const packets = readPcap(readFileSync(file));
  rmSync(file);
  return packets;
}

async function heard(running: Running, text: string): Promise<void> {
  for (const end = performance.now() + START_MS; !running.stderr.includes(text); ) {
    if (!running.running || performance.now() > end) throw new Error(`tcpdump: ${tail(running.stderr)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function settled(file: string): Promise<void> {
  for (let size = -1, now = readFileSync(file).length; size !== now; ) {
    size = now;
    await new Promise((resolve) => setTimeout(resolve, 150));
    now = readFileSync(file).length;
  }
}

/** A classic pcap file of Ethernet frames, as this machine's tcpdump writes it (little endian, microseconds). */
export function readPcap(file: Buffer): Packet[] {
  if (file.length < 24 || file.readUInt32LE(0) !== 0xa1b2c3d4 || file.readUInt32LE(20) !== 1) {
    throw new Error("not a little-endian pcap file of Ethernet frames");
  }
  const packets: Packet[] = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    if (length !== file.readUInt32LE(at + 12)) throw new Error("a packet was not captured whole");
    packets.push(readFrame(file.subarray(at + 16, at + 16 + length)));
    at += 16 + length;
  }
  return packets;
}

const nobody = { source: "", destination: "", sourcePort: 0, destinationPort: 0, sequence: 0, syn: false };

function readFrame(frame: Buffer): Packet {
  const etherType = frame.readUInt16BE(12);
  if (etherType === 0x0806) return { ...nobody, kind: "arp", payload: Buffer.alloc(0) };
  if (etherType === 0x0800) {
    const header = (frame.readUInt8(14) & 15) * 4;
    const total = frame.readUInt16BE(16);
    const ends = { source: ip4(frame.subarray(26, 30)), destination: ip4(frame.subarray(30, 34)) };
    // A total of 0 is a packet too large for the field (the kernel's own segmentation offload).
    const body = frame.subarray(14 + header, total === 0 ? frame.length : 14 + total);
    return readTransport(frame.readUInt8(23), body, ends);
  }
  if (etherType === 0x86dd) {
    const ends = { source: ip6(frame.subarray(22, 38)), destination: ip6(frame.subarray(38, 54)) };
    let next = frame.readUInt8(20);
    let body = frame.subarray(54);
    const length = frame.readUInt16BE(18);
    if (length > 0) body = body.subarray(0, length);
    // Hop-by-hop options (multicast listener reports carry them; jumbo payloads of segmentation offload, too).
    while (next === 0) {
      next = body.readUInt8(0);
      body = body.subarray((body.readUInt8(1) + 1) * 8);
    }
    return readTransport(next, body, ends);
  }
  return { ...nobody, kind: `ethertype 0x${etherType.toString(16)}`, payload: frame.subarray(14) };
}

function readTransport(protocol: number, body: Buffer, ends: { source: string; destination: string }): Packet {
  if (protocol !== 6) {
    const kind = protocol === 1 ? "icmp" : protocol === 58 ? "icmp6" : `ip ${protocol}`;
    return { ...nobody, ...ends, kind, payload: body };
  }
  return {
    ...ends,
    kind: "tcp",
    sourcePort: body.readUInt16BE(0),
    destinationPort: body.readUInt16BE(2),
    sequence: body.readUInt32BE(4),
    syn: (body.readUInt8(13) & 2) !== 0,
    payload: body.subarray((body.readUInt8(12) >> 4) * 4),
  };
}

const ip4 = (bytes: Buffer): string => [...bytes].join(".");
function ip6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16));
  return groups.join(":");
}

/** The form `Packet` uses for an address that is written in the usual way. */
export function asCaptured(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", back] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = back === undefined || back === "" ? [] : back.split(":");
  const groups = [
    ...left,
    ...Array<string>(back === undefined ? 0 : 8 - left.length - right.length).fill("0"),
    ...right,
  ];
  return groups.map((group) => Number.parseInt(group, 16).toString(16)).join(":");
}

export type TlsReading = { readonly streams: number; readonly records: number; readonly applicationBytes: number };

/**
 * Reads every direction of every connection of `packets` as TLS records (RFC 8446 §5.1) and throws at the first byte that
 * is none, with what it found there. A connection whose beginning was not captured cannot be read and throws, too.
 */
export function requireTls(packets: readonly Packet[]): TlsReading {
  let records = 0;
  let applicationBytes = 0;
  const streams = reassemble(packets);
  for (const [name, bytes] of streams) {
    let at = 0;
    while (at + 5 <= bytes.length) {
      const type = bytes.readUInt8(at);
      const length = bytes.readUInt16BE(at + 3);
      const isTls = type >= 20 && type <= 23 && bytes.readUInt8(at + 1) === 3 && bytes.readUInt8(at + 2) <= 3;
      // TLSCiphertext.length may not exceed 2^14 + 256.
      if (!isTls || length > 16_640) {
        throw new Error(
          `${name}: byte ${at} begins no TLS record: ${JSON.stringify(bytes.toString("latin1", at, at + 40))}`,
        );
      }
      if (type === 23) applicationBytes += Math.min(length, bytes.length - at - 5);
      records += 1;
      at += 5 + length;
    }
  }
  return { streams: streams.size, records, applicationBytes };
}

/** The bytes of each direction in order, by `source:port > destination:port`. */
function reassemble(packets: readonly Packet[]): Map<string, Buffer> {
  const directions = new Map<string, { start: number; parts: Map<number, Buffer> }>();
  for (const packet of packets) {
    const name = `${packet.source}:${packet.sourcePort} > ${packet.destination}:${packet.destinationPort}`;
    if (packet.syn) directions.set(name, { start: (packet.sequence + 1) >>> 0, parts: new Map() });
    if (packet.payload.length === 0 || packet.syn) continue;
    const direction = directions.get(name);
    if (direction === undefined) throw new Error(`${name}: its beginning was not captured`);
    const offset = (packet.sequence - direction.start) >>> 0;
    const known = direction.parts.get(offset);
    // A keep-alive probe repeats the byte before the next one: its offset lies below zero, so far above 2^31 here.
    if (offset < 0x80000000 && (known?.length ?? 0) < packet.payload.length)
      direction.parts.set(offset, packet.payload);
  }
  const streams = new Map<string, Buffer>();
  for (const [name, { parts }] of directions) {
    const pieces: Buffer[] = [];
    let next = 0;
    for (const [offset, part] of [...parts].sort(([one], [other]) => one - other)) {
      if (offset > next) throw new Error(`${name}: ${offset - next} bytes were not captured`);
      if (offset + part.length <= next) continue;
      pieces.push(part.subarray(next - offset));
      next = offset + part.length;
    }
    streams.set(name, Buffer.concat(pieces));
  }
  return streams;
}
