// tests · attacks with frames that nobody reads: heads, interim responses and resets that wait in nghttp2 are counted, a caller that does not
// read causes no more of them, and what holds most ends when memory is short.
import assert from "node:assert/strict";
import net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { END_HEADERS, END_STREAM, FrameReader, frame, frameTypes, literal, u32 } from "../support/h2-frames.ts";
import { ask, h2cApplication, h2cCaller } from "./h2c.ts";
import { endedOf, type Served, serves, to, ways } from "./origin-engine.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { closedAtEnd } from "./support.ts";
import { until } from "./until.ts";

const KIBIBYTE = 1_024;
const MEBIBYTE = 1_024 * KIBIBYTE;
const CANCEL = u32(8);

/** Speaks HTTP/2 frame by frame, and answers a head with these bytes. */
async function rawApplication(
  answer: (socket: net.Socket, stream: number) => void,
): Promise<{ readonly port: number }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    const reader = new FrameReader();
    let preface = 24;
    socket.on("error", () => {});
    socket.write(frame(frameTypes.settings, 0, 0));
    socket.on("data", (data) => {
      const skipped = Math.min(preface, data.length);
      preface -= skipped;
      for (const { type, stream } of reader.push(data.subarray(skipped)))
        if (type === frameTypes.headers) answer(socket, stream);
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  closedAtEnd({
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  return { port: (server.address() as net.AddressInfo).port };
}

const asked = ({ engine }: Served, path?: string): number =>
  engine.events.filter((event) => event.type === "request" && (path ?? event.target) === event.target).length;
const bytesOf = ({ engine }: Served): number => engine.engine.stats().bufferBytes;

/** 1,200 interim responses to each request, which is nearly what a stream may bring. */
const floods = (): Promise<{ readonly port: number }> =>
  rawApplication((socket, stream) => {
    const fields = Buffer.concat([literal(":status", "103"), literal("link", "l".repeat(120))]);
    const interim = frame(frameTypes.headers, END_HEADERS, stream, fields);
    socket.write(Buffer.concat(Array.from({ length: 1_200 }, () => interim)));
  });

/** Until nothing more is read and nothing more waits: how long that takes is the machine's affair. */
async function settled(under: Served): Promise<void> {
  const state = (): string => `${asked(under)} ${bytesOf(under)}`;
  let [before, calm] = [state(), 0];
  for (let look = 0; look < 200 && calm < 3; look++) {
    await sleep(30);
    const now = state();
    calm = now === before ? calm + 1 : 0;
    before = now;
  }
}

/** Requests and resets, of which nothing is read, until the caller itself is not read any more. */
async function asksUntilUnread(caller: RawCaller, under: Served): Promise<void> {
  caller.socket.pause();
  for (let round = 0; round < 40; round++) {
    const streams = Array.from({ length: 50 }, (_, index) => 1 + 2 * (50 * round + index));
    const flags = END_HEADERS | END_STREAM;
    for (const stream of streams) caller.socket.write(frame(frameTypes.headers, flags, stream, headOf({})));
    await settled(under);
    for (const stream of streams) caller.socket.write(frame(frameTypes.rstStream, 0, stream, CANCEL));
    if (asked(under) < 50 * (round + 1) && bytesOf(under) > 200 * KIBIBYTE) return;
  }
  return assert.fail(`2,000 requests were read, and ${bytesOf(under)} bytes wait`);
}

/** An engine with sanitizers is too slow to fill the sockets that lie before it. */
const isSanitized = [...process.execArgv, process.env.NODE_OPTIONS, process.env.LD_PRELOAD].some(
  (each) => each !== undefined && /sanitized|libasan/.test(each),
);

for (const way of ways) {
  test(`${way}: interim responses that a caller does not read are few, and it is read again when it reads`, {
    skip: isSanitized,
  }, async () => {
    const app = await floods();
    const good = await h2cApplication((stream) => {
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
    using under = serves(way, [app.port, good.port], (event) => to(event, event.target === "/good" ? 2 : 1));
    const caller = await RawCaller.open(under.port);
    await asksUntilUnread(caller, under);
    assert.ok(bytesOf(under) < 4 * MEBIBYTE, `${bytesOf(under)} bytes`);
    // Another connection of the pod's goes on.
    using other = h2cCaller(under.port);
    assert.equal((await ask(other.session, { headers: { ":path": "/good" } })).status, 200);
    caller.socket.resume();
    // A request that is reset before its turn is asked about by nobody, so that another says when all before it are read.
    caller.socket.write(frame(frameTypes.headers, END_HEADERS | END_STREAM, 4_001, headOf({ ":path": "/good" })));
    await until(() => asked(under, "/good") === 2);
    await until(() => bytesOf(under) === 0);
    caller.socket.destroy();
    assert.deepEqual(under.errors(), []);
  });
}

test("a caller that goes while it is not read is noticed", {
  skip: isSanitized,
}, async () => {
  const app = await floods();
  using under = serves("direct", [app.port]);
  const caller = await RawCaller.open(under.port);
  await asksUntilUnread(caller, under);
  caller.socket.resetAndDestroy();
  await until(() => under.engine.closed().length === 1);
  await until(() => bytesOf(under) === 0);
  assert.deepEqual(under.errors(), []);
});

test("requests that an origin does not read are counted after their callers have reset them, and make room when memory is short", async () => {
  const silent = await rawApplication((socket) => socket.pause());
  const good = await h2cApplication((stream) => {
    stream.respond({ ":status": 200 });
    stream.end("ok");
  });
  using under = serves("direct", [silent.port, good.port], (event) => to(event, event.target === "/good" ? 2 : 1));
  const caller = await RawCaller.open(under.port);
  // A field of 4,000 bytes, named a dozen times in each head that follows: 48,000 bytes.
  const large = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4_000, 0x79)]);
  const flags = END_HEADERS | END_STREAM;
  caller.socket.write(frame(frameTypes.headers, flags, 1, Buffer.concat([headOf({}), large])));
  await until(() => asked(under) === 1);
  const head = Buffer.concat([headOf({}), Buffer.alloc(12, 0x80 | 62)]);
  let next = 3;
  const floodsOn = async (enough: () => boolean): Promise<void> => {
    while (!enough()) {
      const streams = Array.from({ length: 30 }, (_, index) => next + 2 * index);
      next += 60;
      for (const stream of streams) caller.socket.write(frame(frameTypes.headers, flags, stream, head));
      await sleep(30);
      for (const stream of streams) caller.socket.write(frame(frameTypes.rstStream, 0, stream, CANCEL));
    }
  };
  await floodsOn(() => bytesOf(under) > 7 * MEBIBYTE);
  // The first request is still open.
  await until(() => endedOf(under).length === (next - 3) / 2);
  assert.ok(bytesOf(under) > 5 * MEBIBYTE, "what nobody asks for any more waits all the same");
  under.engine.engine.setBufferBudget(4 * MEBIBYTE);
  await floodsOn(() => bytesOf(under) < 3.3 * MEBIBYTE);
  using other = h2cCaller(under.port);
  assert.equal((await ask(other.session, { headers: { ":path": "/good" } })).status, 200);
  assert.equal(under.engine.closed().length, 0, "no connection of a caller ends for it");
  caller.socket.destroy();
  assert.deepEqual(under.errors(), []);
});
