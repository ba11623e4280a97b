// test support · attacks on an HTTP/2 server as lists of bytes (docs/reference/failures.md, table A). Pure: the
// test that sends them counts what comes back.
import { connectTo, END_HEADERS, END_STREAM, frame, literal, preface, frameTypes as type, u32 } from "./h2-frames.ts";

export type Attack = {
  readonly name: string;
  /** After preface and SETTINGS. `turn` counts from 0; an endless attack repeats until the connection ends. */
  readonly bytes: (turn: number, authority: string) => Buffer;
  readonly endless: boolean;
};

const once = (name: string, bytes: (authority: string) => Buffer): Attack => ({
  name,
  endless: false,
  bytes: (_turn, authority) => bytes(authority),
});
const endless = (name: string, bytes: Attack["bytes"]): Attack => ({ name, endless: true, bytes });
const stream = (turn: number, of: number, each: number): number => 1 + 2 * (turn * each + of);
const many = (count: number, make: (at: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));
const headers = (id: number, authority: string, flags = END_HEADERS): Buffer =>
  frame(type.headers, flags, id, connectTo(authority));

/** Each frame of a kind that RFC 9113 forbids: the connection must end. */
export const malformed: readonly Attack[] = [
  once("no preface", () => Buffer.alloc(0)),
  once("DATA on stream 0", () => frame(type.data, 0, 0, Buffer.from("x"))),
  once("DATA on an idle stream", () => frame(type.data, 0, 9, Buffer.from("x"))),
  once("DATA padded beyond its length", (authority) =>
    Buffer.concat([headers(1, authority), frame(type.data, 8, 1, Buffer.from([9, 1]))]),
  ),
  once("HEADERS on stream 0", (authority) => headers(0, authority)),
  once("HEADERS on an even stream", (authority) => headers(2, authority)),
  once("HEADERS with a truncated block", () => frame(type.headers, END_HEADERS, 1, Buffer.from([0x00, 0x7f]))),
  once("HEADERS with an index outside the table", () =>
    frame(type.headers, END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff, 0x7f])),
  ),
  once("HEADERS with a table size beyond the limit", () =>
    frame(type.headers, END_HEADERS, 1, Buffer.from([0x3f, 0xff, 0xff, 0xff, 0x07])),
  ),
  once("HEADERS with bad Huffman", () =>
    frame(type.headers, END_HEADERS, 1, Buffer.from([0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00])),
  ),
  once("PRIORITY of 4 bytes", () => frame(type.priority, 0, 1, Buffer.alloc(4))),
  once("RST_STREAM of 3 bytes", (authority) =>
    Buffer.concat([headers(1, authority), frame(type.rstStream, 0, 1, Buffer.alloc(3))]),
  ),
  once("RST_STREAM on stream 0", () => frame(type.rstStream, 0, 0, u32(8))),
  once("RST_STREAM on an idle stream", () => frame(type.rstStream, 0, 7, u32(8))),
  once("SETTINGS of 5 bytes", () => frame(type.settings, 0, 0, Buffer.alloc(5))),
  once("SETTINGS on stream 1", () => frame(type.settings, 0, 1)),
  once("SETTINGS with a payload and ACK", () => frame(type.settings, 1, 0, Buffer.alloc(6))),
  once("SETTINGS with a window too large", () =>
    frame(type.settings, 0, 0, Buffer.from([0, 4, 0xff, 0xff, 0xff, 0xff])),
  ),
  once("SETTINGS with a frame size too small", () => frame(type.settings, 0, 0, Buffer.from([0, 5, 0, 0, 0, 1]))),
  once("PUSH_PROMISE from a client", (authority) =>
    frame(type.pushPromise, END_HEADERS, 1, Buffer.concat([u32(2), connectTo(authority)])),
  ),
  once("PING of 7 bytes", () => frame(type.ping, 0, 0, Buffer.alloc(7))),
  once("PING on stream 1", () => frame(type.ping, 0, 1, Buffer.alloc(8))),
  once("GOAWAY on stream 1", () => frame(type.goaway, 0, 1, Buffer.alloc(8))),
  once("GOAWAY of 7 bytes", () => frame(type.goaway, 0, 0, Buffer.alloc(7))),
  once("WINDOW_UPDATE of 3 bytes", () => frame(type.windowUpdate, 0, 0, Buffer.alloc(3))),
  once("WINDOW_UPDATE of 0 on the connection", () => frame(type.windowUpdate, 0, 0, u32(0))),
  once("WINDOW_UPDATE overflowing the connection", () =>
    many(2, () => frame(type.windowUpdate, 0, 0, u32(0x7fffffff))),
  ),
  once("CONTINUATION without HEADERS", () => frame(type.continuation, END_HEADERS, 1, Buffer.from([0x82]))),
  once("DATA between HEADERS and CONTINUATION", (authority) =>
    Buffer.concat([headers(1, authority, 0), frame(type.data, 0, 1)]),
  ),
  once("a frame larger than allowed", () => frame(type.data, 0, 1, Buffer.alloc(16_385))),
];

/** Forbidden by RFC 9113 and passed over by nghttp2 without an effect: either is right, as long as nobody is disturbed. */
export const passedOver: readonly Attack[] = [
  once("HEADERS on an older stream", (authority) => Buffer.concat([headers(5, authority), headers(3, authority)])),
  once("PRIORITY on stream 0", () => frame(type.priority, 0, 0, Buffer.alloc(5))),
];

/** Well-formed and too much: the connection must end before the sender does. */
export const floods: readonly Attack[] = [
  endless("rapid reset", (turn, authority) =>
    many(100, (at) =>
      Buffer.concat([
        headers(stream(turn, at, 100), authority),
        frame(type.rstStream, 0, stream(turn, at, 100), u32(8)),
      ]),
    ),
  ),
  // MadeYouReset: the server is made to reset by a stream error of ours.
  endless("reset by our own mistake", (turn, authority) =>
    many(100, (at) =>
      Buffer.concat([
        headers(stream(turn, at, 100), authority),
        frame(type.windowUpdate, 0, stream(turn, at, 100), u32(0)),
      ]),
    ),
  ),
  endless("SETTINGS", () => many(500, () => frame(type.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100])))),
  endless("PING", () => many(500, () => frame(type.ping, 0, 0, Buffer.alloc(8)))),
  endless("PRIORITY", (turn) => many(500, (at) => frame(type.priority, 0, stream(turn, at, 500), Buffer.alloc(5)))),
  endless("empty DATA", (turn, authority) =>
    Buffer.concat([turn === 0 ? headers(1, authority) : Buffer.alloc(0), many(500, () => frame(type.data, 0, 1))]),
  ),
  endless("CONTINUATION", (turn, authority) =>
    Buffer.concat([
      turn === 0 ? headers(1, authority, 0) : Buffer.alloc(0),
      many(50, () => frame(type.continuation, 0, 1, literal("a", "b".repeat(100)))),
    ]),
  ),
  endless("empty CONTINUATION", (turn, authority) =>
    Buffer.concat([
      turn === 0 ? headers(1, authority, 0) : Buffer.alloc(0),
      many(500, () => frame(type.continuation, 0, 1)),
    ]),
  ),
  // One entry of almost 4 KiB in the table, then references of one byte each to it: decoded 4,000 times as much.
  endless("HPACK references", (turn, authority) => {
    const value = Buffer.alloc(3_900, 0x61);
    const entry = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0xbd, 0x1d]), value]);
    const block = Buffer.concat([entry, Buffer.alloc(4_000, 0xbe)]);
    return frame(type.headers, END_HEADERS | END_STREAM, 1 + 2 * turn, Buffer.concat([connectTo(authority), block]));
  }),
  endless("requests that are none", (turn) =>
    many(100, (at) => frame(type.headers, END_HEADERS, stream(turn, at, 100), literal(":method", "CONNECT"))),
  ),
];

/** Odd, and allowed: the connection must go on. */
export const harmless: readonly Attack[] = [
  once("a frame of an unknown type", () => frame(0xfe, 0xff, 0, Buffer.alloc(100))),
  once("a SETTINGS entry nobody knows", () => frame(type.settings, 0, 0, Buffer.from([0xf0, 0xf0, 1, 2, 3, 4]))),
  once("a PING", () => frame(type.ping, 0, 0, Buffer.from("orlop!!!"))),
];

/** What is sent first; "no preface" sends something else in its place. */
export function opening(name: string): Buffer {
  return name === "no preface"
    ? Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    : Buffer.concat([preface, frame(type.settings, 0, 0)]);
}
