// main thread · the wire form of protobuf, as much as two small messages need. Strict: what two readers could take differently is
// refused. Hostile input; reading never throws.
// The form: https://protobuf.dev/programming-guides/encoding/

export type ProtobufField =
  | { readonly number: number; readonly type: "varint"; readonly value: bigint }
  | { readonly number: number; readonly type: "bytes"; readonly value: Uint8Array }
  /** Eight or four bytes, which none of our messages has: passed over. */
  | { readonly number: number; readonly type: "fixed" };

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const MAX_FIELDS = 256;
const MAX_FIELD_NUMBER = 2 ** 29 - 1;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** An unsigned number of 64 bits and where the next byte is. A form that is longer than the number needs is refused. */
function varintAt(bytes: Uint8Array, from: number): { readonly value: bigint; readonly next: number } | undefined {
  let value = 0n;
  for (let index = 0; index < 10; index++) {
    const byte = bytes[from + index];
    if (byte === undefined) return undefined;
    value |= BigInt(byte & 0x7f) << BigInt(7 * index);
    if (byte >= 0x80) continue;
    const isPadded = byte === 0 && index > 0;
    return isPadded || value >= 1n << 64n ? undefined : { value, next: from + index + 1 };
  }
  return undefined;
}

/** The fields of one message in their order; undefined when it is not exactly a row of fields, has groups, or has over 256 fields. */
export function protobufFields(bytes: Uint8Array): readonly ProtobufField[] | undefined {
  const fields: ProtobufField[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = varintAt(bytes, at);
    if (tag === undefined || fields.length === MAX_FIELDS) return undefined;
    const number = Number(tag.value >> 3n);
    if (number < 1 || number > MAX_FIELD_NUMBER) return undefined;
    at = tag.next;
    switch (Number(tag.value & 7n)) {
      case VARINT: {
        const read = varintAt(bytes, at);
        if (read === undefined) return undefined;
        fields.push({ number, type: "varint", value: read.value });
        at = read.next;
        break;
      }
      case BYTES: {
        const length = varintAt(bytes, at);
        if (length === undefined || length.value > BigInt(bytes.length - length.next)) return undefined;
        at = length.next + Number(length.value);
        fields.push({ number, type: "bytes", value: bytes.subarray(length.next, at) });
        break;
      }
      case FIXED64:
        at += 8;
        fields.push({ number, type: "fixed" });
        break;
      case FIXED32:
        at += 4;
        fields.push({ number, type: "fixed" });
        break;
      default:
        return undefined;
    }
    if (at > bytes.length) return undefined;
  }
  return fields;
}

/** The text in a field; undefined when the field is no string or its bytes are no UTF-8. */
export function textOfField(field: ProtobufField): string | undefined {
  if (field.type !== "bytes") return undefined;
  try {
    return strictUtf8.decode(field.value);
  } catch {
    return undefined;
  }
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    const more = rest >= 0x80n;
    bytes.push(Number(rest & 0x7fn) | (more ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

/** @param value not negative, below 2^64 */
export function varintField(number: number, value: bigint): Uint8Array {
  return Buffer.concat([varint(BigInt(number) << 3n), varint(value)]);
}

/** A string as UTF-8, or an embedded message. */
export function bytesField(number: number, value: string | Uint8Array): Uint8Array {
  const content = typeof value === "string" ? Buffer.from(value, "utf8") : value;
  return Buffer.concat([varint((BigInt(number) << 3n) | 2n), varint(BigInt(content.length)), content]);
}
