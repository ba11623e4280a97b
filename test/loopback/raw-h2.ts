// tests · a peer that speaks HTTP/2 frame by frame over TLS, as rudely as a test asks.
import { once } from "node:events";
import tls from "node:tls";
import { clientLeaf } from "./hbone-pair.ts";
import { closedAtEnd } from "./support.ts";

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
};

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** A literal header field without indexing, names and values below 127 bytes. */
export const literal = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);

export const connectBlock = Buffer.concat([literal(":method", "CONNECT"), literal(":authority", "127.0.0.1:80")]);

export type RawFrame = {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
};

export class RawPeer {
  readonly socket: tls.TLSSocket;
  readonly frames: RawFrame[] = [];
  readonly closed: Promise<void>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: tls.TLSSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.on("close", () => resolve()));
    socket.on("error", () => {
      // The engine resets rude peers.
    });
    socket.on("data", (data) => this.#read(data));
  }

  /** Connected to `port` with the test client's certificate; preface and empty SETTINGS are sent unless `bare`. */
  static async connect(port: number, options: { readonly bare?: boolean } = {}): Promise<RawPeer> {
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      cert: clientLeaf.chainPem,
      key: clientLeaf.keyPem,
    });
    closedAtEnd(socket);
    await once(socket, "secureConnect");
    const peer = new RawPeer(socket);
    if (!options.bare) peer.send(preface, frame(SETTINGS, 0, 0));
    return peer;
  }

  #read(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      const [, , , type = 0, flags = 0] = this.#rest;
      this.frames.push({
        type,
        flags,
        stream: this.#rest.readUInt32BE(5),
        payload: this.#rest.subarray(9, 9 + length),
      });
      this.#rest = this.#rest.subarray(9 + length);
    }
  }

  send(...frames: readonly Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
  }

  /** A CONNECT on `stream`. */
  connect(stream: number): void {
    this.send(frame(HEADERS, END_HEADERS, stream, connectBlock));
  }

  /** Sends `make(i)` until the engine hangs up or `times` is reached; how many were sent. */
  async flood(times: number, make: (index: number) => Uint8Array): Promise<number> {
    // So many in a turn of the loop that a slow machine's turns are a flood, too.
    const atOnce = Math.max(100, times / 400);
    for (let i = 0; i < times; i += atOnce) {
      if (this.socket.destroyed) return i;
      const batch: Uint8Array[] = [];
      for (let j = i; j < i + atOnce && j < times; j++) batch.push(make(j));
      if (!this.socket.write(Buffer.concat(batch)))
        await Promise.race([once(this.socket, "drain").catch(() => {}), this.closed]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return times;
  }
}
