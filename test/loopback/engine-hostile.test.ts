// tests · peers with a valid certificate that break HTTP/2, or use it as a weapon: their tunnel ends, everything it held is
// freed, and a bystander on another tunnel goes on (docs/reference/failures.md, A1 to A8, A10, A11, A14;
// malformed HPACK is A5, an overflowing WINDOW_UPDATE A6).
import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { ca, clientEngine, installBoth, serverEngine, serverLeaf } from "./hbone-pair.ts";
import {
  ACK,
  CONTINUATION,
  connectBlock,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  literal,
  PING,
  PRIORITY,
  PUSH_PROMISE,
  preface,
  RawPeer,
  RST_STREAM,
  SETTINGS,
  u32,
  WINDOW_UPDATE,
} from "./raw-h2.ts";
import { dial, dialRefused, howItEnds, type Server, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

/** Nothing of the attack is left but `tunnels` of others. */
async function settled(under: TestEngine, tunnels = 0): Promise<void> {
  await until(() => under.engine.stats().tunnels <= tunnels, "the tunnels' end");
  const stats = under.engine.stats();
  assert.equal(stats.tunnels, tunnels);
  assert.equal(stats.handshakes, 0);
  if (tunnels === 0) assert.equal(stats.connections, 0);
  assert.equal(stats.bufferBytes, 0);
}

/** An engine, an echoing application and a bystander whose connection must survive `attack`. */
async function underAttack(
  attack: (port: number, under: TestEngine, app: Server) => Promise<void>,
): Promise<TestEngine> {
  installBoth();
  const app = await serve((socket) => socket.pipe(socket));
  using under = serverEngine(() => app.port);
  under.engine.setTunnelTimes({ patienceMs: 500, servedOnMs: 500 });
  const port = under.listen(2, "hbone");
  using other = clientEngine(() => port);
  const bystander = await dial(other.listen(1, "outbound"));
  bystander.write("before");
  await once(bystander, "data");
  await attack(port, under, app);
  await settledBut(under, 1);
  bystander.write("after");
  assert.equal(String((await once(bystander, "data"))[0]), "after");
  const ended = howItEnds(bystander);
  bystander.end();
  assert.equal(await ended, "end");
  app.close();
  return under;
}
const settledBut = (under: TestEngine, tunnels: number): Promise<void> => settled(under, tunnels);

const abuse = (under: TestEngine): string[] =>
  under.events.flatMap((event) => (event.type === "tunnel-abused" ? [event.reason] : []));

const malformed: readonly (readonly [string, readonly Uint8Array[]])[] = [
  ["DATA on stream 0", [frame(DATA, 0, 0, Buffer.from("x"))]],
  ["DATA on an idle stream", [frame(DATA, 0, 1, Buffer.from("x"))]],
  ["HEADERS on stream 0", [frame(HEADERS, END_HEADERS, 0, connectBlock)]],
  ["HEADERS on an even stream", [frame(HEADERS, END_HEADERS, 2, connectBlock)]],
  ["HEADERS with a bad HPACK index", [frame(HEADERS, END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))]],
  ["HEADERS with a cut literal", [frame(HEADERS, END_HEADERS, 1, Buffer.from([0, 100, 65]))]],
  ["HEADERS padded beyond its end", [frame(HEADERS, END_HEADERS | 8, 1, Buffer.from([200, 0x82]))]],
  ["PRIORITY of the wrong length", [frame(PRIORITY, 0, 1, Buffer.alloc(4)), frame(PRIORITY, 0, 0, Buffer.alloc(5))]],
  ["RST_STREAM of the wrong length", [frame(RST_STREAM, 0, 1, Buffer.alloc(3))]],
  ["RST_STREAM on an idle stream", [frame(RST_STREAM, 0, 7, u32(8))]],
  ["SETTINGS of a length not divisible by 6", [frame(SETTINGS, 0, 0, Buffer.alloc(5))]],
  ["SETTINGS on a stream", [frame(SETTINGS, 0, 1, Buffer.alloc(6))]],
  ["SETTINGS ACK with a payload", [frame(SETTINGS, ACK, 0, Buffer.alloc(6))]],
  ["SETTINGS with a window beyond 2^31-1", [frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0xff, 0xff, 0xff, 0xff]))]],
  ["SETTINGS with a frame size below 2^14", [frame(SETTINGS, 0, 0, Buffer.from([0, 5, 0, 0, 0, 1]))]],
  ["PUSH_PROMISE from a client", [frame(PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([u32(2), connectBlock]))]],
  ["PING of the wrong length", [frame(PING, 0, 0, Buffer.alloc(7))]],
  ["PING on a stream", [frame(PING, 0, 1, Buffer.alloc(8))]],
  ["GOAWAY on a stream", [frame(GOAWAY, 0, 1, Buffer.alloc(8))]],
  ["WINDOW_UPDATE of 0 on the connection", [frame(WINDOW_UPDATE, 0, 0, u32(0))]],
  [
    "WINDOW_UPDATE overflow on the connection",
    [frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff)), frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff))],
  ],
  ["WINDOW_UPDATE of the wrong length", [frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3))]],
  ["WINDOW_UPDATE on an idle stream", [frame(WINDOW_UPDATE, 0, 9, u32(1))]],
  ["CONTINUATION without HEADERS", [frame(CONTINUATION, END_HEADERS, 1, connectBlock)]],
  [
    "another frame between HEADERS and CONTINUATION",
    [frame(HEADERS, 0, 1, connectBlock), frame(PING, 0, 0, Buffer.alloc(8))],
  ],
  ["a frame longer than announced", [Buffer.from([0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1])]],
];

test("each malformed frame ends its tunnel, and nothing else", async () => {
  await underAttack(async (port, under) => {
    for (const [what, frames] of malformed) {
      const before = abuse(under).length;
      const peer = await RawPeer.connect(port);
      // Something bad once more right behind: what comes after the end must not be looked at (A7).
      peer.send(...frames, ...frames);
      await until(() => peer.socket.closed, `the end of a tunnel with ${what}`);
      assert.equal(abuse(under).length, before + 1, what);
    }
  });
});

test("no preface, or another protocol inside TLS", async () => {
  await underAttack(async (port) => {
    for (const bytes of ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]) {
      const peer = await RawPeer.connect(port, { bare: true });
      peer.send(Buffer.from(bytes));
      await peer.closed;
    }
    const peer = await RawPeer.connect(port, { bare: true });
    peer.send(preface, frame(PING, 0, 0, Buffer.alloc(8)));
    await peer.closed;
  });
});

const floods: readonly (readonly [string, number, (index: number) => Uint8Array])[] = [
  [
    "A1 rapid reset",
    100_000,
    (i) =>
      Buffer.concat([frame(HEADERS, END_HEADERS, 2 * i + 1, connectBlock), frame(RST_STREAM, 0, 2 * i + 1, u32(8))]),
  ],
  [
    "A2 resets provoked by WINDOW_UPDATE of 0",
    100_000,
    (i) =>
      Buffer.concat([frame(HEADERS, END_HEADERS, 2 * i + 1, connectBlock), frame(WINDOW_UPDATE, 0, 2 * i + 1, u32(0))]),
  ],
  [
    "A2 resets provoked by forbidden headers",
    100_000,
    (i) =>
      frame(HEADERS, END_HEADERS, 2 * i + 1, Buffer.concat([literal(":method", "CONNECT"), literal("Upper", "case")])),
  ],
  [
    "A2 resets provoked by trailers",
    100_000,
    (i) =>
      Buffer.concat([
        frame(HEADERS, END_HEADERS, 2 * i + 1, connectBlock),
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, literal("a", "b")),
      ]),
  ],
  ["A4 PING", 400_000, () => frame(PING, 0, 0, Buffer.alloc(8))],
  ["A4 SETTINGS", 400_000, () => frame(SETTINGS, 0, 0)],
  ["A4 PRIORITY", 400_000, () => frame(PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 1]))],
  ["A4 unknown frame types", 400_000, () => frame(0xbe, 0, 0, Buffer.from("x"))],
  ["A4 WINDOW_UPDATE", 400_000, () => frame(WINDOW_UPDATE, 0, 0, u32(1))],
];

/** Each turn took no more than its share. */
function assertBounded(under: TestEngine): void {
  const { mostRequests, mostWork } = under.engine.stats();
  assert.ok(mostRequests <= 32, `${mostRequests} CONNECTs in a turn`);
  assert.ok(mostWork <= 512 + 80, `${mostWork} units of work in a turn`);
}

for (const [what, times, make] of floods) {
  test(`${what}: slowed, or ended; ended when it goes on`, async () => {
    await underAttack(async (port, under) => {
      const peer = await RawPeer.connect(port);
      await peer.flood(times, make);
      await peer.closed;
      assert.equal(abuse(under).length, 1);
      assertBounded(under);
    });
  });
}

test("A4 empty DATA on an answered stream: slowed, and ended when it goes on", async () => {
  await underAttack(async (port, under) => {
    const peer = await RawPeer.connect(port);
    peer.connect(1);
    await under.event("established", (event) => event.conn !== 0);
    while (!peer.frames.some((got) => got.type === HEADERS)) await sleep(1);
    await peer.flood(400_000, () => frame(DATA, 0, 1));
    await peer.closed;
    assert.equal(abuse(under).length, 1);
    assertBounded(under);
  });
});

test("A3 endless CONTINUATION: cut off early", async () => {
  await underAttack(async (port) => {
    const peer = await RawPeer.connect(port);
    peer.send(frame(HEADERS, 0, 1, connectBlock));
    const sent = await peer.flood(40_000, () => frame(CONTINUATION, 0, 1, literal("x", "y".repeat(100))));
    await peer.closed;
    assert.ok(sent < 10_000, `${sent} frames were read`);
  });
});

test("A8 header bomb by references to a large table entry: cut off at the decoded size", async () => {
  await underAttack(async (port, under) => {
    const peer = await RawPeer.connect(port);
    const value = "a".repeat(3900);
    const length = Buffer.from([0x7f, ...[value.length - 127].flatMap((n) => [(n & 127) | 128, n >> 7])]);
    const entry = Buffer.concat([Buffer.from([0x40, 1]), Buffer.from("x"), length, Buffer.from(value)]);
    const block = Buffer.concat([literal(":method", "CONNECT"), entry, Buffer.alloc(100_000, 0x80 | 62)]);
    peer.send(frame(HEADERS, END_HEADERS, 1, block));
    await peer.closed;
    assert.equal(abuse(under).length, 1);
  });
});

test("A11 DATA in the same packet as a CONNECT that is refused reaches nobody", async () => {
  let reached = 0;
  installBoth();
  const app = await serve((socket) => socket.on("data", (data) => (reached += data.length)));
  using under = serverEngine(
    () => app.port,
    (event) =>
      event.type === "connect-request"
        ? { conn: event.conn, generation: event.generation, type: "refuse", status: 401 }
        : undefined,
  );
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(frame(HEADERS, END_HEADERS, 1, connectBlock), frame(DATA, 0, 1, Buffer.from("GET / HTTP/1.1\r\n\r\n")));
  while (!peer.frames.some((got) => got.type === RST_STREAM)) await sleep(1);
  assert.equal(peer.frames.find((got) => got.type === RST_STREAM)?.payload.readUInt32BE(), 0);
  await sleep(20);
  peer.socket.destroy();
  await settled(under);
  assert.deepEqual([app.connections.length, reached], [0, 0]);
  app.close();
});

test("A14 zero windows: 200 streams whose peer takes nothing hold no memory of ours", async () => {
  installBoth();
  const app = await serve((socket) => socket.write(Buffer.alloc(4_000_000)));
  using under = serverEngine(() => app.port);
  const peer = await RawPeer.connect(under.listen(2, "hbone"), { bare: true });
  peer.send(preface, frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])));
  for (let i = 0; i < 200; i++) peer.connect(2 * i + 1);
  while (under.events.filter((event) => event.type === "established").length < 200) await sleep(1);
  await sleep(100);
  assert.equal(under.engine.stats().bufferBytes, 0);
  assert.equal(under.engine.stats().streams, 200);
  peer.socket.destroy();
  await settled(under);
  app.close();
});

test("more streams than allowed: refused one by one before the limit was acknowledged, the tunnel's end after", async () => {
  installBoth();
  const app = await serve((socket) => socket.pipe(socket));
  using under = serverEngine(() => app.port);
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  for (let i = 0; i < 220; i++) peer.connect(2 * i + 1);
  while (peer.frames.filter((got) => got.type === RST_STREAM).length < 20) await sleep(1);
  assert.equal(under.engine.stats().streams, 200);
  peer.send(frame(SETTINGS, ACK, 0));
  peer.connect(1001);
  await peer.closed;
  assert.equal(abuse(under).length, 1);
  await settled(under);
  app.close();
});

/** A server in our client's place of trust that answers the preface with `frames`. */
async function hostileServer(
  react: (peer: RawPeer, port: number) => void,
): Promise<{ readonly port: number; close(): void }> {
  const server = tls.createServer(
    { cert: serverLeaf.chainPem, key: serverLeaf.keyPem, ca: ca.pem, requestCert: true, ALPNProtocols: ["h2"] },
    (socket) => react(new RawPeer(socket), 0),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address && typeof address === "object");
  return { port: address.port, close: () => server.close() };
}

const settings = frame(SETTINGS, 0, 0);
const hostileAnswers: readonly (readonly [string, readonly Uint8Array[]])[] = [
  [
    "A10 GOAWAY and no streams allowed",
    [frame(SETTINGS, 0, 0, Buffer.from([0, 3, 0, 0, 0, 0])), frame(GOAWAY, 0, 0, Buffer.alloc(8))],
  ],
  ["a bad HPACK block as response", [settings, frame(HEADERS, END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff]))]],
  ["DATA instead of a response", [settings, frame(DATA, 0, 1, Buffer.from("hello"))]],
  ["a response without status", [settings, frame(HEADERS, END_HEADERS, 1, literal("a", "b"))]],
  ["a refusal", [settings, frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(":status", "503"))]],
  ["RST_STREAM", [settings, frame(RST_STREAM, 0, 1, u32(2))]],
  ["a push", [settings, frame(PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([u32(2), connectBlock]))]],
  ["garbage", [Buffer.alloc(4096, 0xee)]],
];
for (const [what, frames] of hostileAnswers) {
  test(`a hostile server, ${what}: the connection is reset, the engine goes on`, async () => {
    installBoth();
    // After the CONNECT, so that the answer is about it.
    const server = await hostileServer((peer) =>
      peer.socket.once("data", () => setTimeout(() => peer.send(...frames), 5)),
    );
    using under = clientEngine(() => server.port);
    assert.equal(await dialRefused(under.listen(1, "outbound")), "ECONNRESET");
    const closed = await under.event("closed");
    assert.notEqual(closed.cause, "finished");
    server.close();
  });
}
