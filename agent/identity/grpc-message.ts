// main thread · a gRPC message in its frame, and the words for its outcomes. Pure.
// Source: grpc/grpc:doc/PROTOCOL-HTTP2.md, grpc/grpc:doc/statuscodes.md

/** Outcomes by number, under the names that every gRPC library prints. */
export const grpcCodes = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type GrpcCode = keyof typeof grpcCodes;

/** One byte for compression, four for the length. */
export const GRPC_PREFIX_BYTES = 5;

export function frameGrpcMessage(message: Uint8Array): Uint8Array {
  const prefix = Buffer.alloc(GRPC_PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The one message that `bytes` are, uncompressed; undefined when they are anything else. */
export function onlyGrpcMessage(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < GRPC_PREFIX_BYTES || bytes[0] !== 0) return undefined;
  const length = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUInt32BE(1);
  return bytes.length === GRPC_PREFIX_BYTES + length ? bytes.subarray(GRPC_PREFIX_BYTES) : undefined;
}

/** The name of a `grpc-status`; a text that is no known number counts as UNKNOWN, as the protocol has it. */
export function grpcCodeOf(status: string): GrpcCode {
  for (const [name, number] of Object.entries(grpcCodes)) if (status === String(number)) return name as GrpcCode;
  return "UNKNOWN";
}

const MAX_MESSAGE_CHARS = 300;

/** What a peer says in `grpc-message`, fit for a log line: decoded where it can be, printable, short. */
export function readGrpcText(encoded: string): string {
  let text = encoded;
  try {
    text = decodeURIComponent(encoded);
  } catch {
    // A percent sign of its own is no encoding: the text counts as it came.
  }
  return text.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, MAX_MESSAGE_CHARS);
}

/** Percent-encodes what may not be in a header: control bytes, all beyond ASCII, and the percent sign. */
export function writeGrpcText(text: string): string {
  return text.replaceAll(/[^\x20-\x24\x26-\x7e]+/g, (part) => encodeURIComponent(part.toWellFormed()));
}
