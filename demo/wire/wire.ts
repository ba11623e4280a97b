// demo · what a capture proves: between pods of the mesh, TLS on 15008 and nothing else. Pure.
import type { Packet } from "./capture.ts";

const HBONE_PORT = 15_008;

export type WireReading = TlsReading & {
  /** TCP packets between pods of the mesh. */
  readonly meshPackets: number;
  /** Packets that are the network's own (ARP, ICMPv6) and packets to or from who is not in the mesh. */
  readonly networkPackets: number;
  readonly otherPackets: number;
};

/**
 * Throws when pods of the mesh (their `addresses`, as captured) exchanged anything but TLS on 15008, or when any of the
 * `secrets` that applications said to each other is readable in any packet at all. Connections that were open before
 * the capture began are held to the port and the secrets; they cannot be read from their beginning.
 */
export function readWire(
  packets: readonly Packet[],
  addresses: ReadonlySet<string>,
  secrets: readonly string[],
): WireReading {
  const begun = new Set(packets.filter((packet) => packet.syn).map(directionOf));
  const whole: Packet[] = [];
  let meshPackets = 0;
  let networkPackets = 0;
  let otherPackets = 0;
  for (const packet of packets) {
    const secret = secrets.find((secret) => packet.payload.includes(secret));
    if (secret !== undefined) throw new Error(`${directionOf(packet)} carries "${secret}" in the clear`);
  }
  for (const packet of packets) {
    if (packet.kind === "arp" || packet.kind === "icmp6") networkPackets += 1;
    else if (!addresses.has(packet.source) || !addresses.has(packet.destination)) otherPackets += 1;
    else if (packet.kind !== "tcp" || (packet.sourcePort !== HBONE_PORT && packet.destinationPort !== HBONE_PORT)) {
      throw new Error(`${directionOf(packet)} (${packet.kind}) is no HBONE`);
    } else {
      meshPackets += 1;
      if (begun.has(directionOf(packet))) whole.push(packet);
    }
  }
  return { ...requireTls(whole), meshPackets, networkPackets, otherPackets };
}

const directionOf = (packet: Packet): string =>
  `${packet.source}:${packet.sourcePort} > ${packet.destination}:${packet.destinationPort}`;

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
    const name = directionOf(packet);
    if (packet.syn) directions.set(name, { start: (packet.sequence + 1) >>> 0, parts: new Map() });
    if (packet.payload.length === 0 || packet.syn) continue;
    const direction = directions.get(name);
    if (direction === undefined) throw new Error(`${name}: its beginning was not captured`);
    const offset = (packet.sequence - direction.start) >>> 0;
    const known = direction.parts.get(offset);
    // A keep-alive probe repeats the byte before the next byte: its offset lies below zero, so far above 2^31 here.
    if (offset < 0x80000000 && (known?.length ?? 0) < packet.payload.length)
      direction.parts.set(offset, packet.payload);
  }
  const streams = new Map<string, Buffer>();
  for (const [name, { parts }] of directions) {
    const pieces: Buffer[] = [];
    let next = 0;
    for (const [offset, part] of [...parts].sort(([offset], [other]) => offset - other)) {
      if (offset > next) throw new Error(`${name}: ${offset - next} bytes were not captured`);
      if (offset + part.length <= next) continue;
      pieces.push(part.subarray(next - offset));
      next = offset + part.length;
    }
    streams.set(name, Buffer.concat(pieces));
  }
  return streams;
}
