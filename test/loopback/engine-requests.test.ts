// tests · a connection that is read: each request an event, bodies past it, and everything else ended. Node's own client and server
// judge what arrives.
import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEnded, RequestEvent } from "../../agent/engine/events.ts";
import { Dice } from "../policy/dice.ts";
import { refOf } from "./hbone-pair.ts";
import { application, byPath, forward, reads, type Under, ways } from "./read-engine.ts";
import { dial, howItEnds, readAll, serve } from "./support.ts";

type Response = {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: NodeJS.Dict<string>;
};

async function ask(port: number, options: http.RequestOptions, body: readonly Buffer[] = []): Promise<Response> {
  const request = http.request({ host: "127.0.0.1", port, ...options });
  const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
  for (const part of body) request.write(part);
  request.end();
  const [response] = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const { statusCode: status = 0, headers, trailers } = response;
  return { status, headers, body: Buffer.concat(chunks), trailers };
}

const ended = (under: Under): RequestEnded[] => under.engine.events.filter((event) => event.type === "request-ended");
const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

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

  test(`${way}: rules read no field that the application does not get, and the host that they read is the application's`, async () => {
    const app = await application((request, response) => response.end(JSON.stringify(request.headers)));
    const seen = new Map<string, readonly string[]>();
    using under = reads(way, app.port, (event) => {
      for (const name of ["x-tenant", "x_orlop_user", "proxy-connection", "x-seen"])
        seen.set(name, event.fields.values(name));
      return forward(event);
    });
    const socket = await dial(under.port);
    socket.write(
      "GET http://app/ HTTP/1.0\r\nConnection: x-tenant\r\nX-Tenant: a\r\nX_Orlop_User: b\r\nProxy-Connection: c\r\nX-Seen: d\r\n\r\n",
    );
    const answer = (await readAll(socket)).toString();
    const got = JSON.parse(answer.slice(answer.indexOf("{")));
    const [asked] = under.engine.events.filter((event) => event.type === "request");
    for (const name of ["x-tenant", "x_orlop_user", "proxy-connection"])
      assert.deepEqual([got[name], seen.get(name)], [undefined, []], name);
    assert.deepEqual([got["x-seen"], seen.get("x-seen")], ["d", ["d"]]);
    assert.deepEqual([asked?.authority, got.host], ["app", "app"]);
  });

  test(`${way}: other proxies' fields are taken out where the answer says so`, async () => {
    const app = await application((request, response) => response.end(JSON.stringify(request.headers)));
    using under = reads(way, app.port, (event) => {
      const removesProxyHeaders = event.target === "/without";
      return { ...refOf(event), type: "forward", request: event.request, target: "", removesProxyHeaders };
    });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const headers = { "x-envoy-a": "1", x_forwarded_client_cert: "2", "x-forwarded-for": "3" };
    const got = async (path: string): Promise<unknown[]> => {
      const all = JSON.parse(String((await ask(under.port, { agent, path, headers })).body));
      return Object.keys(headers).map((name) => all[name]);
    };
    assert.deepEqual(await got("/with"), ["1", "2", "3"]);
    assert.deepEqual(await got("/without"), [undefined, undefined, "3"]);
    agent.destroy();
  });

  test(`${way}: all of an answer arrives that an application sent before it reset the connection`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n${"x".repeat(300_000)}`, () => {
          setTimeout(() => socket.resetAndDestroy(), 100);
        });
      });
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    let heard = 0;
    socket.on("data", (data) => {
      heard += data.length;
    });
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await howItEnds(socket);
    assert.equal(heard, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n".length + 300_000);
    app.close();
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

  test(`${way}: a body that ends too early is never an orderly end, on either side`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal(await howItEnds(socket), "ECONNRESET");
    assert.equal(ended(under)[0]?.outcome, "reset-by-upstream");
    const other = await dial(under.port);
    other.end("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    await under.engine.event(
      "closed",
      ({ conn, generation }) => under.engine.closed()[0]?.conn !== conn || generation > 1,
    );
    while (ended(under).length < 2) await sleep(5);
    assert.equal(ended(under)[1]?.outcome, "reset-by-downstream");
    app.close();
  });

  test(`${way}: an application that works on a request learns that its caller has ended`, async () => {
    let hears: (value: string) => void = () => {};
    const heard = new Promise<string>((resolve) => {
      hears = resolve;
    });
    const app = await serve((socket) => {
      socket.once("data", (data) => {
        if (!data.toString().startsWith("POST")) return;
        socket.on("end", () => {
          hears("its end");
          socket.end("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        });
      });
    });
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    while (app.connections.every(({ bytesRead }) => bytesRead === 0)) await sleep(2);
    await sleep(30);
    socket.end();
    assert.equal(await heard, "its end");
    assert.match((await readAll(socket)).toString(), /late$/);
    assert.equal(ended(under)[0]?.outcome, "answered");
    app.close();
  });

  test(`${way}: a caller that has ended its half and waits costs nothing meanwhile`, async () => {
    const app = await serve((socket) => socket.once("data", () => {}));
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.end("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await under.engine.event("request");
    await sleep(100);
    const before = process.cpuUsage();
    await sleep(1_000);
    const { user, system } = process.cpuUsage(before);
    // A turn that asks for the next turn without end takes all of it.
    assert.ok(user + system < 500_000, `${user + system} us of a second`);
    app.close();
  });

  test(`${way}: a last answer arrives whole although its application resets behind it`, async () => {
    const app = await serve((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge", () => {
          socket.resetAndDestroy();
        });
      });
    });
    using under = reads(way, app.port);
    for (let round = 0; round < 10; round++) {
      const socket = await dial(under.port);
      const got: Buffer[] = [];
      const ends = new Promise<void>((resolve) => {
        socket.on("data", (data) => got.push(data));
        for (const end of ["end", "error", "close"]) socket.on(end, () => resolve());
      });
      socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
      socket.write(Buffer.alloc(200_000));
      await ends;
      assert.match(Buffer.concat(got).toString(), /large$/, `round ${round}`);
      socket.destroy();
    }
    app.close();
  });

  test(`${way}: a chunk without its end is never made whole, also where policy only watches`, async () => {
    const got: Buffer[] = [];
    const app = await serve((socket) => socket.on("data", (data) => got.push(data)));
    using under = reads(way, app.port, byPath, "or-pass");
    const socket = await dial(under.port);
    const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write(`${head}5\r\nhello0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n`);
    await readAll(socket);
    socket.end();
    await under.engine.event("closed");
    assert.doesNotMatch(Buffer.concat(got).toString(), /0\r\n\r\n|GET/);
    app.close();
  });

  test(`${way}: rules read fields that are written anew as the application gets them`, async () => {
    const names = ["upgrade", "te", "content-length", "transfer-encoding", "host"];
    const app = await application((request, response) => {
      request
        .resume()
        .on("end", () => response.end(JSON.stringify(names.map((name) => request.headers[name] ?? null))));
    });
    const seen: unknown[] = [];
    using under = reads(way, app.port, (event) => {
      seen.push(names.map((name) => event.fields.values(name).join("|") || null));
      return forward(event);
    });
    for (const text of [
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\nConnection: Upgrade\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\nConnection: TE\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0004\r\n\r\nbody",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
      "GET http://b/ HTTP/1.0\r\n\r\n",
    ]) {
      const socket = await dial(under.port);
      let answer = "";
      const answered = new Promise<void>((resolve) => {
        socket.on("data", (data) => {
          answer += data;
          if (answer.includes("]")) resolve();
        });
      });
      socket.write(text);
      await answered;
      const got: unknown = JSON.parse(answer.slice(answer.indexOf("["), answer.indexOf("]") + 1));
      assert.deepEqual(seen.at(-1), got, text);
      socket.destroy();
    }
  });

  test(`${way}: a policy that only watches lets wrong chunks and wrong trailers pass as they came`, async () => {
    for (const wrong of ["g\r\nabc\r\n0\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n"]) {
      const app = await serve((socket) => {
        const got: Buffer[] = [];
        socket.on("data", (data) => got.push(data));
        socket.on("end", () => socket.end(`HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n${Buffer.concat(got)}`));
      });
      using under = reads(way, app.port, byPath, "or-pass");
      const socket = await dial(under.port);
      const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
      socket.end(`${head}3\r\nabc\r\n${wrong}`);
      assert.match((await readAll(socket)).toString(), new RegExp(`3\r\nabc\r\n${wrong}$`));
      await under.engine.event("opaque");
      assert.equal(ended(under)[0]?.outcome, "refused");
      app.close();
    }
  });

  test(`${way}: a caller that reads slowly gets all of an answer that ends its connection`, async () => {
    const size = 6_000_000;
    const app = await application((_, response) =>
      response.writeHead(200, { connection: "close" }).end("x".repeat(size)),
    );
    using under = reads(way, app.port);
    const socket = await dial(under.port);
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let heard = 0;
    // Longer than a connection lingers behind its last byte.
    for await (const chunk of socket) {
      if (heard === 0) await sleep(2_500);
      heard += chunk.length;
    }
    assert.ok(heard > size, String(heard));
    assert.equal(ended(under)[0]?.outcome, "answered");
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
