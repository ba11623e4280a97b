// test peers · as much of protobuf's wire format and of gRPC's framing as three fields need. Pure.

export type Field = { readonly number: number; readonly value: Buffer | bigint };

/** The fields of one message, in order; nested messages and strings as bytes. Throws on what is cut off. */
export function fieldsOf(message: Buffer): readonly Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at++];
      if (byte === undefined) throw new Error("a varint is cut off");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Error("a varint is too long");
  };
  const bytes = (length: number): Buffer => {
    if (at + length > message.length) throw new Error("a field is cut off");
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = Number(varint());
    const number = tag >>> 3;
    // Wire types: 0 varint, 1 and 5 fixed, 2 with a length.
    if ((tag & 7) === 0) fields.push({ number, value: varint() });
    else if ((tag & 7) === 1) fields.push({ number, value: bytes(8) });
    else if ((tag & 7) === 2) fields.push({ number, value: bytes(Number(varint())) });
    else if ((tag & 7) === 5) fields.push({ number, value: bytes(4) });
    else throw new Error(`field ${number} has the wire type ${tag & 7}`);
  }
  return fields;
}

function varintOf(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left % 128) | 0x80);
  }
}

export function stringField(number: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([varintOf(number * 8 + 2), varintOf(bytes.length), bytes]);
}

export function numberField(number: number, value: number): Buffer {
  return Buffer.concat([varintOf(number * 8), varintOf(value)]);
}

/** A message behind its five bytes: not compressed, and its length. */
export function grpcMessage(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
