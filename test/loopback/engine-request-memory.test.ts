// tests · what connections that are read keep of the engine's memory: nothing while they are idle, whatever heads they had, and nothing when
// a caller cancels its stream while an answer waits for it.
import assert from "node:assert/strict";
import { once } from "node:events";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { EngineEvent } from "../../agent/engine/events.ts";
import { installBoth, refOf, serverEngine } from "./hbone-pair.ts";
import { DATA, frame, HEADERS, RawPeer, RST_STREAM, SETTINGS, u32 } from "./raw-h2.ts";
import { byPath, forward, reads, ways } from "./read-engine.ts";
import { dial, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const IDLE = 60;

const countOf = (engine: TestEngine, type: EngineEvent["type"]): number =>
  engine.events.filter((event) => event.type === type).length;

/** Sends `text` in pieces, most of which the engine reads apart, and waits for the answer. */
async function asks(socket: net.Socket, text: string): Promise<void> {
  const answer = once(socket, "data") as Promise<[Buffer]>;
  for (let at = 0; at < text.length; ) {
    const next = at === 0 ? 20 : at + 30_000;
    socket.write(text.slice(at, next));
    at = next;
    await sleep(1);
  }
  assert.match((await answer)[0].toString(), /^HTTP\/1\.1 200 /);
}

for (const way of ways) {
  test(`${way}: an idle connection keeps no memory of the heads and bodies that went before`, async () => {
    const app = await serve((socket) => {
      let heard = "";
      socket.setNoDelay(true);
      socket.on("data", (data) => {
        heard += data.toString("latin1");
        // Of the POST its body, which may come apart.
        if (!heard.endsWith(heard.startsWith("POST") ? "\r\n0\r\n\r\n" : "\r\n\r\n")) return;
        heard = "";
        // In two parts, so that the head is held until it is whole.
        socket.write(OK.slice(0, 20), () => socket.write(OK.slice(20)));
      });
    });
    using under = reads(way, app.port, forward);
    const sockets: net.Socket[] = [];
    for (let nth = 0; nth < IDLE; nth++) {
      const socket = await dial(under.port);
      socket.setNoDelay(true);
      sockets.push(socket);
      await asks(socket, `GET /large HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(50_000)}\r\n\r\n`);
      await asks(socket, "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    }
    while (countOf(under.engine, "request-ended") < 2 * IDLE) await sleep(2);
    const { connections, bufferBytes } = under.engine.engine.stats();
    assert.deepEqual([connections, bufferBytes], [IDLE, 0]);
    for (const socket of sockets) socket.destroy();
    while (under.engine.engine.stats().connections > 0) await sleep(2);
    assert.equal(under.engine.engine.stats().bufferBytes, 0);
    app.close();
  });
}

test("a stream that its caller cancels while an answer waits for it gives everything back, and ends its request and its application", async () => {
  const app = await serve((socket) => {
    socket.on("end", () => socket.end());
    socket.on("data", (data) => {
      if (data.includes("/half")) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n${"x".repeat(50_000)}`);
      else if (!data.includes("/silent")) socket.write(OK);
      if (data.includes("/last")) socket.end();
    });
  });
  installBoth();
  using engine = serverEngine(
    () => app.port,
    (event) => {
      if (event.type === "request") return byPath(event);
      if (event.type !== "connect-request") return undefined;
      const to = { address: "127.0.0.1", port: app.port };
      return { ...refOf(event), type: "dial", podIdx: 2, to, from: null, baggage: "", reading: "or-end" };
    },
  );
  const peer = await RawPeer.connect(engine.listen(2, "hbone"));
  // SETTINGS_INITIAL_WINDOW_SIZE = 0: what is answered waits in the engine.
  peer.send(frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(0)])));
  const head = (path: string, fields = ""): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
  const kept = (): number => engine.engine.stats().bufferBytes;
  const ended = (): number => countOf(engine, "request-ended");
  /** What is sent, and how many of its requests have ended when their answers wait. */
  const sent: readonly (readonly [text: string, answered: number])[] = [
    [head("/whole"), 1],
    [head("/last", "Connection: close\r\n"), 1],
    [head("/denied"), 1],
    ["POST /denied HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 1],
    [head("/refused", "Host: b\r\n"), 1],
    [`${head("/whole")}${head("/next")}`, 2],
    [head("/half"), 0],
    [head("/silent"), 0],
  ];
  let stream = 1;
  // CANCEL, NO_ERROR and INTERNAL_ERROR (RFC 9113 section 7).
  for (const code of [8, 0, 2]) {
    for (const [text, answered] of sent) {
      const before = ended();
      const dialled = app.connections.length;
      peer.connect(stream);
      while (!peer.frames.some((found) => found.type === HEADERS && found.stream === stream)) await sleep(2);
      while (app.connections.length === dialled) await sleep(2);
      const served = app.connections[dialled] ?? assert.fail();
      peer.send(frame(DATA, 0, stream, Buffer.from(text)));
      while (ended() < before + answered) await sleep(2);
      if (text.includes("/half")) while (kept() < 50_000) await sleep(2);
      if (text.includes("/silent")) while (served.bytesRead === 0) await sleep(2);
      else assert.ok(kept() > 0, "an answer waits");
      const closed = engine.closed().length;
      peer.send(frame(RST_STREAM, 0, stream, u32(code)));
      while (engine.closed().length === closed) await sleep(2);
      const { connections, streams, bufferBytes } = engine.engine.stats();
      assert.deepEqual([connections, streams, bufferBytes], [0, 0, 0], `code ${code}: ${text}`);
      if (!served.closed) await once(served, "close");
      stream += 2;
    }
  }
  const requests = new Set(
    engine.events.flatMap((event) =>
      event.type === "request" ? [`${event.conn}/${event.generation}/${event.request}`] : [],
    ),
  );
  // Of each code one head was refused, which is no request for TypeScript to judge.
  assert.equal(ended(), requests.size + 3);
  assert.ok(peer.frames.every(({ type }) => type !== DATA));
  assert.deepEqual(engine.errors, []);
  peer.socket.destroy();
  app.close();
});
