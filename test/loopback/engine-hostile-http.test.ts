// tests · callers and applications that misuse HTTP/1 on a connection that is read: slow heads, sides that never read, resets at every
// byte. What they cost is bounded and given back, and each loses its own connection at most (docs/reference/failures.md, A12, A14, A17).
import assert from "node:assert/strict";
import { once } from "node:events";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { RequestEvent } from "../../agent/engine/events.ts";
import { clientEngine, installBoth, refOf, serverEngine } from "./hbone-pair.ts";
import { DATA, frame, HEADERS, RawPeer, RST_STREAM, SETTINGS, u32, WINDOW_UPDATE } from "./raw-h2.ts";
import { application, byPath, forward, reads, ways } from "./read-engine.ts";
import { dial, howItEnds, readAll, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";

const HEAD = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/** A caller whose one connection must answer before, while and after others misuse theirs. */
class Bystander {
  readonly #socket: net.Socket;
  private constructor(socket: net.Socket) {
    this.#socket = socket;
  }
  static async at(port: number): Promise<Bystander> {
    return new Bystander(await dial(port));
  }
  async asks(): Promise<void> {
    this.#socket.write("GET /bystander HTTP/1.1\r\nHost: a\r\n\r\n");
    let heard = "";
    while (!heard.endsWith("bystander")) {
      const [data] = (await once(this.#socket, "data")) as [Buffer];
      heard += data.toString("latin1");
    }
    assert.match(heard, /^HTTP\/1\.1 200 /);
  }
  async leaves(): Promise<void> {
    const end = howItEnds(this.#socket);
    this.#socket.end();
    assert.equal(await end, "end");
  }
}

/** All but `connections` have ended, each once, with its requests; nothing of them is kept. */
async function settled(engine: TestEngine, connections: number): Promise<void> {
  for (let i = 0; i < 6_000; i++) {
    const stats = engine.engine.stats();
    if (stats.connections <= connections && stats.bufferBytes === 0) break;
    await sleep(5);
  }
  const stats = engine.engine.stats();
  assert.deepEqual([stats.connections, stats.bufferBytes], [connections, 0]);
  const key = ({ conn, generation }: { readonly conn: number; readonly generation: number }): string =>
    `${conn}/${generation}`;
  const closed = engine.closed().map(key);
  assert.equal(new Set(closed).size, closed.length, "a connection ends once");
  const ends = engine.events.flatMap((event) =>
    event.type === "request-ended" ? [`${key(event)}/${event.request}`] : [],
  );
  assert.equal(new Set(ends).size, ends.length, "a request ends once");
  const open = engine.events.filter(
    (event) => event.type === "request" && !ends.includes(`${key(event)}/${event.request}`),
  );
  assert.deepEqual(open, [], "each request ends");
  assert.deepEqual(engine.errors, []);
}

/** Until what `measure` gives has not changed for a while. */
async function still(measure: () => number): Promise<number> {
  let last = measure();
  for (let same = 0; same < 20; ) {
    await sleep(5);
    const now = measure();
    same = now === last ? same + 1 : 0;
    last = now;
  }
  return last;
}

const small = (): ReturnType<typeof application> =>
  application(
    (request, response) => {
      request.resume();
      request.on("end", () => response.end((request.url ?? "").slice(1)));
      request.on("error", () => {
        // The caller has left.
      });
    },
    // It would end the bystander's connection, which is idle for longer than Node's five seconds on a slow machine.
    { keepAliveTimeout: 0 },
  );

/** What a connection may keep in the engine: 64 KiB on the way to each side, what a turn has read beyond that, and a head. */
const MOST_KEPT = 512 * 1024;
/** And of a tunnel's stream what its peer may send unread (native/engine/tunnel/tunnel.cc). */
const STREAM_WINDOW = 4 << 20;

for (const way of ways) {
  test(`${way}: callers that leave or reset at every byte of what they send`, async () => {
    const app = await small();
    let late = false;
    using under = reads(way, app.port, (event: RequestEvent) => {
      if (!late) return byPath(event);
      // By then the caller may have gone.
      void turn()
        .then(turn)
        .then(() => under.engine.engine.answer(forward(event) ?? assert.fail()));
      return undefined;
    });
    const bystander = await Bystander.at(under.port);
    await bystander.asks();
    const sent = [
      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
      "POST /denied HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
      HEAD,
    ].join("");
    for (late of [false, true]) {
      for (const resets of [true, false]) {
        for (let from = 0; from <= sent.length; from += 32) {
          const some = Array.from({ length: Math.min(32, sent.length + 1 - from) }, async (_, nth) => {
            const socket = await dial(under.port);
            const ended = new Promise((resolve) => socket.once("close", resolve));
            socket.resume();
            socket.write(sent.slice(0, from + nth));
            // Some resets come before the engine has read anything, some behind.
            for (let turns = nth % 4; turns > 0; turns--) await turn();
            if (resets) socket.resetAndDestroy();
            else socket.end();
            socket.once("end", () => socket.destroy());
            await ended;
          });
          await Promise.all(some);
        }
        await bystander.asks();
      }
    }
    await settled(under.engine, 1);
    await bystander.leaves();
  });

  test(`${way}: applications that end or reset at every byte of an answer`, async () => {
    const answer = [
      "HTTP/1.1 100 Continue\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a\r\nread\r\n0\r\nX-Sum: 1\r\n\r\n",
    ].join("");
    let length = 0;
    let resets = false;
    const app = await serve((socket) => {
      socket.once("data", (data) => {
        if (data.includes("/bystander")) {
          socket.on("end", () => socket.end());
          const ok = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbystander";
          socket.write(ok);
          return void socket.on("data", () => socket.write(ok));
        }
        const [bytes, ends] = [answer.slice(0, length), resets];
        socket.write(bytes, () => (ends ? socket.resetAndDestroy() : socket.end()));
      });
    });
    using under = reads(way, app.port);
    const bystander = await Bystander.at(under.port);
    for (resets of [false, true]) {
      for (length = 0; length <= answer.length; length++) {
        const socket = await dial(under.port);
        const heard: Buffer[] = [];
        socket.on("data", (data) => heard.push(data));
        socket.write("POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
        const end = await howItEnds(socket);
        const text = Buffer.concat(heard).toString("latin1");
        // Nothing that was cut looks whole.
        if (length < answer.length && /HTTP\/1\.1 200 /.test(text)) assert.equal(end, "ECONNRESET", text);
        socket.destroy();
      }
      await bystander.asks();
    }
    await settled(under.engine, 1);
    await bystander.leaves();
    app.close();
  });

  test(`${way}: a caller that never reads, and an application that never reads`, async () => {
    const size = 24_000_000;
    const most = 4 * (way === "tunnel" ? STREAM_WINDOW + MOST_KEPT : MOST_KEPT);
    const app = await serve((socket) => {
      socket.once("data", (data) => {
        if (data.includes("/never")) return void socket.pause();
        const length = data.includes("/large") ? size : 9;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`);
        socket.write(length === size ? Buffer.alloc(size) : "bystander");
        socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbystander"));
        socket.on("end", () => socket.end());
      });
    });
    using under = reads(way, app.port);
    const bystander = await Bystander.at(under.port);
    await bystander.asks();
    const kept = (): number => under.engine.engine.stats().bufferBytes;

    const callers = await Promise.all(Array.from({ length: 4 }, () => dial(under.port)));
    for (const socket of callers) {
      socket.pause();
      socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    while (under.engine.events.filter(({ type }) => type === "request").length < 5) await sleep(5);
    assert.ok((await still(kept)) <= most, `callers that never read: ${kept()}`);
    await bystander.asks();
    for (const socket of callers.slice(0, 2)) socket.resetAndDestroy();
    // The others read after all, and have lost nothing.
    for (const socket of callers.slice(2)) {
      let heard = 0;
      const all = new Promise<void>((resolve) => {
        socket.on("data", (data) => {
          heard += data.length;
          if (heard >= size) resolve();
        });
      });
      socket.resume();
      await all;
      socket.resetAndDestroy();
    }
    await settled(under.engine, 1);

    const senders = await Promise.all(Array.from({ length: 4 }, () => dial(under.port)));
    for (const socket of senders) {
      socket.write(`POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
      socket.write(Buffer.alloc(size));
    }
    await still(() =>
      senders.reduce((sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength, 0),
    );
    assert.ok((await still(kept)) <= most, `an application that never reads: ${kept()}`);
    await bystander.asks();
    for (const socket of senders) socket.resetAndDestroy();
    await settled(under.engine, 1);
    await bystander.leaves();
    app.close();
  });
}

test("heads that come byte by byte end at the deadline of a head, and cost what they have sent", async () => {
  const app = await small();
  using under = reads("tunnel", app.port);
  const bystander = await Bystander.at(under.port);
  const slow = await Promise.all(Array.from({ length: 200 }, () => dial(under.port)));
  const ends = Promise.all(slow.map(async (socket) => (await readAll(socket)).toString("latin1")));
  const head = `GET /x HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(10_000)}\r\n\r\n`;
  let at = 0;
  // Bytes go on coming until the engine has had enough.
  const more = setInterval(() => {
    for (const socket of slow) if (socket.writable) socket.write(head[at] ?? "x");
    at++;
  }, 100);
  await bystander.asks();
  assert.ok(under.engine.engine.stats().bufferBytes <= 200 * 4_096);
  const heard = await ends;
  clearInterval(more);
  for (const text of heard) assert.match(text, /^HTTP\/1\.1 408 /);
  await bystander.asks();
  for (const socket of slow) socket.destroy();
  await settled(under.engine, 1);
  await bystander.leaves();
});

test("a peer whose window is shut for each of its streams", async () => {
  const app = await serve((socket) => {
    socket.on("end", () => socket.end());
    socket.on("data", (data) => {
      const body = data.includes("/bystander") ? "bystander" : "x".repeat(1_000_000);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  installBoth();
  using engine = serverEngine(
    () => app.port,
    (event) => {
      if (event.type === "request") return forward(event);
      if (event.type !== "connect-request") return undefined;
      const to = { address: "127.0.0.1", port: app.port };
      return { ...refOf(event), type: "dial", podIdx: 2, to, from: null, baggage: "", reading: "or-end" };
    },
  );
  const port = engine.listen(2, "hbone");
  using client = clientEngine(() => port);
  const bystander = await Bystander.at(client.listen(1, "outbound"));
  await bystander.asks();
  const requests = (): number => engine.events.filter(({ type }) => type === "request").length;

  const peer = await RawPeer.connect(port);
  // SETTINGS_INITIAL_WINDOW_SIZE = 0.
  peer.send(frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(0)])));
  const streams = Array.from({ length: 20 }, (_, nth) => 2 * nth + 1);
  for (const stream of streams) peer.connect(stream);
  while (peer.frames.filter(({ type }) => type === HEADERS).length < streams.length) await sleep(5);
  for (const stream of streams) peer.send(frame(DATA, 0, stream, Buffer.from(HEAD)));
  while (requests() < 1 + streams.length) await sleep(5);
  const kept = await still(() => engine.engine.stats().bufferBytes);
  assert.ok(kept <= streams.length * MOST_KEPT, String(kept));
  assert.equal(peer.frames.filter(({ type }) => type === DATA).length, 0);
  await bystander.asks();
  // The window of a stream opens, and that stream alone goes on.
  peer.send(frame(WINDOW_UPDATE, 0, 1, u32(1_000)));
  while (!peer.frames.some(({ type }) => type === DATA)) await sleep(5);
  assert.ok(peer.frames.every(({ type, stream }) => type !== DATA || stream === 1));
  for (const stream of streams) peer.send(frame(RST_STREAM, 0, stream, u32(8)));
  await bystander.asks();
  await settled(engine, 1);
  await bystander.leaves();
  peer.socket.destroy();
  app.close();
});
