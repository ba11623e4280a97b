// tests · two engines back to back: mTLS, one tunnel, CONNECT, bytes, every way to end.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { clientId, pair } from "./hbone-pair.ts";
import { CLOSED_PORT, dial, howItEnds, readAll, serve } from "./support.ts";
import { until } from "./until.ts";

test("one connection through a tunnel: bytes, events, counters", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using tunnel = pair(app.port);
  const socket = await dial(tunnel.port);
  const payload = randomBytes(1_000_000);
  socket.end(payload);
  assert.deepEqual(await readAll(socket), payload);
  const request = await tunnel.server.event("connect-request");
  assert.equal(request.authority, "127.0.0.1:80");
  assert.equal(request.baggage, "k8s.namespace.name=default");
  assert.equal(request.forwarded, 'for="10.0.0.1:1234"');
  assert.equal(request.traceparent.length, 55);
  assert.equal(request.peerIdentity, 7);
  assert.equal(request.peer.address, "127.0.0.1");
  const certificate = await tunnel.server.event("peer-certificate");
  assert.equal(certificate.role, "server");
  assert.ok(Buffer.from(certificate.leaf).includes(clientId));
  assert.equal((await tunnel.client.event("established")).baggage, "k8s.namespace.name=server");
  for (const side of [tunnel.client, tunnel.server]) {
    const closed = await side.event("closed");
    assert.equal(closed.cause, "finished");
    assert.equal(closed.sentBytes, payload.length);
    assert.equal(closed.receivedBytes, payload.length);
  }
  assert.equal(tunnel.client.engine.stats().tunnelsDialledTotal, 1);
  app.close();
});

test("TCP's measurements of an open stream are its tunnel's, at both ends", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using tunnel = pair(app.port);
  const socket = await dial(tunnel.port);
  socket.write("hello");
  await once(socket, "data");
  const accepted = await tunnel.client.event("accepted");
  const request = await tunnel.server.event("connect-request");
  for (const [engine, connection, side] of [
    [tunnel.client.engine, accepted, "upstream"],
    [tunnel.server.engine, request, "downstream"],
  ] as const) {
    const measured = engine.transport(connection, side);
    assert.ok(measured !== undefined && measured.rttUs > 0, side);
  }
  socket.destroy();
  app.close();
});

for (const size of [0, 1, 16_383, 16_384, 16_385, 65_536, 1_048_577]) {
  test(`${size} bytes each way arrive exactly`, async () => {
    const up = randomBytes(size);
    const down = randomBytes(size);
    const app = await serve(async (socket) => {
      socket.write(down);
      assert.deepEqual(await readAll(socket), up);
      socket.end();
    });
    using tunnel = pair(app.port);
    const socket = await dial(tunnel.port);
    socket.end(up);
    assert.deepEqual(await readAll(socket), down);
    assert.equal((await tunnel.client.event("closed")).cause, "finished");
    app.close();
  });
}

test("1 GiB both ways at once, checksummed", { timeout: 600_000 }, async () => {
  const block = randomBytes(1 << 20);
  const count = 1024;
  const send = async (socket: import("node:net").Socket): Promise<string> => {
    const hash = createHash("sha256");
    for (let i = 0; i < count; i++) {
      block.writeUInt32LE(i, 0);
      const part = Buffer.from(block);
      hash.update(part);
      if (!socket.write(part)) await once(socket, "drain");
    }
    socket.end();
    return hash.digest("hex");
  };
  const receive = async (socket: import("node:net").Socket): Promise<string> => {
    const hash = createHash("sha256");
    for await (const chunk of socket) hash.update(chunk);
    return hash.digest("hex");
  };
  const results: Promise<string>[] = [];
  const app = await serve((socket) => results.push(send(socket), receive(socket)));
  using tunnel = pair(app.port);
  const socket = await dial(tunnel.port);
  const [sent, received] = await Promise.all([send(socket), receive(socket)]);
  const [sentBack, receivedThere] = await Promise.all(results);
  assert.equal(sent, receivedThere);
  assert.equal(sentBack, received);
  assert.equal((await tunnel.client.event("closed")).sentBytes, count << 20);
  assert.equal(tunnel.client.engine.stats().bufferBytes, 0);
  app.close();
});

test("half closes in both orders", async () => {
  const app = await serve(async (socket) => {
    const first = (await once(socket, "data"))[0] as Buffer;
    if (first.toString() === "client first") {
      await readAll(socket);
      await sleep(20);
      socket.end("answer after FIN");
    } else {
      socket.end("server ends first");
      socket.resume();
    }
  });
  using tunnel = pair(app.port);
  const first = await dial(tunnel.port);
  first.end("client first");
  assert.equal((await readAll(first)).toString(), "answer after FIN");
  const second = await dial(tunnel.port);
  second.write("server first");
  assert.equal((await readAll(second)).toString(), "server ends first");
  second.end("the client's last words");
  await until(() => tunnel.client.closed().length === 2 && tunnel.server.closed().length === 2);
  for (const side of [tunnel.client, tunnel.server]) {
    assert.deepEqual(
      side.closed().map((event) => event.cause),
      ["finished", "finished"],
    );
  }
  assert.equal(tunnel.client.engine.stats().tunnelsDialledTotal, 1);
  app.close();
});

test("a reset of the client is a reset at the server", async () => {
  const app = await serve(() => {});
  using tunnel = pair(app.port);
  const socket = await dial(tunnel.port);
  await tunnel.client.event("established");
  while (app.connections.length === 0) await sleep(1);
  const [at] = app.connections;
  assert.ok(at);
  const ending = howItEnds(at);
  socket.resetAndDestroy();
  assert.equal(await ending, "ECONNRESET");
  assert.equal((await tunnel.client.event("closed")).cause, "reset-by-downstream");
  assert.equal((await tunnel.server.event("closed")).cause, "reset-by-downstream");
  app.close();
});

test("a reset of the server is a reset at the client", async () => {
  const app = await serve((socket) => socket.once("data", () => socket.resetAndDestroy()));
  using tunnel = pair(app.port);
  const socket = await dial(tunnel.port);
  socket.write("x");
  assert.equal(await howItEnds(socket), "ECONNRESET");
  assert.equal((await tunnel.client.event("closed")).cause, "reset-by-upstream");
  assert.equal((await tunnel.server.event("closed")).cause, "reset-by-upstream");
  app.close();
});

test("300 connections at once share tunnels of 100 streams", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using tunnel = pair(app.port);
  const sockets = await Promise.all(Array.from({ length: 300 }, () => dial(tunnel.port)));
  await Promise.all(
    sockets.map(async (socket, index) => {
      socket.write(`${index}`);
      const [data] = (await once(socket, "data")) as [Buffer];
      assert.equal(data.toString(), `${index}`);
    }),
  );
  assert.equal(tunnel.client.engine.stats().tunnelsDialledTotal, 3);
  assert.equal(tunnel.client.engine.stats().streams, 300);
  for (const socket of sockets) socket.end();
  while (tunnel.server.closed().length < 300) await sleep(1);
  assert.ok(tunnel.server.closed().every((event) => event.cause === "finished"));
  assert.equal(tunnel.server.engine.stats().streams, 0);
  app.close();
});

test("a refused CONNECT and an application that is not there", async () => {
  using refusing = pair(CLOSED_PORT, {
    server: (event) =>
      event.type === "connect-request"
        ? { conn: event.conn, generation: event.generation, type: "refuse", status: 401 }
        : undefined,
  });
  assert.equal(await howItEnds(await dial(refusing.port)), "ECONNRESET");
  const refused = await refusing.client.event("closed");
  assert.deepEqual([refused.cause, refused.detail], ["tunnel-refused", 401]);
  assert.equal((await refusing.server.event("closed")).cause, "refused");
  using absent = pair(CLOSED_PORT);
  assert.equal(await howItEnds(await dial(absent.port)), "ECONNRESET");
  const gone = await absent.client.event("closed");
  assert.deepEqual([gone.cause, gone.detail], ["tunnel-refused", 503]);
  assert.deepEqual(
    absent.server.closed().map((event) => [event.cause, event.detail]),
    [["connect-failed", 111]],
  );
});

test("a slow reader holds one connection, not its neighbours", async () => {
  const payload = randomBytes(20_000_000);
  const app = await serve((socket) => {
    socket.once("data", (data) => socket.end(data.toString() === "much" ? payload : "little"));
  });
  using tunnel = pair(app.port);
  const slow = await dial(tunnel.port);
  slow.write("much");
  await tunnel.client.event("established");
  await sleep(200);
  assert.ok(tunnel.client.engine.stats().bufferBytes < 6 << 20, "at most the stream's window waits");
  const quick = await dial(tunnel.port);
  quick.end("quick");
  assert.equal((await readAll(quick)).toString(), "little");
  assert.equal(tunnel.client.engine.stats().tunnelsDialledTotal, 1);
  slow.end();
  assert.deepEqual(await readAll(slow), payload);
  app.close();
});

test("readers that all stall do not use up the tunnel's window for their neighbours", async () => {
  const app = await serve((socket) =>
    socket.once("data", (first) => (first[0] === 0 ? socket.pause() : socket.write(first))),
  );
  using tunnel = pair(app.port);
  const neighbour = await dial(tunnel.port);
  const stalled = await Promise.all(Array.from({ length: 10 }, () => dial(tunnel.port)));
  // What comes beside a stream that fills its tunnel gets another tunnel.
  const established = () => tunnel.client.events.filter((event) => event.type === "established").length;
  await until(() => established() === 11);
  for (const socket of stalled) socket.write(new Uint8Array(16 << 20));
  // Four would hold all of the tunnel's 16 MiB; each holds its own 4 MiB, but for what the application's socket took.
  while (tunnel.server.engine.stats().bufferBytes < 20 << 20) await sleep(5);
  neighbour.write("still here");
  assert.equal(String((await once(neighbour, "data"))[0]), "still here");
  assert.equal(tunnel.client.engine.stats().tunnelsDialledTotal, 1);
  app.close();
  while (tunnel.server.engine.stats().bufferBytes > 0) await sleep(5);
  for (const socket of [...stalled, neighbour]) socket.destroy();
});

test("what is abandoned unread gives the tunnel its window back", async () => {
  const payload = randomBytes(4_000_000);
  const app = await serve((socket) => socket.end(payload));
  using tunnel = pair(app.port);
  const keep = await dial(tunnel.port); // Holds the tunnel open.
  keep.pause();
  // 40 times nearly a stream's whole window, ten times the connection's.
  for (let i = 0; i < 40; i++) {
    const socket = await dial(tunnel.port);
    socket.pause();
    await tunnel.client.event("established");
    await sleep(5);
    socket.resetAndDestroy();
  }
  const last = await dial(tunnel.port);
  last.end();
  assert.deepEqual(await readAll(last), payload);
  assert.equal(tunnel.client.engine.stats().tunnelsDialledTotal, 1);
  keep.destroy();
  app.close();
});

test("the uplink of a slow server is bounded too", async () => {
  const app = await serve((socket) => socket.pause());
  using tunnel = pair(app.port);
  const socket = await dial(tunnel.port);
  const payload = randomBytes(30_000_000);
  socket.end(payload);
  await until(() => app.connections.length === 1);
  await sleep(300);
  const held = tunnel.server.engine.stats().bufferBytes + tunnel.client.engine.stats().bufferBytes;
  assert.ok(held < 6 << 20, `${held} bytes held`);
  const [at] = app.connections;
  assert.ok(at);
  assert.deepEqual(await readAll(at), payload);
  at.end();
  assert.equal((await tunnel.server.event("closed")).cause, "finished");
  app.close();
});
