// tests · what is refused on a connection that is read: bytes that are no HTTP/1, heads that no reader should take, bodies of denied requests,
// and callers that are too slow or do not stop.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { application, byPath, reads, ways } from "./read-engine.ts";
import { ask, ended } from "./read-requests.ts";
import { dial, howItEnds, readAll, serve } from "./support.ts";

for (const way of ways) {
  test(`${way}: what is no HTTP/1 ends before a byte reaches either side`, async () => {
    for (const [bytes, cause] of [
      [Buffer.from([0x16, 3, 1, 0, 5]), "not-http"],
      [Buffer.from("GET /\r\n\r\n"), "not-http"],
      [Buffer.from("*1\r\n$4\r\nPING\r\n"), "not-http"],
    ] as const) {
      const app = await serve(() => {});
      using under = reads(way, app.port);
      const socket = await dial(under.port);
      socket.write(bytes);
      assert.equal(await howItEnds(socket), "ECONNRESET");
      assert.equal((await under.engine.event("closed")).cause, cause);
      assert.ok(app.connections.every(({ bytesRead }) => bytesRead === 0));
      app.close();
    }
    const speaks = await serve((socket) => socket.write("220 mail ready\r\n"));
    using under = reads(way, speaks.port);
    const socket = await dial(under.port);
    let heard = 0;
    socket.on("data", (data) => {
      heard += data.length;
    });
    assert.equal(await howItEnds(socket), "ECONNRESET");
    assert.equal(heard, 0);
    assert.equal((await under.engine.event("closed")).cause, "not-http");
    speaks.close();
  });

  test(`${way}: what is no HTTP/1 and may pass is relayed, whoever speaks first`, async () => {
    const echo = await serve((socket) => socket.pipe(socket));
    {
      using under = reads(way, echo.port, byPath, "or-pass");
      const socket = await dial(under.port);
      const payload = randomBytes(500_000);
      payload[0] = 0x16;
      socket.end(payload);
      assert.deepEqual(await readAll(socket), payload);
      await under.engine.event("opaque");
      const closed = await under.engine.event("closed");
      assert.deepEqual([closed.cause, closed.sentBytes, closed.receivedBytes], ["finished", 500_000, 500_000]);
    }
    {
      // HTTP that no reader should take: a policy that only watches breaks nothing, at the first request or behind others.
      using under = reads(way, echo.port, byPath, "or-pass");
      const socket = await dial(under.port);
      socket.end("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
      assert.equal((await readAll(socket)).toString(), "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
      const app = await serve((app) => {
        app.once("data", () => {
          app.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
          app.once("data", (data) => app.end(data));
        });
      });
      using later = reads(way, app.port, byPath, "or-pass");
      const behind = await dial(later.port);
      behind.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      await once(behind, "data");
      behind.end("no HTTP at all\r\n\r\n");
      assert.equal((await readAll(behind)).toString(), "no HTTP at all\r\n\r\n");
      await later.engine.event("opaque");
      app.close();
    }
    const speaks = await serve((socket) => {
      socket.write("220 mail ready\r\n");
      socket.on("data", (data) => socket.end(data));
    });
    using under = reads(way, speaks.port, byPath, "or-pass");
    const socket = await dial(under.port);
    const [banner] = (await once(socket, "data")) as [Buffer];
    assert.equal(banner.toString(), "220 mail ready\r\n");
    socket.end("HELO");
    assert.equal((await readAll(socket)).toString(), "HELO");
    echo.close();
    speaks.close();
  });

  test(`${way}: a head that no reader should take is answered and is the last of its connection`, async () => {
    const app = await serve(() => {});
    using under = reads(way, app.port);
    for (const [text, status] of [
      ["GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400],
      ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400],
      [`GET / HTTP/1.1\r\nHost: a\r\nx: ${"y".repeat(62_000)}\r\n\r\n`, 431],
      ["CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501],
    ] as const) {
      const socket = await dial(under.port);
      socket.write(text);
      const answer = (await readAll(socket)).toString();
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1);
      socket.end();
    }
    while (ended(under).length < 4) await sleep(5);
    assert.ok(ended(under).every(({ outcome, refusal }) => outcome === "refused" && refusal !== "none"));
    assert.ok(!under.engine.events.some(({ type }) => type === "request"));
    assert.ok(app.connections.every(({ bytesRead }) => bytesRead === 0));
    app.close();
  });

  test(`${way}: a denied body is drained or ends the connection, and never reaches the application`, async () => {
    const app = await application((_, response) => response.end("ok"));
    using under = reads(way, app.port);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const small = await ask(
      under.port,
      { agent, method: "POST", path: "/denied", headers: { "content-length": 60_000 } },
      [Buffer.alloc(60_000)],
    );
    assert.deepEqual([small.status, small.headers.connection], [403, undefined]);
    const after = await ask(under.port, { agent, path: "/open" });
    assert.equal(after.body.toString(), "ok");
    assert.equal(under.engine.events.filter(({ type }) => type === "established").length, 1, "the connection went on");
    const large = await ask(under.port, { method: "POST", path: "/denied", headers: { "content-length": 500_000 } }, [
      Buffer.alloc(500_000),
    ]);
    assert.deepEqual([large.status, large.headers.connection], [403, "close"]);
    agent.destroy();
  });
}

test("a head that comes too slowly is answered with 408, and a response's head ends both connections", async () => {
  const app = await serve((socket) => {
    socket.once("data", (data) => {
      if (!data.toString().startsWith("GET /interim")) return socket.write("HTTP/1.1 200 O");
      socket.write("HTTP/1.1 1");
      return setTimeout(() => socket.write("00 Continue\r\n\r\nHTTP/1.1 2"), 50);
    });
  });
  using under = reads("plaintext", app.port);
  const slow = await dial(under.port);
  slow.write("GET / HT");
  const waits = await dial(under.port);
  waits.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const interim = await dial(under.port);
  interim.on("data", () => {});
  interim.write("GET /interim HTTP/1.1\r\nHost: a\r\n\r\n");
  const [answer, end] = await Promise.all([readAll(slow), howItEnds(waits), howItEnds(interim)]);
  assert.match(answer.toString(), /^HTTP\/1\.1 408 /);
  assert.equal(end, "ECONNRESET");
  slow.end();
  while (ended(under).length < 3) await sleep(5);
  assert.deepEqual(
    ended(under).map(({ outcome }) => outcome),
    ["timeout", "timeout", "timeout"],
  );
  app.close();
});

for (const way of ways) {
  test(`${way}: a refused caller that keeps sending is heard for so many bytes, and then no more`, async () => {
    const app = await application((_, response) => response.end("ok"));
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    const answer = once(socket, "data") as Promise<[Buffer]>;
    socket.write("POST /denied HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert.match((await answer)[0].toString(), /^HTTP\/1\.1 403 .*connection: close/is);
    socket.on("error", () => {});
    const more = setInterval(() => socket.write(Buffer.alloc(100_000)), 1);
    const closed = await under.engine.event("closed");
    clearInterval(more);
    socket.destroy();
    assert.equal(closed.cause, "finished");
  });
}
