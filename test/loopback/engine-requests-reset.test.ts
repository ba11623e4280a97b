// tests · an application resets its connection, behind an answer or in the midst of it: what it said before arrives, and what is whole looks whole.
import assert from "node:assert/strict";
import type net from "node:net";
import test from "node:test";
import { pair } from "./hbone-pair.ts";
import { answered } from "./heard-frames.ts";
import { onTheirWay } from "./on-their-way.ts";
import { serves } from "./origin-engine.ts";
import { DATA, END_STREAM, frame, RawPeer, RST_STREAM, u32 } from "./raw-h2.ts";
import { reads, ways } from "./read-engine.ts";
import { ended } from "./read-requests.ts";
import { dial, howItEnds, serve } from "./support.ts";
import { until } from "./until.ts";

/** In a single turn of the event loop, so that the engine, which shares it, finds the bytes and the reset together. */
function writeAndReset(socket: net.Socket, port: number, text: string): void {
  socket.write(text);
  while (onTheirWay(port) > 0);
  socket.resetAndDestroy();
}

async function heardOf(socket: net.Socket): Promise<{ readonly text: string; readonly end: string }> {
  const pieces: Buffer[] = [];
  socket.on("data", (data) => pieces.push(data));
  const end = await howItEnds(socket);
  return { text: Buffer.concat(pieces).toString("latin1"), end };
}

const answer = (bytes: number, promised = bytes): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${promised}\r\n\r\n${"x".repeat(bytes)}`;
const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

for (const way of ways) {
  test(`${way}: all of an answer arrives that an application sent before it reset the connection`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => {
        socket.write(answer(300_000), async () => {
          // A reset takes back what has not left.
          await until(() => onTheirWay(app.port) === 0);
          socket.resetAndDestroy();
        });
      });
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write(get);
    const { text, end } = await heardOf(socket);
    assert.equal(text.length, answer(300_000).length);
    assert.equal(end, "end");
    assert.equal(ended(under)[0]?.outcome, "answered");
    app.close();
  });

  test(`${way}: an answer and the reset behind it, met together`, async () => {
    const app = await serve((socket) => socket.once("data", () => writeAndReset(socket, app.port, answer(1_000))));
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write(get);
    assert.deepEqual(await heardOf(socket), { text: answer(1_000), end: "end" });
    assert.equal(ended(under)[0]?.outcome, "answered");
    app.close();
  });

  test(`${way}: the part of an answer that came before a reset arrives, and a reset behind it`, async () => {
    const part = answer(1_000, 2_000);
    const app = await serve((socket) => socket.once("data", () => writeAndReset(socket, app.port, part)));
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write(get);
    assert.deepEqual(await heardOf(socket), { text: part, end: "ECONNRESET" });
    assert.equal(ended(under)[0]?.outcome, "reset-by-upstream");
    app.close();
  });

  test(`${way}: an answer that came before its request was whole arrives from an application that resets the rest`, async () => {
    const app = await serve((socket) =>
      socket.once("data", () => writeAndReset(socket, app.port, answer(1_000).replace("200 OK", "413 Too Large"))),
    );
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegins");
    const { text, end } = await heardOf(socket);
    assert.match(text, /^HTTP\/1\.1 413 [\s\S]*x{1000}$/);
    assert.equal(end, "end");
    assert.equal(ended(under)[0]?.outcome, "answered");
    app.close();
  });

  test(`${way}: a reset in place of the second answer leaves the first whole`, async () => {
    const app = await serve((socket) => {
      let requests = 0;
      socket.on("data", (data) => {
        requests += data.toString().split("GET /").length - 1;
        if (requests === 1) socket.write(answer(1_000));
        else socket.resetAndDestroy();
      });
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write(get + get);
    assert.equal((await heardOf(socket)).text, answer(1_000));
    assert.deepEqual(
      ended(under).map(({ outcome }) => outcome),
      ["answered", "reset-by-upstream"],
    );
    app.close();
  });
}

for (const way of ["direct", "tunnel"] as const) {
  const whole = answer(1_000);
  const asked = get.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");

  test(`origin, ${way}: an answer, or the part of it that came, arrives from an origin that resets behind it`, async () => {
    for (const said of [whole, answer(1_000, 2_000)]) {
      const app = await serve((socket) => socket.once("data", () => writeAndReset(socket, app.port, said)));
      using under = serves(way, [app.port]);
      const socket = await dial(under.port);
      socket.write(asked);
      const { text, end } = await heardOf(socket);
      assert.equal(text.replace(/connection: close\r\n/i, ""), said);
      assert.equal(end, said === whole ? "end" : "ECONNRESET");
      app.close();
    }
  });

  test(`origin, ${way}: an answer that came before its request was whole arrives from an origin that resets the rest`, async () => {
    const app = await serve((socket) => socket.once("data", () => writeAndReset(socket, app.port, whole)));
    using under = serves(way, [app.port]);
    const socket = await dial(under.port);
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegins");
    assert.deepEqual(await heardOf(socket), { text: whole, end: "end" });
    app.close();
  });
}

test("what an application said on a connection that is not read arrives through a tunnel, and its reset behind it", async () => {
  const app = await serve((socket) => socket.once("data", () => writeAndReset(socket, app.port, "-ERR too many\r\n")));
  using both = pair(app.port);
  const socket = await dial(both.port);
  socket.write("PING\r\n");
  assert.deepEqual(await heardOf(socket), { text: "-ERR too many\r\n", end: "ECONNRESET" });
  app.close();
});

test("a peer's bytes and its reset in a single record: both arrive, in their order", async () => {
  const [connectError, cancel] = [10, 8];
  for (const [flags, code, expected] of [
    [0, connectError, "ECONNRESET"],
    // Its half was whole before, and it only takes no more (RFC 9113 section 8.1).
    [END_STREAM, cancel, "end"],
  ] as const) {
    let heard: Promise<{ readonly text: string; readonly end: string }> | undefined;
    const app = await serve((socket) => {
      heard = heardOf(socket);
    });
    using both = pair(app.port);
    const peer = await RawPeer.connect(both.hbonePort);
    peer.connect(1);
    await until(() => answered(peer, 1) && heard !== undefined, "the CONNECT is answered");
    peer.send(frame(DATA, flags, 1, Buffer.from("last words")), frame(RST_STREAM, 0, 1, u32(code)));
    assert.deepEqual(await heard, { text: "last words", end: expected });
    app.close();
  }
});
