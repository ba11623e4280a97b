// Row B9 of docs/reference/failures.md: a close arrives as it was made. Each order of closing is done once without and once through a
// tunnel of two engines; what the other side sees must be the same: FIN for FIN, RST for RST, no byte lost before a FIN.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type net from "node:net";
import { after, before, describe, test } from "node:test";
import { type Pair, pair } from "../loopback/hbone-pair.ts";
import { dial, type Server, serve } from "../loopback/support.ts";
import { until } from "../loopback/until.ts";

type How =
  /** Half a close; the other side answers and ends, too. */
  | "FIN"
  /** Both halves at once, everything that came was read. */
  | "close"
  /** Both halves at once, with bytes that nobody read: the kernel makes it a reset. */
  | "close with unread data"
  | "RST";
type Seen = { readonly end: string; readonly bytes: number | "some"; readonly answer: number };

const REPEAT = 20;
const UNREAD = 400_000;
const ANSWER = 1_000;
const hows: readonly How[] = ["FIN", "close", "close with unread data", "RST"];

let server: Server;
let tunnel: Pair;
const accepted: ((socket: net.Socket) => void)[] = [];
before(async () => {
  server = await serve((socket) => accepted.shift()?.(socket));
  tunnel = pair(server.port);
});
after(() => {
  tunnel[Symbol.dispose]();
  server.close();
});

/** A connection to `port` and its end at the server. Its first byte is spent on telling which is which. */
async function connected(port: number): Promise<{ client: net.Socket; server: net.Socket }> {
  const served = new Promise<net.Socket>((resolve) => accepted.push(resolve));
  const client = await dial(port);
  client.write("!");
  const other = await served;
  await once(other, "data");
  other.pause();
  return { client, server: other };
}

/** How the connection ends for this side, and how much it got before. */
function endOf(socket: net.Socket): Promise<{ end: string; bytes: number }> {
  return new Promise((resolve) => {
    let bytes = 0;
    socket.on("data", (data) => {
      bytes += data.length;
    });
    socket.once("end", () => resolve({ end: "FIN", bytes }));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      // A write that meets the reset first tells the same in another word.
      resolve({ end: error.code === "EPIPE" ? "ECONNRESET" : (error.code ?? error.message), bytes });
    });
    socket.resume();
  });
}

/** Resolves when the kernel has bytes for the socket that nobody has read (proc(5), /proc/net/tcp). */
async function hasUnread({ localPort = 0, remotePort = 0 }: net.Socket): Promise<void> {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, "0");
  const queue = new RegExp(`:${hex(localPort)} [0-9A-F]+:${hex(remotePort)} [0-9A-F]{2} [0-9A-F]+:([0-9A-F]+) `);
  const isThere = (table: string): boolean =>
    Number.parseInt(queue.exec(readFileSync(table, "utf8"))?.[1] ?? "0", 16) > 0;
  await until(() => ["/proc/net/tcp", "/proc/net/tcp6"].some(isThere), "bytes that nobody has read");
}

async function close(port: number, closer: "client" | "server", how: How, lastWords: number): Promise<Seen> {
  const both = await connected(port);
  const own = both[closer];
  const other = both[closer === "client" ? "server" : "client"];
  const seen = endOf(other);
  let answer = 0;
  if (how === "close with unread data") {
    other.write(Buffer.alloc(UNREAD));
    own.resume();
    await once(own, "data");
    own.pause();
    await hasUnread(own);
  }
  if (lastWords > 0) await new Promise<void>((resolve) => own.write(Buffer.alloc(lastWords, 1), () => resolve()));
  if (how === "RST") own.resetAndDestroy();
  else if (how !== "FIN") own.destroy();
  else {
    own.end();
    const back = endOf(own);
    await seen;
    other.end(Buffer.alloc(ANSWER));
    const got = await back;
    assert.equal(got.end, "FIN");
    answer = got.bytes;
  }
  const { end, bytes } = await seen;
  other.destroy();
  own.destroy();
  return { end, bytes: end === "FIN" ? bytes : "some", answer };
}

for (const closer of ["client", "server"] as const) {
  describe(`the ${closer} closes`, () => {
    for (const how of hows) {
      for (const lastWords of [0, 1, 100_000]) {
        test(`by ${how}, after ${lastWords} bytes`, async () => {
          const direct = await close(server.port, closer, how, lastWords);
          assert.deepEqual(direct.end, how === "FIN" || how === "close" ? "FIN" : "ECONNRESET", "without a tunnel");
          for (let time = 0; time < REPEAT; time += 1) {
            const through = await close(tunnel.port, closer, how, lastWords);
            assert.deepEqual(through, direct, `time ${time}`);
          }
        });
      }
    }
  });
}

test("nothing of it is left", async () => {
  for (const side of [tunnel.client, tunnel.server]) {
    while (side.engine.stats().connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(side.engine.stats().bufferBytes, 0);
  }
});
