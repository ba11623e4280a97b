// tests · a connection that is read: each request an event, bodies past it, and everything else ended. Node's own client and server
// judge what arrives.
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEnded, RequestEvent } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { refOf } from "./hbone-pair.ts";
import { application, forward, reads, type Under, ways } from "./read-engine.ts";
import { ask, digest, ended } from "./read-requests.ts";
import { dial, howItEnds, readAll, serve } from "./support.ts";

for (const way of ways) {
  test(`${way}: requests of every shape arrive as they were sent, and each is reported and ended once`, async () => {
    const app = await application((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => {
        const body = Buffer.concat(chunks);
        const [, kind, size = "0"] = request.url?.split(/[/?]/) ?? [];
        const said = { method: request.method, digest: digest(body), seen: request.headers["x-seen"] ?? "" };
        response.setHeader("x-said", JSON.stringify(said));
        if (kind === "empty") return response.writeHead(204).end();
        if (kind === "known") return response.writeHead(304, { "content-length": 99 }).end();
        const bytes = Buffer.alloc(Number(size), "z");
        if (kind === "length") return response.writeHead(200, { "content-length": bytes.length }).end(bytes);
        if (request.method === "HEAD") return response.writeHead(200).end();
        response.writeHead(200, { trailer: "x-after" });
        response.write(bytes);
        response.addTrailers({ "x-after": "all" });
        return response.end();
      });
    });
    using under = reads(way, app.port);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    const asked = Array.from({ length: 200 }, async (_, nth) => {
      const kind = dice.pick(["empty", "known", "length", "chunked", "denied"]);
      const size = dice.pick([0, 1, 1_000, 70_000, 300_000]);
      const method = dice.pick(["GET", "POST", "HEAD", "PUT"]);
      const body =
        method === "GET" || method === "HEAD" ? [] : [randomBytes(dice.roll(20_000)), randomBytes(dice.roll(90_000))];
      const length = dice.chance(50) ? { "content-length": body.reduce((sum, part) => sum + part.length, 0) } : {};
      const headers = { "x-seen": String(nth), "x-orlop-identity": "admin", ...(body.length > 0 && length) };
      const path = `/${kind}/${size}?nth=${nth}`;
      const response = await ask(under.port, { agent, method, path, headers }, body);
      if (kind === "denied") {
        assert.equal(response.status, 403, `seed ${seed}`);
        if (method !== "HEAD") assert.equal(response.body.toString(), "RBAC: access denied");
        return;
      }
      const said = { method, digest: digest(Buffer.concat(body)), seen: String(nth) };
      assert.deepEqual(JSON.parse(String(response.headers["x-said"])), said, `seed ${seed}`);
      const expected = kind === "empty" || kind === "known" || method === "HEAD" ? 0 : size;
      assert.equal(response.body.length, expected, `seed ${seed}: ${method} ${path}`);
      if (kind === "chunked" && method !== "HEAD") assert.equal(response.trailers["x-after"], "all");
    });
    await Promise.all(asked);
    agent.destroy();
    while (ended(under).length < 200) await sleep(5);
    const requests = under.engine.events.filter((event) => event.type === "request");
    assert.equal(requests.length, 200);
    assert.deepEqual([...new Set(ended(under).map(({ outcome }) => outcome))].sort(), ["answered", "replied"]);
    assert.deepEqual(under.engine.errors, []);
    const key = (event: RequestEvent | RequestEnded): string => `${event.conn}/${event.generation}/${event.request}`;
    assert.deepEqual(ended(under).map(key).sort(), requests.map(key).sort());
  });

  test(`${way}: pipelined requests are judged one by one and answered in their order, in whatever pieces they come`, async () => {
    const app = await application((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => response.end(`${request.method} ${request.url} ${Buffer.concat(chunks)}`));
    });
    using under = reads(way, app.port);
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    for (let round = 0; round < 30; round++) {
      const texts: string[] = [];
      const wanted: string[] = [];
      for (let nth = 0; nth < 5; nth++) {
        const path = `/${dice.pick(["denied", "open"])}/${nth}`;
        const body = "b".repeat(dice.roll(40));
        const head = `POST ${path} HTTP/1.1\r\nHost: app\r\n${nth === 4 ? "Connection: close\r\n" : ""}`;
        const chunks = body === "" ? "" : `${body.length.toString(16)};x=y\r\n${body}\r\n`;
        texts.push(
          dice.chance(50) || path.startsWith("/denied")
            ? `${head}Content-Length: ${body.length}\r\n\r\n${body}`
            : `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
        );
        wanted.push(path.startsWith("/denied") ? "RBAC: access denied" : `POST ${path} ${body}`);
      }
      const socket = await dial(under.port);
      const got = readAll(socket);
      const all = texts.join("");
      for (let at = 0; at < all.length; ) {
        const next = at + 1 + dice.roll(dice.pick([3, 40, 400]));
        socket.write(all.slice(at, next));
        if (dice.chance(30)) await sleep(1);
        at = next;
      }
      const answers = (await got).toString();
      let from = 0;
      for (const text of wanted) {
        const found = answers.indexOf(text, from);
        assert.ok(found >= 0, `seed ${seed}, round ${round}: ${text} in ${answers.slice(from)}`);
        from = found + text.length;
      }
      assert.equal(answers.match(/HTTP\/1\.1 /g)?.length, 5);
      socket.end();
    }
  });

  test(`${way}: a websocket passes behind the application's 101 alone; another upgrade is taken out`, async () => {
    const seen: (string | undefined)[] = [];
    const app = await application((request, response) => {
      seen.push(request.headers.upgrade);
      response.end("no upgrade here");
    });
    app.on("upgrade", (request: http.IncomingMessage, socket: net.Socket, head: Buffer) => {
      socket.on("error", () => {});
      seen.push(request.headers.upgrade);
      if (request.url === "/refuses") {
        socket.end("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
      }
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello");
      socket.write(head);
      socket.pipe(socket);
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    const chunks: Buffer[] = [];
    socket.on("data", (data) => chunks.push(data));
    socket.write("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\nearly");
    while (!Buffer.concat(chunks).toString().endsWith("helloearly")) await sleep(2);
    const payload = randomBytes(200_000);
    socket.write(payload);
    while (!Buffer.concat(chunks).subarray(-200_000).equals(payload)) await sleep(2);
    assert.equal(ended(under).at(-1)?.outcome, "upgraded");
    socket.destroy();

    const refused = await dial(under.port);
    refused.write("GET /refuses HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello");
    assert.match((await readAll(refused)).toString(), /^HTTP\/1\.1 426 /);
    const h2c = await ask(under.port, {
      path: "/h2c",
      headers: { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA" },
    });
    assert.equal(h2c.body.toString(), "no upgrade here");
    assert.deepEqual(seen, ["websocket", "websocket", undefined]);
  });

  test(`${way}: an absolute URI is judged by its path and host, and goes on as these`, async () => {
    const app = await application((request, response) => response.end(`${request.headers.host} ${request.url}`));
    using under = reads(way, app.port, ({ conn, generation, request, target }) => {
      return { type: "forward", conn, generation, request, target: target === "/a?b" ? "/judged?b" : "" };
    });
    const socket = await dial(under.port);
    const close = "Host: app\r\nConnection: close\r\n\r\n";
    socket.write(`GET http://app/a?b HTTP/1.1\r\nHost: app\r\n\r\nGET http://app HTTP/1.1\r\n${close}`);
    const answers = (await readAll(socket)).toString();
    assert.match(answers, /app \/judged\?b/);
    assert.match(answers, /app \/$/);
    const asked = under.engine.events.filter((event) => event.type === "request");
    assert.deepEqual(
      asked.map(({ target, authority }) => [target, authority]),
      [
        ["/a?b", "app"],
        ["/", "app"],
      ],
    );
  });

  test(`${way}: a request that went on ends with its connection when a second judgement is a fault of ours`, async () => {
    const app = await application((_, response) => void response.write("begun"));
    let asked = 0;
    using under = reads(way, app.port, (event) => {
      asked += 1;
      if (asked > 1) throw new Error("a fault of ours");
      return forward(event);
    });
    const socket = await dial(under.port);
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(socket, "data");
    const { conn, generation } = await under.engine.event("request");
    under.engine.engine.answer({ type: "ask-again", conn, generation });
    assert.equal(await howItEnds(socket), "ECONNRESET");
    assert.equal((await under.engine.event("closed")).cause, "closed-by-answer");
  });

  test(`${way}: Expect: 100-continue and interim responses pass`, async () => {
    const app = await application((request, response) => {
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
      request.resume();
      request.on("end", () => response.end("done"));
    });
    using under = reads(way, app.port);
    const request = http.request({
      host: "127.0.0.1",
      port: under.port,
      method: "POST",
      path: "/",
      headers: { expect: "100-continue" },
    });
    const hints: unknown[] = [];
    request.on("information", (info) => hints.push(info.statusCode));
    request.flushHeaders();
    await once(request, "continue");
    request.end("body");
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    assert.equal((await readAll(response as unknown as net.Socket)).toString(), "done");
    assert.ok(hints.includes(103), String(hints));
  });

  test(`${way}: an open request is asked about again, and a websocket too`, async () => {
    const app = await application((_, response) => void response.write("begun"));
    app.on("upgrade", (_: http.IncomingMessage, socket: net.Socket) => {
      socket.on("error", () => {
        // It is reset when its request falls.
      });
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    });
    for (const upgrade of ["", "Upgrade: websocket\r\nConnection: Upgrade\r\n"]) {
      let asked = 0;
      using under = reads(way, app.port, (event) => {
        asked += 1;
        assert.deepEqual(event.fields.values("x-a"), ["1", "2"]);
        return asked === 1 ? forward(event) : { ...refOf(event), type: "close" };
      });
      const socket = await dial(under.port);
      socket.write(`GET /open HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n${upgrade}\r\n`);
      await once(socket, "data");
      const { conn, generation } = await under.engine.event("request");
      under.engine.engine.answer({ type: "ask-again", conn, generation });
      assert.equal(await howItEnds(socket), "ECONNRESET");
      assert.equal(asked, 2);
      assert.equal((await under.engine.event("closed")).cause, "closed-by-answer");
      assert.deepEqual(
        ended(under).map(({ outcome }) => outcome),
        [upgrade === "" ? "cut" : "upgraded"],
      );
    }
  });

  test(`${way}: Keep-Alive says the same to both sides, and one that an application ends ends for the caller`, async () => {
    const app = await application((_, response) => response.end("ok"), { keepAliveTimeout: 2_000 });
    using under = reads(way, app.port);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const first = await ask(under.port, { agent, path: "/" });
    assert.equal(first.headers["keep-alive"], "timeout=2");
    const closed = await under.engine.event("closed");
    assert.equal(closed.cause, "finished");
    agent.destroy();
  });

  test(`${way}: until the application closes, and half-closed by the client`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.end("x".repeat(100_000));
      });
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.end("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    assert.equal((await readAll(socket)).toString(), `${head}${"x".repeat(100_000)}`);
    assert.equal((await under.engine.event("closed")).cause, "finished");
    app.close();
  });
}

test("a decision that throws is 500, and a late decision counts", async () => {
  const app = await application((_, response) => response.end("ok"));
  let under: Under | undefined;
  using reading = reads("plaintext", app.port, (event) => {
    if (event.target === "/throws") throw new Error("a fault of ours");
    setTimeout(
      () => under?.engine.engine.answer({ ...refOf(event), type: "forward", request: event.request, target: "" }),
      30,
    );
    return undefined;
  });
  under = reading;
  assert.equal((await ask(reading.port, { path: "/throws" })).status, 500);
  assert.equal((await ask(reading.port, { path: "/late" })).body.toString(), "ok");
  assert.equal(reading.engine.errors.length, 1);
});
