// tests · accept, one event, one answer, bytes both ways: plain TCP through one engine.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CLOSED_PORT, dial, dialRefused, howItEnds, readAll, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

/** An engine whose pod 1 relays everything accepted to `port`. */
function relayTo(port: number, host = "127.0.0.1"): TestEngine {
  const under = new TestEngine((event) =>
    event.type === "accepted" ? { ...refOf(event), type: "relay", to: { address: host, port } } : undefined,
  );
  under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  return under;
}
const refOf = ({ conn, generation }: { conn: number; generation: number }) => ({ conn, generation });

test("a relayed connection carries bytes both ways and is told of twice", async () => {
  const server = await serve((socket) => socket.pipe(socket));
  using under = relayTo(server.port);
  const socket = await dial(under.listen(1, "outbound"));
  const payload = randomBytes(3_000_000);
  socket.end(payload);
  assert.deepEqual(await readAll(socket), payload);
  const closed = await under.event("closed");
  assert.equal(closed.cause, "finished");
  assert.equal(closed.sentBytes, payload.length);
  assert.equal(closed.receivedBytes, payload.length);
  const accepted = await under.event("accepted");
  assert.equal(accepted.source.address, "127.0.0.1");
  assert.equal(accepted.destination, null);
  const established = await under.event("established");
  assert.equal(established.upstream.port, server.port);
  assert.equal(under.engine.stats().connections, 0);
  assert.equal(under.closed().length, 1);
  server.close();
});

test("IPv6", async () => {
  const server = await serve((socket) => socket.end("hello"), "::1");
  using under = relayTo(server.port, "::1");
  const socket = await dial(under.listen(1, "outbound", "::1"), "::1");
  socket.end();
  assert.equal((await readAll(socket)).toString(), "hello");
  assert.equal((await under.event("accepted")).source.address, "::1");
  server.close();
});

test("a half close passes while the other half goes on", async () => {
  const server = await serve((socket) => {
    socket.on("end", async () => {
      await sleep(20);
      socket.end("after your FIN");
    });
    socket.resume();
  });
  using under = relayTo(server.port);
  const socket = await dial(under.listen(1, "outbound"));
  socket.end("request");
  assert.equal((await readAll(socket)).toString(), "after your FIN");
  assert.equal((await under.event("closed")).cause, "finished");
  server.close();
});

test("the server may end first", async () => {
  const server = await serve((socket) => {
    socket.end("server speaks first");
    socket.resume();
  });
  using under = relayTo(server.port);
  const socket = await dial(under.listen(1, "outbound"));
  assert.equal((await readAll(socket)).toString(), "server speaks first");
  socket.end("and the client last");
  const closed = await under.event("closed");
  assert.equal(closed.cause, "finished");
  assert.equal(closed.sentBytes, "and the client last".length);
  server.close();
});

test("a reset from the server is a reset at the client", async () => {
  const server = await serve((socket) => socket.once("data", () => socket.resetAndDestroy()));
  using under = relayTo(server.port);
  const socket = await dial(under.listen(1, "outbound"));
  socket.write("x");
  assert.equal(await howItEnds(socket), "ECONNRESET");
  assert.equal((await under.event("closed")).cause, "reset-by-upstream");
  server.close();
});

test("a reset from the client is a reset at the server", async () => {
  const server = await serve(() => {});
  using under = relayTo(server.port);
  const socket = await dial(under.listen(1, "outbound"));
  await under.event("established");
  while (server.connections.length === 0) await sleep(1);
  const [at] = server.connections;
  assert.ok(at);
  const ending = howItEnds(at);
  socket.resetAndDestroy();
  assert.equal(await ending, "ECONNRESET");
  assert.equal((await under.event("closed")).cause, "reset-by-downstream");
  server.close();
});

test("nobody listens: the client is reset and the errno told", async () => {
  using under = relayTo(CLOSED_PORT);
  assert.equal(await dialRefused(under.listen(1, "outbound")), "ECONNRESET");
  const closed = await under.event("closed");
  assert.equal(closed.cause, "connect-failed");
  assert.equal(closed.detail, 111);
});

test("refuse, a handler that throws and a late answer", async () => {
  const server = await serve((socket) => socket.end("late"));
  let seen = 0;
  using under = new TestEngine((event, { engine }) => {
    if (event.type !== "accepted") return undefined;
    seen++;
    if (seen === 1) return { ...refOf(event), type: "refuse", status: 0 };
    if (seen === 2) throw new Error("a bug in a decision");
    setTimeout(() => {
      engine.answer({ ...refOf(event), type: "relay", to: { address: "127.0.0.1", port: server.port } });
      engine.answer({ conn: event.conn, generation: event.generation + 1, type: "close" });
    }, 10);
    return undefined;
  });
  under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  const port = under.listen(1, "outbound");
  assert.equal(await dialRefused(port), "ECONNRESET");
  assert.equal(await dialRefused(port), "ECONNRESET");
  assert.equal(under.errors.length, 1);
  const third = await dial(port);
  third.end();
  assert.equal((await readAll(third)).toString(), "late");
  assert.deepEqual(
    under.closed().map((event) => event.cause),
    ["refused", "refused", "finished"],
  );
  server.close();
});

test("a live connection is closed by an answer, both sides reset; its counters are readable before", async () => {
  const server = await serve((socket) => socket.pipe(socket));
  using under = relayTo(server.port);
  const socket = await dial(under.listen(1, "outbound"));
  socket.write("abcd");
  await once(socket, "data");
  const accepted = await under.event("accepted");
  assert.deepEqual(under.engine.counters(accepted), { sentBytes: 4, receivedBytes: 4 });
  for (const side of ["downstream", "upstream"] as const) {
    const measured = under.engine.transport(accepted, side);
    assert.ok(measured !== undefined && measured.rttUs > 0 && measured.retransmits >= 0, side);
  }
  const [at] = server.connections;
  assert.ok(at);
  const endings = Promise.all([howItEnds(socket), howItEnds(at)]);
  under.engine.answer({ ...refOf(accepted), type: "close" });
  assert.deepEqual(await endings, ["ECONNRESET", "ECONNRESET"]);
  assert.equal((await under.event("closed")).cause, "closed-by-answer");
  assert.equal(under.engine.counters(accepted), undefined);
  assert.equal(under.engine.transport(accepted, "upstream"), undefined);
  server.close();
});

test("a slow reader loses nothing and costs bounded memory", async () => {
  const payload = randomBytes(30_000_000);
  const server = await serve((socket) => socket.end(payload));
  using under = relayTo(server.port);
  const socket = await dial(under.listen(1, "outbound"));
  socket.pause();
  await sleep(200);
  assert.ok(under.engine.stats().bufferBytes <= 512 * 1024, `${under.engine.stats().bufferBytes} bytes held`);
  socket.end();
  assert.deepEqual(await readAll(socket), payload);
  assert.equal((await under.event("closed")).cause, "finished");
  assert.equal(under.engine.stats().bufferBytes, 0);
  server.close();
});

test("many short connections, none lost, no descriptor left", async () => {
  const server = await serve((socket) => socket.pipe(socket));
  using under = relayTo(server.port);
  const port = under.listen(1, "outbound");
  await Promise.all(
    Array.from({ length: 20 }, async (_, worker) => {
      for (let i = 0; i < 25; i++) {
        const socket = await dial(port);
        socket.end(`${worker}/${i}`);
        assert.equal((await readAll(socket)).toString(), `${worker}/${i}`);
      }
    }),
  );
  while (under.closed().length < 500) await sleep(1);
  assert.ok(under.closed().every((event) => event.cause === "finished"));
  assert.equal(under.engine.stats().connections, 0);
  server.close();
});

test("removing a pod with `cut` ends its connections as drained", async () => {
  const server = await serve((socket) => socket.pipe(socket));
  using under = relayTo(server.port);
  const port = under.listen(1, "outbound");
  const socket = await dial(port);
  await under.event("established");
  const ending = howItEnds(socket);
  under.engine.removePod(1, { cut: true });
  assert.equal(await ending, "ECONNRESET");
  assert.equal((await under.event("closed")).cause, "drained");
  server.close();
});

test("an empty pool: connections wait for the refill", async () => {
  const server = await serve((socket) => socket.end("served"));
  using under = relayTo(server.port);
  under.refill = false;
  const socket = await dial(under.listen(1, "outbound"));
  socket.end();
  const low = await under.event("pool-low");
  assert.equal(low.kind, "out4");
  assert.ok(low.count > 0);
  under.refill = true; // It asks again while somebody waits.
  assert.equal((await readAll(socket)).toString(), "served");
  server.close();
});
