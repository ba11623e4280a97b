// any thread · writes DER (X.690 §8, §10), only as much as certificates and requests need. Pure; the reader is der.ts.
import { TAG } from "./der.ts";

/** Tags that are only written; those that are read, too, are in `TAG`. */
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SET = 0x31;

/** An element of this tag, its content the parts in a row. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return new Uint8Array(Buffer.concat([Uint8Array.of(tag, length), content]));
  const digits = length.toString(16);
  const lengthBytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex");
  return new Uint8Array(Buffer.concat([Uint8Array.of(tag, 0x80 | lengthBytes.length), lengthBytes, content]));
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => element(TAG.sequence, ...parts);
/** Of a single element: several would have to be sorted. */
export const setOf = (only: Uint8Array): Uint8Array => element(SET, only);
/** @param hex the content, as RFCs and `der.ts` name it */
export const oid = (hex: string): Uint8Array => element(TAG.oid, Buffer.from(hex, "hex"));
export const octetString = (bytes: Uint8Array): Uint8Array => element(TAG.octetString, bytes);
export const utf8String = (text: string): Uint8Array => element(UTF8_STRING, Buffer.from(text));
export const yes: Uint8Array = element(TAG.boolean, Uint8Array.of(0xff));

/** @param unused how many of the last byte's low bits are none */
export const bitString = (bytes: Uint8Array, unused = 0): Uint8Array =>
  element(TAG.bitString, Uint8Array.of(unused), bytes);

/** @param bytes a number that is not negative, big-endian; zeros in front do not count */
export function integer(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const shortest = first === -1 ? Uint8Array.of(0) : bytes.subarray(first);
  // A first bit that is set would make it negative.
  return element(TAG.integer, (shortest[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : Uint8Array.of(), shortest);
}

/** Whole seconds; two digits of the year through 2049, four from then on (RFC 5280 §4.1.2.5). */
export function time(date: Date): Uint8Array {
  const digits = `${date.toISOString().slice(0, 19).replace(/[-T:]/g, "")}Z`;
  const isShort = date.getUTCFullYear() >= 1950 && date.getUTCFullYear() < 2050;
  return isShort
    ? element(UTC_TIME, Buffer.from(digits.slice(2), "latin1"))
    : element(GENERALIZED_TIME, Buffer.from(digits, "latin1"));
}

/** RFC 7468: base64 in lines of 64. For what is no secret. */
export function pemText(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`].join("\n");
}
