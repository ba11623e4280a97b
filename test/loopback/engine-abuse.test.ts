// tests · 35 kinds of HTTP/2 abuse by a peer with a valid certificate: a turn takes no more of it than its share, nothing is kept for it,
// a bystander is answered; its budget slows the peer first, and connecting again refills nothing (docs/reference/failures.md, A1, A2, A3, A4, A8).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { clientEngine, clientId, clientLeaf, installBoth, refOf, serverEngine, welcome } from "./hbone-pair.ts";
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
  RawPeer,
  RST_STREAM,
  SETTINGS,
  u32,
  WINDOW_UPDATE,
} from "./raw-h2.ts";
import { dial, type Server, serve } from "./support.ts";
import type { Decide, TestEngine } from "./test-engine.ts";

const { NGHTTP2_ENHANCE_YOUR_CALM } = http2.constants;
/** Of one tunnel in one turn (native/engine/http2/toll.h), and what its last frame may cost beyond: a request and a slice of its fields. */
const MOST_WORK = 512 + 80;
const MOST_REQUESTS = 32;
const MOST_KEPT_BYTES = 2 << 20;

const stream = (index: number): number => 2 * index + 1;
const connect = (id: number, flags = END_HEADERS): Buffer => frame(HEADERS, flags, id, connectBlock);
const reset = (id: number): Buffer => frame(RST_STREAM, 0, id, u32(8));
const with1 = (setting: number, value: number): Buffer => {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(setting, 0);
  payload.writeUInt32BE(value, 2);
  return frame(SETTINGS, 0, 0, payload);
};
const padded = Buffer.concat([Buffer.from([255]), Buffer.alloc(255)]);
const ping = frame(PING, 0, 0, Buffer.alloc(8));
/** A field whose value of 3,900 bytes enters the table, and references to it of one byte each. */
const bomb = Buffer.concat([
  Buffer.from([0x40, 1, 0x78, 0x7f, 0xbd, 0x1d]),
  Buffer.alloc(3_900, 0x61),
  Buffer.alloc(4_000, 0xbe),
]);

/** `open`: a first stream is answered before the rest is sent. */
type Kind = readonly [name: string, times: number, make: (index: number) => Uint8Array, open?: "open"];
const kinds: readonly Kind[] = [
  ["rapid reset", 3_000, (i) => Buffer.concat([connect(stream(i)), reset(stream(i))])],
  ["CONNECTs that are never reset", 3_000, (i) => connect(stream(i))],
  ["CONNECTs with an end", 3_000, (i) => connect(stream(i), END_HEADERS | END_STREAM)],
  ["CONNECTs that nobody serves", 3_000, (i) => frame(HEADERS, END_HEADERS, stream(i), literal(":method", "CONNECT"))],
  [
    "resets by a window update of 0",
    3_000,
    (i) => Buffer.concat([connect(stream(i)), frame(WINDOW_UPDATE, 0, stream(i), u32(0))]),
  ],
  [
    "resets by a window that overflows",
    3_000,
    (i) => Buffer.concat([connect(stream(i)), frame(WINDOW_UPDATE, 0, stream(i), u32(0x7fffffff))]),
  ],
  [
    "resets by forbidden headers",
    3_000,
    (i) => frame(HEADERS, END_HEADERS, stream(i), Buffer.concat([literal(":method", "CONNECT"), literal("Up", "x")])),
  ],
  [
    "resets by a priority that depends on itself",
    3_000,
    (i) =>
      Buffer.concat([
        connect(stream(i)),
        frame(PRIORITY, 0, stream(i), Buffer.concat([u32(stream(i)), Buffer.from([15])])),
      ]),
  ],
  [
    "early DATA",
    3_000,
    (i) => Buffer.concat([connect(stream(i)), frame(DATA, 0, stream(i), Buffer.from("x")), reset(stream(i))]),
  ],
  ["CONTINUATION", 5_000, (i) => (i === 0 ? connect(1, 0) : frame(CONTINUATION, 0, 1, literal("x", "y".repeat(100))))],
  ["empty CONTINUATION", 5_000, (i) => (i === 0 ? connect(1, 0) : frame(CONTINUATION, 0, 1))],
  ["SETTINGS", 20_000, () => frame(SETTINGS, 0, 0)],
  ["SETTINGS that change all windows", 20_000, (i) => with1(4, 1 + (i % 1000)), "open"],
  ["SETTINGS that change the table's size", 20_000, (i) => with1(1, i % 4_096)],
  ["acknowledged SETTINGS that were never sent", 20_000, () => frame(SETTINGS, ACK, 0)],
  ["PING", 20_000, () => ping],
  ["answers to no PING", 20_000, () => frame(PING, ACK, 0, Buffer.alloc(8))],
  ["PRIORITY", 20_000, (i) => frame(PRIORITY, 0, stream(i), Buffer.from([0, 0, 0, 0, 1]))],
  ["unknown frames", 20_000, () => frame(0xbe, 0, 0)],
  ["unknown frames with a payload", 5_000, () => frame(0xbe, 0, 0, Buffer.alloc(1_000))],
  ["WINDOW_UPDATE of the connection", 40_000, () => frame(WINDOW_UPDATE, 0, 0, u32(1))],
  ["WINDOW_UPDATE of a stream", 40_000, () => frame(WINDOW_UPDATE, 0, 1, u32(1)), "open"],
  ["a window of a byte", 5_000, (i) => (i === 0 ? with1(4, 1) : frame(WINDOW_UPDATE, 0, 1, u32(1))), "open"],
  ["a window of nothing", 2_000, (i) => (i === 0 ? with1(4, 0) : frame(DATA, 0, 1, Buffer.alloc(64))), "open"],
  ["DATA of a byte", 20_000, () => frame(DATA, 0, 1, Buffer.from("x")), "open"],
  ["empty DATA", 20_000, () => frame(DATA, 0, 1), "open"],
  ["DATA that is padding", 5_000, () => frame(DATA, 8, 1, padded), "open"],
  ["HPACK references", 200, (i) => frame(HEADERS, END_HEADERS, stream(i), Buffer.concat([connectBlock, bomb]))],
  [
    "many small fields",
    500,
    (i) =>
      frame(
        HEADERS,
        END_HEADERS,
        stream(i),
        Buffer.concat([connectBlock, ...Array.from({ length: 100 }, () => literal("a", "b"))]),
      ),
  ],
  ["DATA after a reset", 10_000, (i) => (i === 0 ? reset(1) : frame(DATA, 0, 1, Buffer.from("x"))), "open"],
  ["a stream that is reset again and again", 20_000, () => reset(1), "open"],
  ["GOAWAY", 20_000, () => frame(GOAWAY, 0, 0, Buffer.alloc(8)), "open"],
];

/** Answers each byte that it gets. */
const echo = (socket: Server["connections"][number]): void => void socket.pipe(socket);

type Abused = { readonly under: TestEngine; readonly port: number; readonly app: Server };

/** A server with a bystander on a tunnel of its own, who is answered again and again while `abuse` runs, and after it. */
async function besideBystander(abuse: (abused: Abused) => Promise<void>): Promise<void> {
  installBoth();
  const app = await serve(echo);
  using under = serverEngine(() => app.port);
  under.engine.setTunnelTimes({ patienceMs: 300, servedOnMs: 200 });
  const port = under.listen(2, "hbone");
  using other = clientEngine(() => port);
  const bystander = await dial(other.listen(1, "outbound"));
  let over = false;
  const talk = async (): Promise<void> => {
    for (let i = 0; !over || i === 0; i++) {
      const word = `word ${i}`;
      bystander.write(word);
      assert.equal(String((await once(bystander, "data"))[0]), word);
      const { bufferBytes } = under.engine.stats();
      assert.ok(bufferBytes <= MOST_KEPT_BYTES, `${bufferBytes} bytes are kept`);
    }
  };
  const talking = talk();
  try {
    await Promise.race([talking, abuse({ under, port, app })]);
  } finally {
    over = true;
  }
  await talking;
  const { mostRequests, mostWork } = under.engine.stats();
  assert.ok(mostRequests <= MOST_REQUESTS, `${mostRequests} CONNECTs in a turn`);
  assert.ok(mostWork <= MOST_WORK, `${mostWork} units of work in a turn`);
  while (under.engine.stats().tunnels > 1) await sleep(5);
  assert.equal(under.engine.stats().bufferBytes, 0);
  bystander.destroy();
  app.close();
}

/** A peer with an answered stream 1. */
async function opened(port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port);
  peer.connect(1);
  while (!peer.frames.some(({ type, stream }) => type === HEADERS && stream === 1)) await sleep(1);
  return peer;
}

/** What the engine has read of a flood is bounded by time alone, so it is left to go on for a moment and then ended. */
async function flooded(peer: RawPeer, times: number, make: (index: number) => Uint8Array): Promise<void> {
  await peer.flood(times, make);
  await Promise.race([peer.closed, sleep(200)]);
  peer.socket.destroy();
}

for (const [name, times, make, open] of kinds) {
  test(`abuse by ${name}: bounded in each turn, and nobody else is disturbed`, () =>
    besideBystander(async ({ port }) => {
      const peer = open ? await opened(port) : await RawPeer.connect(port);
      await flooded(peer, times, make);
    }));
}

test("abuse by connecting again: what the last tunnel used up is used up", () =>
  besideBystander(async ({ under, port }) => {
    for (let i = 0; i < 20; i++) {
      const peer = await RawPeer.connect(port);
      await flooded(peer, 100, () => ping);
    }
    // 200 at once and 50 a second: 20 tunnels would have had all of theirs.
    assert.ok(under.engine.stats().slowedTotal > 0);
  }));

test("abuse by connections that are no TLS: they wait for their turn, and so does the handshake of a good peer there", () =>
  besideBystander(async ({ under, port }) => {
    const connectOnce = async (): Promise<void> => {
      const socket = await dial(port);
      const closed = once(socket, "close");
      socket.end("no TLS");
      socket.resume();
      await closed;
    };
    // 500 at once and 200 a second; a good peer is served when the others have had theirs.
    for (let i = 0; i < 200 && under.engine.stats().slowedTotal === 0; i++) {
      await Promise.all(Array.from({ length: 50 }, connectOnce));
    }
    assert.ok(under.engine.stats().slowedTotal > 0);
    const peer = await opened(port);
    peer.socket.destroy();
  }));

/** An OpenSSL that updates its key, and asks for another, as long as `goesOn` says so. */
async function updateKeys(port: number, goesOn: () => boolean): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), "orlop-abuse-"));
  try {
    const [cert, key] = [path.join(folder, "cert.pem"), path.join(folder, "key.pem")];
    writeFileSync(cert, clientLeaf.chainPem);
    writeFileSync(key, clientLeaf.keyPem);
    const argv = ["s_client", "-connect", `127.0.0.1:${port}`, "-alpn", "h2", "-cert", cert, "-key", key];
    // What it reads at once is a single command to it: a terminal gives it a line at a time, a pipe all that has come.
    const onTerminal = ["-c", "import pty, sys; pty.spawn(sys.argv[1:])", "openssl", ...argv];
    const client = spawn("python3", onTerminal, { stdio: ["pipe", "pipe", "ignore"] });
    client.stdin.on("error", () => {});
    await once(client.stdout, "data");
    // Its command for that.
    for (let i = 0; i < 4_000 && goesOn() && client.exitCode === null; i++) {
      client.stdin.write("K\n".repeat(20));
      await sleep(1);
    }
    client.kill();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("abuse by key updates: counted, and slowed", () =>
  besideBystander(async ({ under, port }) => {
    await updateKeys(port, () => under.engine.stats().slowedTotal === 0);
    assert.ok(under.engine.stats().slowedTotal > 0);
  }));

// The budget.

const abuseOf = (under: TestEngine): string[] =>
  under.events.flatMap((event) => (event.type === "tunnel-abused" ? [event.reason] : []));

/** A server engine alone; connections come out at an echo. */
async function alone(
  during: (abused: Abused) => Promise<void>,
  times: { patienceMs?: number; servedOnMs?: number } = {},
  before?: Decide,
): Promise<void> {
  installBoth();
  const app = await serve(echo);
  using under = serverEngine(() => app.port, before);
  under.engine.setTunnelTimes(times);
  await during({ under, port: under.listen(2, "hbone"), app });
  app.close();
}

/** Stream 1 gives back what it is sent. */
async function assertEchoed(peer: RawPeer, word: string): Promise<void> {
  peer.send(frame(DATA, 0, 1, Buffer.from(word)));
  const said = (): string =>
    Buffer.concat(
      peer.frames.filter(({ type, stream }) => type === DATA && stream === 1).map(({ payload }) => payload),
    ).toString();
  while (!said().endsWith(word)) {
    assert.equal(peer.socket.destroyed, false, "the tunnel has ended");
    await sleep(1);
  }
}

const aborts = (from: number, count: number): Buffer =>
  Buffer.concat(
    Array.from({ length: count }, (_, i) => Buffer.concat([connect(stream(from + i)), reset(stream(from + i))])),
  );

test("300 aborts beside a long stream, as a client sends them that aborts at once: neither slowed nor ended", () =>
  alone(async ({ under, port }) => {
    const peer = await opened(port);
    peer.send(aborts(1, 300));
    await assertEchoed(peer, "still there");
    assert.equal(under.engine.stats().slowedTotal, 0);
    peer.socket.destroy();
  }));

test("more aborts than the budget: slowed, and the long stream lives", () =>
  alone(async ({ under, port }) => {
    const peer = await opened(port);
    for (let i = 0; i < 25; i++) peer.send(aborts(1 + 100 * i, 100));
    await assertEchoed(peer, "still there");
    assert.ok(under.engine.stats().slowedTotal > 0);
    assert.deepEqual(abuseOf(under), []);
    peer.socket.destroy();
  }));

test("a peer that goes on: GOAWAY(ENHANCE_YOUR_CALM) with the last stream taken, and open streams are served on for a while", () =>
  alone(
    async ({ under, port }) => {
      const peer = await opened(port);
      const goaway = () => peer.frames.find(({ type }) => type === GOAWAY);
      let sent = 0;
      const goesOn = (count: number): void => {
        sent += count;
        peer.send(...Array.from({ length: count }, () => ping));
      };
      goesOn(270);
      for (; !goaway(); await sleep(1)) {
        // A machine that stops for a while may leave so much time between them that they were not too many.
        if (peer.frames.filter(({ type }) => type === PING).length === sent) goesOn(70);
      }
      const payload = goaway()?.payload;
      assert.deepEqual([payload?.readUInt32BE(0), payload?.readUInt32BE(4)], [1, NGHTTP2_ENHANCE_YOUR_CALM]);
      assert.deepEqual(abuseOf(under), ["PING or SETTINGS flood"]);
      // Beyond the last id: passed over. The open stream is served.
      peer.connect(3);
      await assertEchoed(peer, "served on");
      assert.equal(under.engine.stats().streams, 1);
      await peer.closed;
      assert.equal(under.closed().at(-1)?.cause, "protocol-error");
    },
    { patienceMs: 500, servedOnMs: 5_000 },
  ));

test("a peer that goes on with key updates: its tunnel ends", () =>
  alone(
    async ({ under, port }) => {
      await updateKeys(port, () => under.closed().length === 0 && abuseOf(under).length === 0);
      assert.deepEqual(abuseOf(under), ["key update flood"]);
    },
    { patienceMs: 200 },
  ));

test("the budget is of an identity at an address: connecting again refills nothing, and another identity has its own", () => {
  let identity = 7;
  return alone(
    async ({ under, port }) => {
      const spent = await RawPeer.connect(port);
      spent.send(...Array.from({ length: 300 }, () => ping));
      while (under.engine.stats().slowedTotal === 0) await sleep(1);
      spent.socket.destroy();
      await spent.closed;
      while (under.engine.stats().tunnels > 0) await sleep(1);

      const pongs = (peer: RawPeer): number => peer.frames.filter(({ type }) => type === PING).length;
      identity = 8;
      const other = await RawPeer.connect(port);
      const before = under.engine.stats().slowedTotal;
      other.send(...Array.from({ length: 150 }, () => ping));
      while (pongs(other) < 150) await sleep(1);
      assert.equal(under.engine.stats().slowedTotal, before);
      other.socket.destroy();

      identity = 7;
      const again = await RawPeer.connect(port);
      again.send(...Array.from({ length: 199 }, () => ping));
      while (pongs(again) < 199) await sleep(1);
      assert.ok(under.engine.stats().slowedTotal > before);
      again.socket.destroy();
    },
    {},
    (event) =>
      welcome(event, clientId)?.type === "peer" && event.type === "peer-certificate"
        ? { ...refOf(event), type: "peer", peerIdentity: identity }
        : undefined,
  );
});
