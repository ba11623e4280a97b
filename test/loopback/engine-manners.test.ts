// tests · what a peer may count on: a tunnel that is ended for a violation says why, and a connection that breaks never looks like an end.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { ca, clientEngine, clientLeaf, installBoth, pair, serverEngine, serverLeaf } from "./hbone-pair.ts";
import { answered, code, dataOf, goaways, heard, resets } from "./heard-frames.ts";
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
  SETTINGS,
  u32,
  WINDOW_UPDATE,
} from "./raw-h2.ts";
import { dial, dialRefused, howItEnds, readAll, serve } from "./support.ts";
import { until } from "./until.ts";

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
    await until(() => answered(peer, stream), "the answer");
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers));
    await until(() => resets(peer).length > i, "the reset");
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
  await until(() => dataOf(peer, 7).text === "hello", "the application's word");
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
  await until(() => answered(peer, 1), "the answer");
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
  await until(() => under.engine.stats().tunnels === 0, "the tunnel's end");
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
  await until(() => Buffer.concat(got).subarray(-farewell.length).equals(farewell), "the GOAWAY");
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
      await until(() => app.connections.length > i, "the application's connection");
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
