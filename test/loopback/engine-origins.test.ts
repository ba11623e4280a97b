// tests · a served connection: each request goes to the origin that its answer names, over connections that are kept and used again.
import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import test from "node:test";
import { Dice } from "../support/dice.ts";
import { ask, callersOf, endedOf, raw, saidUntil, serves, to, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { closedAtEnd, howItEnds, serve } from "./support.ts";
import { until } from "./until.ts";

for (const way of ways) {
  test(`${way}: requests of every shape reach the origin that was named, and each is reported and ended once`, async () => {
    const listener =
      (name: string): http.RequestListener =>
      (request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk) => chunks.push(chunk));
        request.on("end", () => {
          const [, kind = "", size = "0"] = request.url?.split("/") ?? [];
          const digest = createHash("sha256").update(Buffer.concat(chunks)).digest("hex");
          response.setHeader("x-said", JSON.stringify({ name, method: request.method, digest }));
          if (kind === "empty") return response.writeHead(204).end();
          if (kind === "closes") response.setHeader("connection", "close");
          const bytes = Buffer.alloc(Number(size), "z");
          if (kind === "length") response.setHeader("content-length", bytes.length);
          if (request.method !== "HEAD") response.write(bytes);
          return response.end();
        });
      };
    const apps = [await application(listener("one")), await application(listener("two"))];
    using under = serves(
      way,
      apps.map((app) => app.port),
      (event) => to(event, event.fields.first("x-to", 9) === "two" ? 2 : 1),
    );
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    const asked = Array.from({ length: 300 }, async () => {
      const kind = dice.pick(["empty", "length", "chunked", "closes"]);
      const size = dice.pick([0, 1, 1_000, 70_000, 300_000]);
      const method = dice.pick(["GET", "POST", "HEAD", "PUT"]);
      const name = dice.pick(["one", "two"]);
      const body = method === "GET" || method === "HEAD" ? Buffer.alloc(0) : randomBytes(dice.roll(90_000));
      const heard = await ask(under.port, { agent, method, path: `/${kind}/${size}`, headers: { "x-to": name } }, body);
      const said = { name, method, digest: createHash("sha256").update(body).digest("hex") };
      assert.equal(heard.status, kind === "empty" ? 204 : 200, `seed ${seed} ${method} ${kind} ${heard.body}`);
      assert.deepEqual(JSON.parse(String(heard.headers["x-said"])), said, `seed ${seed}`);
      assert.equal(heard.body.length, kind === "empty" || method === "HEAD" ? 0 : size, `seed ${seed}`);
    });
    await Promise.all(asked);
    agent.destroy();
    await until(() => endedOf(under).length === 300);
    const requests = under.engine.events.filter((event) => event.type === "request");
    assert.equal(requests.length, 300);
    assert.equal(
      new Set(endedOf(under).map((event) => `${event.conn}/${event.generation}/${event.request}`)).size,
      300,
    );
    assert.ok(endedOf(under).every(({ outcome }) => outcome === "answered"));
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: an idle connection is used again, and by the caller that comes next`, async () => {
    const { callers, listener } = callersOf();
    const app = await application(listener);
    using under = serves(way, [app.port]);
    for (let nth = 0; nth < 5; nth++) assert.equal((await ask(under.port, { agent: false })).status, 200);
    assert.equal(new Set(callers).size, 1);
    // What may not be sent twice has a connection that nobody has used before: its caller has just opened its own.
    assert.equal((await ask(under.port, { agent: false, method: "POST" }, "x")).status, 200);
    assert.equal(new Set(callers).size, 2);
  });

  test(`${way}: what hundreds of callers have opened at once stays for their next requests`, async () => {
    const CALLERS = 200;
    // Nobody is answered before all have asked, so that each needs a connection of its own.
    const asking: http.ServerResponse[] = [];
    const { callers, listener } = callersOf((_, response) => {
      if (asking.push(response) === CALLERS) for (const each of asking.splice(0)) each.end("ok");
    });
    const app = await application(listener, { keepAliveTimeout: 60_000 });
    using under = serves(way, [app.port]);
    const agent = new http.Agent({ keepAlive: true, maxSockets: CALLERS });
    const round = async (): Promise<number> => {
      await Promise.all(Array.from({ length: CALLERS }, () => ask(under.port, { agent })));
      return new Set(callers).size;
    };
    for (let nth = 0; nth < 4; nth++) assert.equal(await round(), CALLERS, "none is opened anew");
    agent.destroy();
  });

  test(`${way}: the caller's connection goes on where the origin ends its own, with a body until its end`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\n\r\nuntil the end"));
    });
    using under = serves(way, [app.port]);
    const { socket, said } = await raw(under.port, "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n", /0\r\n\r\n$/);
    assert.match(said, /^HTTP\/1\.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n/);
    assert.match(said, /until the end/);
    socket.write("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert.match(await saidUntil(socket, /0\r\n\r\n$/), /until the end/);
    // A caller of HTTP/1.0 knows no chunks, and its connection ends.
    const old = await raw(under.port, "GET /3 HTTP/1.0\r\n\r\n", /until the end$/);
    assert.match(old.said, /^HTTP\/1\.1 200 OK\r\nConnection: close\r\n\r\nuntil the end$/);
    socket.destroy();
    old.socket.destroy();
  });

  test(`${way}: an origin that ends an idle connection costs no caller its request`, async () => {
    let served = 0;
    let longestIdleMs = 0;
    const app = await serve((socket) => {
      // Ends each connection in the middle of its second request, as a server does whose patience was over at that moment.
      let requests = 0;
      let answeredMs = 0;
      socket.on("data", () => {
        if (++requests === 2) {
          longestIdleMs = Math.max(longestIdleMs, performance.now() - answeredMs);
          return socket.destroy();
        }
        served++;
        answeredMs = performance.now();
        return socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      });
    });
    using under = serves(way, [app.port]);
    for (let nth = 0; nth < 10; nth++) assert.equal((await ask(under.port, { agent: false })).body, "ok", String(nth));
    assert.equal(served, 10);
    // By now it has shown how soon it ends what is idle: what may not be sent twice gets a connection that nobody has used.
    const { socket } = await raw(under.port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", /ok$/);
    // Idle for longer than any connection was that it has ended; on a busy machine that may have been a second.
    await new Promise((resolve) => setTimeout(resolve, Math.max(1_000, 4 * longestIdleMs)));
    socket.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    assert.match(await saidUntil(socket, /ok$/), /^HTTP\/1\.1 200 OK/);
    socket.destroy();
    // Where it has not, a request that may not be repeated ends as its caller would see it without us.
    const strict = await serve((far) => {
      far.on("data", (part) => {
        if (part.toString("latin1").startsWith("POST")) return far.destroy();
        return far.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      });
    });
    using other = serves(way, [strict.port]);
    const second = await raw(other.port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", /ok$/);
    second.socket.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    assert.equal(await howItEnds(second.socket), "end");
    assert.equal(strict.connections.length, 1);
    const last = endedOf(other).at(-1);
    assert.deepEqual([last?.outcome, last?.status], ["reset-by-upstream", 0]);
  });

  test(`${way}: what an origin says unasked, or ends, is no answer to the next request`, async () => {
    const connections: net.Socket[] = [];
    const app = await serve((socket) => {
      connections.push(socket);
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
      socket.on("end", () => socket.end());
    });
    using under = serves(way, [app.port]);
    assert.equal((await ask(under.port, { agent: false })).body, "ok");
    assert.equal(connections.length, 1);
    const gone = connections[0] && once(connections[0], "end");
    connections[0]?.write("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison");
    await gone;
    assert.equal((await ask(under.port, { agent: false })).body, "ok");
    assert.equal(connections.length, 2);
    // In one piece with the answer.
    const poisons = await serve((socket) => {
      const answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
      socket.on("data", () => socket.write(`${answer}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`));
      socket.on("end", () => socket.end());
    });
    using other = serves(way, [poisons.port]);
    const { socket, said } = await raw(other.port, "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n", /ok/);
    assert.ok(said.endsWith("ok"));
    socket.write("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert.ok((await saidUntil(socket, /ok/)).endsWith("ok"));
    assert.equal(poisons.connections.length, 2);
    socket.destroy();
  });

  test(`${way}: a websocket has a connection of its own, which ends with it`, async () => {
    const app = await application((_, response) => response.end("ok"));
    const upgraded: net.Socket[] = [];
    app.on("upgrade", (request: http.IncomingMessage, socket: net.Socket) => {
      upgraded.push(closedAtEnd(socket));
      socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n");
      socket.write(`hello ${request.headers["x-a"]}`);
      socket.pipe(socket);
    });
    using under = serves(way, [app.port], (event) =>
      to(event, 1, { requestHeaders: [{ op: "set", name: "x-a", value: "b" }] }),
    );
    assert.equal((await ask(under.port, { agent: false })).body, "ok");
    const upgrade = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n";
    const { socket, said } = await raw(under.port, upgrade, /hello b/);
    assert.match(said, /^HTTP\/1\.1 101 /);
    socket.write("echo");
    assert.equal(await saidUntil(socket, /echo/), "echo");
    socket.end();
    assert.equal(await howItEnds(socket), "end");
    assert.equal((await under.engine.event("request-ended", ({ status }) => status === 101)).outcome, "upgraded");
    assert.ok(await under.engine.event("closed", ({ cause }) => cause === "finished"));
    assert.equal((await ask(under.port, { agent: false })).body, "ok");
    // Its origin goes in the midst of it.
    const second = await raw(under.port, upgrade, /hello b/);
    upgraded.at(-1)?.resetAndDestroy();
    assert.notEqual(await howItEnds(second.socket), "");
  });

  test(`${way}: an origin that breaks off is 502 before it has answered, and a reset behind that`, async () => {
    const app = await serve((socket) => {
      socket.once("data", (data) => {
        const text = data.toString();
        if (text.includes("/begun")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun");
        if (text.includes("/part")) socket.write("HTTP/1.1 200 OK\r\ncont");
        const then = text.includes("/end") ? () => socket.end() : () => socket.resetAndDestroy();
        setTimeout(then, text.includes("-") ? 50 : 0);
      });
    });
    using under = serves(way, [app.port]);
    for (const path of ["/reset", "/end", "/part-reset", "/part-end"]) {
      const method = "POST";
      const heard = await ask(under.port, { agent: false, method, path }, "x");
      assert.deepEqual([heard.status, heard.body], [502, "head-end"], path);
    }
    for (const path of ["/begun-reset", "/begun-end"]) {
      await assert.rejects(ask(under.port, { agent: false, path }), { code: "ECONNRESET" }, path);
    }
    await until(() => endedOf(under).length === 6);
    const outcomes = endedOf(under).map(({ outcome, status }) => [outcome, status]);
    assert.deepEqual(outcomes.slice(0, 4), Array(4).fill(["reset-by-upstream", 502]));
    assert.deepEqual(outcomes.slice(4), Array(2).fill(["reset-by-upstream", 200]));
  });

  test(`${way}: over its time a request is 504, and a reset where its response has begun`, async () => {
    const app = await application((request, response) => {
      if (request.url === "/begun") response.write("begun");
    });
    // A response has the time to begin, also on a machine that others use.
    const timeoutMs = (target: string): number => (target === "/begun" ? 2_000 : 60);
    using under = serves(way, [app.port], (event) => to(event, 1, { timeoutMs: timeoutMs(event.target) }));
    const agent = new http.Agent({ keepAlive: true });
    const heard = await ask(under.port, { agent, path: "/never" });
    assert.deepEqual([heard.status, heard.body, heard.headers.connection], [504, "timeout", undefined]);
    await assert.rejects(ask(under.port, { agent, path: "/begun" }), { code: "ECONNRESET" });
    agent.destroy();
    await until(() => endedOf(under).length === 2);
    assert.deepEqual(
      endedOf(under).map(({ outcome, status }) => [outcome, status]),
      [
        ["deadline", 504],
        ["deadline", 200],
      ],
    );
  });

  test(`${way}: bodies larger than any buffer go through in both directions at once, and wait for who is slow`, async () => {
    const size = 32 << 20;
    const app = await application((request, response) => request.pipe(response));
    using under = serves(way, [app.port]);
    const request = http.request({ host: "127.0.0.1", port: under.port, method: "POST", agent: false });
    const hash = createHash("sha256");
    const sent = createHash("sha256");
    const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, under.engine.engine.stats().bufferBytes);
    }, 5);
    const writes = (async () => {
      for (let at = 0; at < size; at += 65_536) {
        const part = randomBytes(65_536);
        sent.update(part);
        if (!request.write(part)) await once(request, "drain");
      }
      request.end();
    })();
    const [response] = await answered;
    // Its reader sleeps first: the sender has to wait then.
    await new Promise((resolve) => setTimeout(resolve, 300));
    for await (const part of response) hash.update(part);
    await writes;
    clearInterval(watch);
    assert.equal(hash.digest("hex"), sent.digest("hex"));
    assert.ok(most < 8 << 20, `${most} bytes were held`);
  });
}
