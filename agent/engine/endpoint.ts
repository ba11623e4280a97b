// 6 · data thread · addresses between the arena's 16 bytes and text. IPv4 is ::ffff:a.b.c.d there and a.b.c.d here.
import type { Endpoint } from "./events.ts";

/** Texts of IPv4 addresses by their 32 bits: a node meets few, and each connection would make and hold four. */
const known4 = new Map<number, string>();
const MOST_KNOWN = 4_096;

/** The canonical text of the 16 bytes at `offset` (RFC 5952). */
export function readAddress(bytes: Uint8Array, offset: number): string {
  const at = (index: number): number => bytes[offset + index] ?? 0;
  let zeros = 0;
  while (zeros < 10 && at(zeros) === 0) zeros++;
  if (zeros === 10 && at(10) === 255 && at(11) === 255) return text4(at(12), at(13), at(14), at(15));
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((at(i) << 8) | at(i + 1));
  let best = -1;
  let bestLength = 1; // One group of zeros alone is not shortened.
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) [best, bestLength] = [i, length];
  }
  const hex = groups.map((group) => group.toString(16));
  if (best < 0) return hex.join(":");
  return `${hex.slice(0, best).join(":")}::${hex.slice(best + bestLength).join(":")}`;
}

function text4(a: number, b: number, c: number, d: number): string {
  const bits = (a << 24) | (b << 16) | (c << 8) | d;
  const known = known4.get(bits);
  if (known !== undefined) return known;
  if (known4.size >= MOST_KNOWN) known4.clear();
  const text = `${a}.${b}.${c}.${d}`;
  known4.set(bits, text);
  return text;
}

/** Writes `text` as 16 bytes; false when it is no address. */
export function writeAddress(bytes: Uint8Array, offset: number, text: string): boolean {
  const colon = text.indexOf(":");
  if (colon < 0) {
    bytes.fill(0, offset, offset + 10);
    bytes[offset + 10] = 255;
    bytes[offset + 11] = 255;
    return writeV4(bytes, offset + 12, text);
  }
  bytes.fill(0, offset, offset + 16);
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const front = writeGroups(bytes, offset, halves[0] ?? "");
  if (halves.length === 1) return front === 16;
  const tail = new Uint8Array(16);
  const back = writeGroups(tail, 0, halves[1] ?? "");
  if (front < 0 || back < 0 || front + back > 14) return false;
  bytes.set(tail.subarray(0, back), offset + 16 - back);
  return true;
}

/** Bytes written, or -1. */
function writeGroups(bytes: Uint8Array, offset: number, text: string): number {
  if (text === "") return 0;
  const parts = text.split(":");
  let written = 0;
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      if (index !== parts.length - 1 || written > 12 || !writeV4(bytes, offset + written, part)) return -1;
      return written + 4;
    }
    if (written > 14 || !/^[0-9a-fA-F]{1,4}$/.test(part)) return -1;
    const group = Number.parseInt(part, 16);
    bytes[offset + written++] = group >> 8;
    bytes[offset + written++] = group & 255;
  }
  return written;
}

function writeV4(bytes: Uint8Array, offset: number, text: string): boolean {
  let group = 0;
  let digits = 0;
  let groups = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 46;
    if (code === 46) {
      if (digits === 0 || group > 255 || groups === 4) return false;
      bytes[offset + groups++] = group;
      group = digits = 0;
    } else if (code < 48 || code > 57 || ++digits > 3 || (digits > 1 && group === 0)) return false;
    else group = group * 10 + code - 48;
  }
  return groups === 4;
}

/** `a.b.c.d:port`, `[v6]:port`. */
export const endpointText = (endpoint: Endpoint): string =>
  endpoint.address.includes(":") ? `[${endpoint.address}]:${endpoint.port}` : `${endpoint.address}:${endpoint.port}`;
