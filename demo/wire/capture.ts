// demo · what crosses the wire between nodes: recorded by tcpdump, read here. Only what the demo must prove.
import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import type { Cluster } from "../../test/box/cluster.ts";
import { type Running, tail } from "../../test/box/process.ts";

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

const START_MS = 30_000;

export type Capture = {
  /** Ends the recording. Throws when the kernel dropped a packet: what is left would prove nothing. */
  stop(): Promise<Packet[]>;
};

/** Records all that crosses the wire from now on. */
export async function startCapture(cluster: Cluster): Promise<Capture> {
  const file = path.join(cluster.dir, `wire-${Math.round(performance.now())}.pcap`);
  // A promiscuous bridge sees what it forwards. 64 MiB of kernel buffer, whole packets.
  const flags = ["-n", "-U", "--immediate-mode", "-s", "0", "-B", "65536"];
  const tcpdump = cluster.wire.start(["tcpdump", "-i", "wire", "-Z", "root", ...flags, "-w", file]);
  await heard(tcpdump, "listening on");
  return {
    stop: async () => {
      // tcpdump ends at once on a signal, without reading what the kernel still holds for it.
      await settled(file);
      tcpdump.kill("SIGINT");
      const done = await tcpdump.wait(START_MS);
      if (!/^0 packets dropped by kernel$/m.test(done.stderr))
        throw new Error(`the capture has gaps: ${tail(done.stderr)}`);
      const packets = readPcap(readFileSync(file));
      rmSync(file);
      return packets;
    },
  };
}

async function heard(running: Running, text: string): Promise<void> {
  for (const end = performance.now() + START_MS; !running.stderr.includes(text); ) {
    if (!running.running || performance.now() > end) throw new Error(`tcpdump: ${tail(running.stderr)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Until nothing more arrives, or for a second where traffic goes on: what was sent before is long written then. */
async function settled(file: string): Promise<void> {
  const end = performance.now() + 1_000;
  for (let size = -1, now = readFileSync(file).length; size !== now && performance.now() < end; ) {
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
