// tests · what a peer may count on: what it sends before the answer waits (docs/reference/failures.md, row A11), an end before the
// answer is a half-close, a tunnel that is ended for a violation says why, and a connection that breaks never looks like an end.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import type { ConnectRequest } from "../../agent/engine/events.ts";
import { ca, clientEngine, clientLeaf, installBoth, pair, serverEngine, serverLeaf } from "./hbone-pair.ts";
import {
  connectBlock,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  literal,
  PING,
  PUSH_PROMISE,
  preface,
  RawPeer,
  RST_STREAM,
  SETTINGS,
  u32,
  WINDOW_UPDATE,
} from "./raw-h2.ts";
import { dial, dialRefused, howItEnds, readAll, type Server, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";

/** RFC 9113 7. */
const code = {
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  FRAME_SIZE_ERROR: 6,
  COMPRESSION_ERROR: 9,
};
/** What a stream may carry before it is answered. */
const EARLY = 65_535;

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000; i++) {
    if (holds()) return;
    await sleep(2);
  }
  assert.fail(`not within four seconds: ${what}`);
}

type Slow = {
  readonly under: TestEngine;
  readonly app: Server;
  readonly got: Buffer[];
  readonly answer: (status?: number) => void;
};

/** An engine that answers a CONNECT only when the test says so, and an application that keeps what it gets and ends when its peer does. */
async function slowServer(said = ""): Promise<Slow> {
  installBoth();
  const got: Buffer[] = [];
  const app = await serve((socket) => {
    socket.on("data", (data) => got.push(data));
    socket.on("end", () => socket.end(said));
  });
  const waiting: ConnectRequest[] = [];
  const under = serverEngine(
    () => app.port,
    (event) => {
      if (event.type !== "connect-request") return undefined;
      waiting.push(event);
      // An answer to nobody: the right one comes later.
      return { conn: 0, generation: 0, type: "close" };
    },
  );
  const answer = (status = 200): void => {
    const event = waiting.shift();
    assert.ok(event !== undefined, "nothing waits for an answer");
    const { conn, generation } = event;
    under.engine.answer(
      status === 200
        ? {
            conn,
            generation,
            type: "dial",
            podIdx: 2,
            to: { address: "127.0.0.1", port: app.port },
            from: null,
            baggage: "",
          }
        : { conn, generation, type: "refuse", status },
    );
  };
  return { under, app, got, answer };
}

const connect = (stream: number, flags = 0): Buffer => frame(HEADERS, END_HEADERS | flags, stream, connectBlock);
const resets = (peer: RawPeer): [stream: number, code: number][] =>
  peer.frames.flatMap(({ type, stream, payload }) => (type === RST_STREAM ? [[stream, payload.readUInt32BE()]] : []));
const answered = (peer: RawPeer, stream: number): boolean =>
  peer.frames.some((got) => got.type === HEADERS && got.stream === stream);
const windows = (peer: RawPeer, stream: number): number =>
  peer.frames
    .filter((got) => got.type === WINDOW_UPDATE && got.stream === stream)
    .reduce((sum, { payload }) => sum + payload.readUInt32BE(), 0);
const dataOf = (peer: RawPeer, stream: number): { text: string; ended: boolean } => {
  const frames = peer.frames.filter((got) => got.type === DATA && got.stream === stream);
  const text = Buffer.concat(frames.map(({ payload }) => payload)).toString();
  return { text, ended: frames.some(({ flags }) => (flags & END_STREAM) !== 0) };
};
const goaways = (peer: RawPeer): number[] =>
  peer.frames.flatMap(({ type, payload }) => (type === GOAWAY ? [payload.readUInt32BE(4)] : []));
/** Both sides of a PING: what was sent before has been read. */
async function heard(peer: RawPeer): Promise<void> {
  const before = peer.frames.filter(({ type }) => type === PING).length;
  peer.send(frame(PING, 0, 0, Buffer.alloc(8)));
  await until("the PING is answered", () => peer.frames.filter(({ type }) => type === PING).length > before);
}

test("DATA behind a CONNECT waits for the answer, without a byte of window given back, and none of it is lost", async () => {
  const { under, app, got, answer } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  const early = randomBytes(EARLY);
  peer.send(connect(1), ...[0, 16_384, 32_768, 49_152].map((at) => frame(DATA, 0, 1, early.subarray(at, at + 16_384))));
  await heard(peer);
  const ownWindow = windows(peer, 0);
  assert.ok(under.engine.stats().bufferBytes >= EARLY, "it waits in the buffers that are budgeted");
  assert.deepEqual([app.connections.length, answered(peer, 1), windows(peer, 1)], [0, false, 0]);
  answer();
  await until("the answer", () => answered(peer, 1));
  await until("all of it at the application", () => Buffer.concat(got).length >= EARLY);
  assert.ok(Buffer.concat(got).equals(early));
  await until("the window of an answered stream", () => windows(peer, 1) >= (4 << 20) - EARLY);
  peer.send(frame(DATA, END_STREAM, 1, Buffer.from("later")));
  await until("the application's end", () => dataOf(peer, 1).ended);
  assert.equal(Buffer.concat(got).subarray(EARLY).toString(), "later");
  assert.ok(windows(peer, 0) >= ownWindow);
  assert.deepEqual(resets(peer), []);
  assert.equal((await under.event("closed")).cause, "finished");
  assert.equal(under.engine.stats().bufferBytes, 0);
  peer.socket.destroy();
  app.close();
});

test("more DATA before the answer than the stream's window breaks flow control, and nothing is kept", async () => {
  const { under, app } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1), ...Array.from({ length: 5 }, () => frame(DATA, 0, 1, Buffer.alloc(16_384))));
  await peer.closed;
  assert.deepEqual(goaways(peer), [code.FLOW_CONTROL_ERROR]);
  assert.equal((await under.event("closed")).cause, "protocol-error");
  assert.equal(under.engine.stats().bufferBytes, 0);
  assert.equal(app.connections.length, 0);
  app.close();
});

test("DATA before an answer that refuses reaches nobody, and its window is given back", async () => {
  const { under, app, answer } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  // 300 × 64,000 bytes are more than the tunnel's window of 16 MiB.
  for (let round = 0; round < 3; round++) {
    const streams = Array.from({ length: 100 }, (_, i) => 200 * round + 2 * i + 1);
    for (const stream of streams) {
      peer.send(connect(stream), ...[0, 1, 2, 3].map(() => frame(DATA, 0, stream, Buffer.alloc(16_000))));
    }
    await until(`DATA of round ${round}`, () => under.engine.stats().bufferBytes >= 100 * 64_000);
    await heard(peer);
    for (const _ of streams) answer(401);
    await until(`answers of round ${round}`, () => streams.every((stream) => answered(peer, stream)));
    assert.equal(under.engine.stats().bufferBytes, 0);
  }
  assert.equal(app.connections.length, 0);
  assert.ok(!peer.socket.destroyed);
  peer.socket.destroy();
  app.close();
});

test("DATA before the answer comes out of the buffer budget: without room the stream is refused with 503", async () => {
  const { under, app } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1), connect(3));
  await until("both to be asked for", () => under.engine.stats().streams === 2);
  // Room for a small chunk of 4,048 bytes, which is more than 80 % and less than 95 % of it.
  under.engine.setBufferBudget(4_700);
  peer.send(frame(DATA, 0, 1, Buffer.alloc(1_000)), frame(DATA, 0, 3, Buffer.alloc(1_000)));
  await until("the answer", () => answered(peer, 3));
  assert.equal(answered(peer, 1), false);
  const shed = await under.event("closed");
  assert.equal(shed.cause, "shed");
  assert.equal(under.engine.stats().shedTotal, 1);
  peer.socket.destroy();
  await until("nothing is kept", () => under.engine.stats().bufferBytes === 0);
  app.close();
});

test("a CONNECT with END_STREAM, and DATA with END_STREAM before the answer, are half-closed", async () => {
  const { under, app, got, answer } = await slowServer("and goodbye");
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1, END_STREAM));
  await heard(peer);
  answer();
  await until("the application's end", () => dataOf(peer, 1).ended);
  assert.deepEqual(dataOf(peer, 1), { text: "and goodbye", ended: true });
  assert.equal(got.length, 0);
  peer.send(connect(3), frame(DATA, END_STREAM, 3, Buffer.from("one word")));
  await heard(peer);
  answer();
  await until("the application's end", () => dataOf(peer, 3).ended);
  assert.deepEqual([Buffer.concat(got).toString(), dataOf(peer, 3).text], ["one word", "and goodbye"]);
  peer.send(connect(5, END_STREAM));
  await heard(peer);
  answer(401);
  await until("the refusal", () => answered(peer, 5));
  await heard(peer);
  assert.deepEqual(resets(peer), [], "both halves of a refused CONNECT are over: there is nothing to reset");
  assert.deepEqual(
    under.closed().map(({ cause }) => cause),
    ["finished", "finished", "refused"],
  );
  peer.socket.destroy();
  app.close();
});

test("a peer that resets what it sent early leaves nothing behind", async () => {
  const { under, app, answer } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1), frame(DATA, 0, 1, Buffer.alloc(10_000)), frame(RST_STREAM, 0, 1, u32(8)));
  assert.equal((await under.event("closed")).cause, "reset-by-downstream");
  answer();
  await heard(peer);
  assert.equal(under.engine.stats().bufferBytes, 0);
  assert.equal(app.connections.length, 0);
  peer.socket.destroy();
  app.close();
});

test("header fields on a connected stream are that stream's error (RFC 9113 8.5), and add up to nothing", async () => {
  installBoth();
  const endings: Promise<string>[] = [];
  const app = await serve((socket) => endings.push(howItEnds(socket)));
  using under = serverEngine(() => app.port);
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  const trailers = Buffer.concat(Array.from({ length: 8 }, () => literal("x-checksum", "0".repeat(100))));
  // 90 × 8 × 142 decoded bytes are more than a head may have.
  for (let i = 0; i < 90; i++) {
    const stream = 2 * i + 1;
    peer.connect(stream);
    await until("the answer", () => answered(peer, stream));
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers));
    await until("the reset", () => resets(peer).length > i);
  }
  assert.deepEqual(
    resets(peer).map(([, reason]) => reason),
    Array.from({ length: 90 }, () => code.PROTOCOL_ERROR),
  );
  assert.equal(await endings[0], "ECONNRESET", "the application is not told that all has arrived");
  assert.deepEqual(
    under.closed().map(({ cause }) => cause),
    Array.from({ length: 90 }, () => "protocol-error"),
  );
  await heard(peer);
  peer.socket.destroy();
  app.close();
});

const push = frame(PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([u32(2), connectBlock]));
const windowOverflow = frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff));
// What is too much of something is slowed first: engine-abuse.test.ts.
const violations: readonly (readonly [string, number, readonly Uint8Array[]])[] = [
  ["DATA on an idle stream", code.PROTOCOL_ERROR, [frame(DATA, 0, 1, Buffer.from("x"))]],
  ["HEADERS on an even stream", code.PROTOCOL_ERROR, [frame(HEADERS, END_HEADERS, 2, connectBlock)]],
  [
    "a bad HPACK index",
    code.COMPRESSION_ERROR,
    [frame(HEADERS, END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))],
  ],
  ["PING of the wrong length", code.FRAME_SIZE_ERROR, [frame(PING, 0, 0, Buffer.alloc(7))]],
  ["a window beyond 2^31-1", code.FLOW_CONTROL_ERROR, [windowOverflow, windowOverflow]],
  ["PUSH_PROMISE", code.PROTOCOL_ERROR, [push]],
  ["a frame longer than announced", code.FRAME_SIZE_ERROR, [Buffer.from([0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1])]],
];

for (const [what, reason, frames] of violations) {
  test(`a tunnel that is ended for ${what} says so by GOAWAY`, async () => {
    installBoth();
    using under = serverEngine(() => 1);
    const peer = await RawPeer.connect(under.listen(2, "hbone"));
    peer.send(...frames);
    await peer.closed;
    assert.deepEqual(goaways(peer), [reason]);
    assert.equal((await under.event("tunnel-abused")).peer.address, "127.0.0.1");
  });
}

test("a violation behind a stream that lives: its bytes come first, then the GOAWAY with the last stream that was taken", async () => {
  installBoth();
  const app = await serve((socket) => socket.write("hello"));
  using under = serverEngine(() => app.port);
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.connect(7);
  await until("the application's word", () => dataOf(peer, 7).text === "hello");
  peer.send(frame(PING, 0, 0, Buffer.alloc(3)));
  await peer.closed;
  const said = peer.frames.findLast(({ type }) => type === GOAWAY)?.payload;
  assert.deepEqual([said?.readUInt32BE(0), said?.readUInt32BE(4)], [7, code.FRAME_SIZE_ERROR]);
  assert.equal(dataOf(peer, 7).ended, false);
  app.close();
});

test("a peer that does not read is not waited for: its tunnel ends without a GOAWAY", async () => {
  installBoth();
  let written = 0;
  const app = await serve((socket) => {
    const more = (): void => {
      while (!socket.destroyed && socket.write(Buffer.alloc(1 << 20))) written++;
      written++;
    };
    socket.on("drain", more).on("error", () => {});
    more();
  });
  using under = serverEngine(() => app.port);
  const peer = await RawPeer.connect(under.listen(2, "hbone"), { bare: true });
  peer.send(
    preface,
    frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff])),
    frame(WINDOW_UPDATE, 0, 0, u32(1 << 30)),
  );
  peer.connect(1);
  await until("the answer", () => answered(peer, 1));
  peer.socket.pause();
  // Bytes can wait for a moment in which the peer still reads. The peer's socket is full when nothing moves any more: the
  // application can write no more, and what the engine holds stays.
  for (let before = "", same = 0; same < 10; await sleep(20)) {
    const now = `${written} ${under.engine.stats().bufferBytes}`;
    same = now === before && under.engine.stats().bufferBytes > 0 ? same + 1 : 0;
    before = now;
  }
  peer.send(push);
  await under.event("tunnel-abused");
  await until("the tunnel's end", () => under.engine.stats().tunnels === 0);
  assert.equal(under.engine.stats().bufferBytes, 0);
  peer.socket.resume();
  await peer.closed;
  assert.ok(!peer.frames.some(({ type }) => type === GOAWAY));
  app.close();
});

test("a server that pushes is sent the GOAWAY as well", async () => {
  installBoth();
  const got: Buffer[] = [];
  const server = tls.createServer(
    { cert: serverLeaf.chainPem, key: serverLeaf.keyPem, ca: ca.pem, requestCert: true, ALPNProtocols: ["h2"] },
    (socket) => {
      const peer = new RawPeer(socket);
      socket.on("data", (data) => got.push(data));
      peer.send(frame(SETTINGS, 0, 0), push);
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address && typeof address === "object");
  using under = clientEngine(() => address.port);
  assert.equal(await dialRefused(under.listen(1, "outbound")), "ECONNRESET");
  const farewell = frame(GOAWAY, 0, 0, Buffer.concat([u32(0), u32(code.PROTOCOL_ERROR)]));
  await until("the GOAWAY", () => Buffer.concat(got).subarray(-farewell.length).equals(farewell));
  server.close();
});

test("a certificate message above 16 KB is refused", async () => {
  installBoth();
  using under = serverEngine(() => 1);
  const port = under.listen(2, "hbone");
  const [leaf = ""] = clientLeaf.chainPem.split(/(?<=-----END CERTIFICATE-----\n?)(?=-----BEGIN)/);
  const shake = async (copies: number): Promise<string> => {
    const cert = `${clientLeaf.chainPem}\n${`${leaf}\n`.repeat(copies)}`;
    const socket = tls.connect({
      ...{ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] },
      ...{ cert, key: clientLeaf.keyPem },
    });
    const ended = howItEnds(socket);
    const welcomed = under.event("peer-certificate").then(() => "welcome");
    const end = await Promise.race([ended, welcomed]);
    socket.destroy();
    return end;
  };
  assert.match(await shake(60), /ALERT|ECONNRESET/);
  assert.equal((await under.event("handshake-failed")).reason, "protocol");
  assert.equal(await shake(2), "welcome");
});

/** How the application at the far side of two engines learns that the near one has broken off, and the other way round. */
for (const from of ["the client", "the server"] as const) {
  test(`${from}'s reset in the middle of a transfer is a reset for the other, and never an end`, async () => {
    const app = await serve(() => {});
    using tunnel = pair(app.port);
    for (let i = 0; i < 30; i++) {
      const client = await dial(tunnel.port);
      await until("the application's connection", () => app.connections.length > i);
      const server = app.connections[i];
      assert.ok(server !== undefined);
      const [near, far] = from === "the client" ? [client, server] : [server, client];
      const ended = howItEnds(far);
      const bytes = randomBytes(1 + ((i * 40_009) % 600_000));
      if (i % 3 === 1) far.end("its half is over");
      near.write(bytes);
      if (i % 2 === 0) await once(far, "data");
      near.resetAndDestroy();
      assert.equal(await ended, "ECONNRESET", `${i}: ${bytes.length} bytes`);
    }
    app.close();
  });
}

test("a tunnel that breaks is a reset for both applications, whatever had been sent", async () => {
  const app = await serve((socket) => void socket.write(randomBytes(100_000)));
  const tunnel = pair(app.port);
  const client = await dial(tunnel.port);
  await once(client, "data");
  client.write(randomBytes(100_000));
  const [server] = app.connections;
  assert.ok(server !== undefined);
  const ends = [howItEnds(client), howItEnds(server)];
  tunnel.server.engine.retireTunnels(102);
  tunnel[Symbol.dispose]();
  assert.deepEqual(await Promise.all(ends), ["ECONNRESET", "ECONNRESET"]);
  app.close();
});

test("an end in order is an end, at both sides", async () => {
  const app = await serve((socket) => void socket.end("all of it"));
  using tunnel = pair(app.port);
  const client = await dial(tunnel.port);
  client.end();
  assert.equal((await readAll(client)).toString(), "all of it");
  app.close();
});
