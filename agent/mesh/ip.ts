// any thread · addresses and CIDRs in one canonical form: v4-mapped is IPv4, IPv6 is RFC 5952. Pure but for a bounded memory of
// IPv4 texts; never guesses.
import type { Cidr } from "./policies.ts";

/** ::ffff:0:0/96, where IPv4 lies among IPv6 addresses (RFC 4291 §2.5.5.2). */
const MAPPED_BITS = 96;

/** IPv4 texts by their 32 bits: a node meets few addresses, and each connection would allocate four texts. */
const ipv4Texts = new Map<number, string>();
const MAX_IPV4_TEXTS = 4_096;

/**
 * The address as 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. undefined: the text is not an address. Strict: four decimal
 * octets without leading zeros, or the forms of RFC 4291 §2.2; no zone, port, bracket or blank.
 */
export function parseIp(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  return writeIp(text, bytes, 0) ? bytes : undefined;
}

/**
 * Writes the address `text` as 16 bytes at `offset`, as `parseIp` reads it. False: the text is not an address, and what the
 * 16 bytes hold is undefined. @throws RangeError when there is no room.
 */
export function writeIp(text: string, bytes: Uint8Array, offset: number): boolean {
  if (offset < 0 || offset + 16 > bytes.length) throw new RangeError(`no 16 bytes at ${offset} of ${bytes.length}`);
  // The longest text is an IPv6 address with a dotted tail.
  if (text.length < 2 || text.length > 45) return false;
  if (isIpv6(text)) return writeIpv6(text, bytes, offset);
  bytes.fill(0, offset, offset + 10);
  bytes[offset + 10] = 0xff;
  bytes[offset + 11] = 0xff;
  return writeIpv4(text, 0, bytes, offset + 12);
}

/** Whether the text of an address is IPv6 and not IPv4. */
export function isIpv6(address: string): boolean {
  return address.includes(":");
}

/** Both are canonical texts of addresses. */
export function isSameFamily(address: string, other: string): boolean {
  return isIpv6(address) === isIpv6(other);
}

/** The canonical text of an address; two addresses are equal when their texts are. undefined: the text is not an address. */
export function canonicalIp(text: string): string | undefined {
  const bytes = parseIp(text);
  return bytes === undefined ? undefined : bytes16ToIp(bytes, 0);
}

/** @throws RangeError when `text` is no address; for texts that have already been validated. */
export function ipToBytes16(text: string): Uint8Array {
  const bytes = parseIp(text);
  if (bytes === undefined) throw new RangeError(`not an IP address: ${JSON.stringify(text.slice(0, 64))}`);
  return bytes;
}

/** Canonical text (RFC 5952) of the 16 bytes at `offset`. @throws RangeError when there are fewer. */
export function bytes16ToIp(bytes: Uint8Array, offset: number): string {
  if (offset < 0 || offset + 16 > bytes.length) throw new RangeError(`no 16 bytes at ${offset} of ${bytes.length}`);
  const at = (index: number): number => bytes[offset + index] ?? 0;
  if (isMapped(bytes, offset)) return ipv4Text(at(12), at(13), at(14), at(15));
  const groups: number[] = [];
  for (let index = 0; index < 16; index += 2) groups.push(at(index) * 256 + at(index + 1));
  const [from, to] = longestZeroRun(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  return from < 0 ? hex(groups) : `${hex(groups.slice(0, from))}::${hex(groups.slice(to))}`;
}

function ipv4Text(a: number, b: number, c: number, d: number): string {
  const bits = (a << 24) | (b << 16) | (c << 8) | d;
  const known = ipv4Texts.get(bits);
  if (known !== undefined) return known;
  if (ipv4Texts.size >= MAX_IPV4_TEXTS) ipv4Texts.clear();
  const text = `${a}.${b}.${c}.${d}`;
  ipv4Texts.set(bits, text);
  return text;
}

/**
 * `address/length`, or an address alone, which is a block of its own. Host bits that are set are cleared, as Istio does: 10.1.2.3/8 is
 * 10.0.0.0/8. `prefixBits` counts in 128 bits: 10.0.0.0/8 has 104. `text` stays as it was written.
 */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const address = slash < 0 ? text : text.slice(0, slash);
  const bytes = parseIp(address);
  if (bytes === undefined) return undefined;
  const isText4 = !isIpv6(address);
  const most = isText4 ? 32 : 128;
  const length = slash < 0 ? most : prefixLength(text.slice(slash + 1), most);
  if (length === undefined) return undefined;
  const prefixBits = isText4 ? length + MAPPED_BITS : length;
  return { text, bytes: masked(bytes, prefixBits), prefixBits };
}

/**
 * Whether the address lies in the block. An IPv6 block shorter than /96 holds no IPv4 address: `::/0` is all of IPv6
 * and not "everybody", since the author of such a rule did not think of IPv4.
 */
export function cidrContains(cidr: Cidr, address: Uint8Array): boolean {
  if (isMapped(address, 0) && cidr.prefixBits < MAPPED_BITS) return false;
  const whole = cidr.prefixBits >> 3;
  for (let index = 0; index < whole; index += 1) if (cidr.bytes[index] !== address[index]) return false;
  const rest = cidr.prefixBits & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((cidr.bytes[whole] ?? 0) & mask) === ((address[whole] ?? 0) & mask);
}

/** 127.0.0.0/8 or ::1; `address` is canonical text. */
export function isLoopback(address: string): boolean {
  return address === "::1" || (address.startsWith("127.") && !isIpv6(address));
}

function isMapped(bytes: Uint8Array, offset: number): boolean {
  for (let index = 0; index < 10; index += 1) if (bytes[offset + index] !== 0) return false;
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}

function masked(bytes: Uint8Array, prefixBits: number): number[] {
  return Array.from(bytes, (byte, index) => {
    const kept = Math.min(8, Math.max(0, prefixBits - index * 8));
    return byte & ((0xff << (8 - kept)) & 0xff);
  });
}

function prefixLength(text: string, most: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,2})$/.test(text)) return undefined;
  const length = Number(text);
  return length <= most ? length : undefined;
}

/** First longest run of at least two zero groups, [from, to); from is -1 when there is none (RFC 5952 §4.2). */
function longestZeroRun(groups: readonly number[]): readonly [number, number] {
  let best: readonly [number, number] = [-1, 0];
  let start = 0;
  for (let index = 0; index <= groups.length; index += 1) {
    if (groups[index] === 0) continue;
    const length = index - start;
    if (length >= 2 && length > best[1] - best[0]) best = [start, index];
    start = index + 1;
  }
  return best;
}

/** Reads a dotted quad that fills `text` from `start` to its end into four bytes at `to`. */
function writeIpv4(text: string, start: number, bytes: Uint8Array, to: number): boolean {
  let octet = -1;
  let digits = 0;
  let written = 0;
  for (let index = start; index <= text.length; index += 1) {
    const code = index < text.length ? text.charCodeAt(index) : DOT;
    if (code === DOT) {
      if (digits === 0 || written === 4) return false;
      bytes[to + written] = octet;
      written += 1;
      octet = -1;
      digits = 0;
      continue;
    }
    const digit = code - ZERO;
    // "01" is octal to some readers and decimal to others, so it is neither here.
    if (digit < 0 || digit > 9 || octet === 0) return false;
    octet = digits === 0 ? digit : octet * 10 + digit;
    digits += 1;
    if (octet > 255) return false;
  }
  return written === 4;
}

const DOT = 46;
const ZERO = 48;

function writeIpv6(text: string, bytes: Uint8Array, offset: number): boolean {
  const gap = text.indexOf("::");
  if (gap < 0) return writeGroups(text, bytes, offset, offset) === offset + 16;
  if (text.indexOf("::", gap + 1) >= 0) return false;
  bytes.fill(0, offset, offset + 16);
  const head = writeGroups(text.slice(0, gap), bytes, offset, offset) - offset;
  if (head < 0) return false;
  const tail = new Uint8Array(16);
  const length = writeGroups(text.slice(gap + 2), tail, 0, 0);
  // "::" means at least one group; a dotted part may only come last.
  if (length < 0 || head + length > 14 || text.slice(0, gap).includes(".")) return false;
  bytes.set(tail.subarray(0, length), offset + 16 - length);
  return true;
}

/** Writes groups from `to` on, within the 16 bytes at `start`. The end of what was written, or -1. An empty text has no groups. */
function writeGroups(text: string, bytes: Uint8Array, start: number, to: number): number {
  if (text === "") return to;
  const parts = text.split(":");
  let written = to;
  for (const [index, part] of parts.entries()) {
    if (index === parts.length - 1 && part.includes(".")) {
      if (written > start + 12 || !writeIpv4(part, 0, bytes, written)) return -1;
      return written + 4;
    }
    if (written > start + 14 || !/^[0-9a-fA-F]{1,4}$/.test(part)) return -1;
    const group = Number.parseInt(part, 16);
    bytes[written] = group >> 8;
    bytes[written + 1] = group & 0xff;
    written += 2;
  }
  return written;
}
