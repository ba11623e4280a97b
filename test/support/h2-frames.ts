// test support · raw HTTP/2 frames (RFC 9113 §4) and the HPACK that needs no table (RFC 7541 §6), right or wrong as asked.

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** `length` may lie about the payload. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = empty,
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
const empty = Buffer.alloc(0);

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** Literal without indexing, name and value as plain strings shorter than 127 bytes. */
export function literal(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0x00, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

export const connectTo = (authority: string): Buffer =>
  Buffer.concat([literal(":method", "CONNECT"), literal(":authority", authority)]);

/** Frames as they come out of a byte stream; what is left over stays for the next call. */
export class FrameReader {
  #bytes = Buffer.alloc(0);

  push(data: Buffer): { type: number; flags: number; stream: number; payload: Buffer }[] {
    this.#bytes = Buffer.concat([this.#bytes, data]);
    const frames: { type: number; flags: number; stream: number; payload: Buffer }[] = [];
    while (this.#bytes.length >= 9) {
      const length = this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < 9 + length) break;
      frames.push({
        type: this.#bytes.readUInt8(3),
        flags: this.#bytes.readUInt8(4),
        stream: this.#bytes.readUInt32BE(5) & 0x7fffffff,
        payload: this.#bytes.subarray(9, 9 + length),
      });
      this.#bytes = this.#bytes.subarray(9 + length);
    }
    return frames;
  }
}
