// tests · copies of requests on a served connection: whole and as asked for, and nothing that becomes of a copy touches its request.
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import http from "node:http";
import type http2 from "node:http2";
import net from "node:net";
import test from "node:test";
import * as abi from "../../agent/abi.ts";
import { Dice } from "../support/dice.ts";
import { ask as askHttp2, h2cApplication, h2cCaller } from "./h2c.ts";
import { copyTo, countOf, endsOf, listens, mirrored } from "./mirrored-engine.ts";
import { ask, endedOf, serves, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { until } from "./until.ts";

for (const way of ways) {
  test(`${way}: a copy has the request's method, path and body byte for byte, and not what was taken out`, async () => {
    const main = listens("main");
    const mirror = listens("nobody reads this");
    const apps = [await application(main.listener), await application(mirror.listener)];
    using under = serves(way, [apps[0]?.port ?? 0, apps[1]?.port ?? 0], mirrored(copyTo(2)));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    const bodies = new Map<string, Buffer>();
    const asks = async (nth: number): Promise<void> => {
      const method = dice.pick(["GET", "POST", "PUT", "DELETE"]);
      const body = method === "GET" ? Buffer.alloc(0) : randomBytes(dice.pick([0, 1, 1_000, 70_000, 250_000]));
      bodies.set(String(nth), body);
      const chunked = dice.pick([true, false]) && method !== "GET";
      const headers = {
        ...{ "x-nth": nth, "x-kept": "yes", authorization: "Bearer secret", cookie: "a=b" },
        ...(chunked ? { "transfer-encoding": "chunked" } : { "content-length": body.length }),
      };
      const heard = await ask(under.port, { agent, method, path: `/p/${nth}?q=1`, headers }, body);
      assert.deepEqual([heard.status, heard.body], [200, "main"], `seed ${seed}`);
    };
    for (let nth = 0; nth < 100; nth += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, more) => asks(nth + more)));
      await until(() => endsOf(under).length === nth + 20, "all copies");
    }
    agent.destroy();
    assert.deepEqual(countOf(endsOf(under)), { answered: 100 }, `seed ${seed}`);
    for (const [nth, body] of bodies) {
      const copy = mirror.got.get(nth);
      const sent = main.got.get(nth);
      if (copy === undefined || sent === undefined) throw new Error(`seed ${seed}: ${nth} is missing`);
      assert.deepEqual([copy.body.equals(body), sent.body.equals(body)], [true, true], `seed ${seed} ${nth}`);
      assert.equal(copy.url, `/p/${nth}?q=1`);
      assert.deepEqual(
        [copy.headers.authorization, copy.headers.cookie, copy.headers["x-kept"]],
        [undefined, undefined, "yes"],
      );
      assert.deepEqual([sent.headers.authorization, sent.headers.cookie], ["Bearer secret", "a=b"]);
      assert.equal(copy.headers.host, sent.headers.host);
    }
    assert.ok(endedOf(under).every(({ outcome }) => outcome === "answered"));
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: of HTTP/2 a copy is a stream of HTTP/2, and copies share a connection`, async () => {
    const got = new Map<string, { readonly headers: http2.IncomingHttpHeaders; readonly body: Buffer }>();
    const gets = async (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): Promise<void> => {
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      got.set(String(headers["x-nth"]), { headers, body: Buffer.concat(chunks) });
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end("nobody reads this");
    };
    const main = await h2cApplication((stream) => {
      stream.resume();
      stream.on("end", () => {
        stream.respond({ ":status": 200 });
        stream.end("main");
      });
    });
    const mirror = await h2cApplication((stream, headers) => void gets(stream, headers));
    using under = serves(way, [main.port, mirror.port], mirrored(copyTo(2)));
    using caller = h2cCaller(under.port);
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    const bodies = Array.from({ length: 50 }, () => randomBytes(dice.pick([0, 5, 1_000, 70_000, 200_000])));
    await Promise.all(
      bodies.map(async (body, nth) => {
        const headers = {
          ":method": "POST",
          ":path": `/${nth}`,
          "x-nth": String(nth),
          authorization: "secret",
          te: "trailers",
        };
        const heard = await askHttp2(caller.session, { headers, body: [body] });
        assert.deepEqual([heard.status, heard.body.toString()], [200, "main"], `seed ${seed}`);
      }),
    );
    await until(() => endsOf(under).length === bodies.length, "all copies");
    assert.deepEqual(countOf(endsOf(under)), { answered: bodies.length }, `seed ${seed}`);
    for (const [nth, body] of bodies.entries()) {
      const copy = got.get(String(nth));
      if (copy === undefined) throw new Error(`seed ${seed}: ${nth} is missing`);
      assert.ok(copy.body.equals(body), `seed ${seed} ${nth}`);
      assert.deepEqual([copy.headers[":path"], copy.headers.authorization], [`/${nth}`, undefined]);
      assert.equal(copy.headers.te, "trailers", "servers of gRPC refuse what does not ask for them");
    }
    assert.ok(mirror.sessions.length <= 2);
    assert.deepEqual(under.errors(), []);
  });
}

test("several copies of a request, each with what is its own", async () => {
  const main = listens("main");
  const one = listens("");
  const two = listens("");
  const apps = await Promise.all([main, one, two].map(({ listener }) => application(listener)));
  const copies = [copyTo(2, { target: "/other?q", authority: "two.shop" }), copyTo(3, { requestHeaders: [] })];
  using under = serves(
    "direct",
    apps.map(({ port }) => port),
    mirrored(...copies),
  );
  const headers = { "x-nth": 1, authorization: "secret" };
  await ask(under.port, { method: "POST", path: "/path?q", headers }, "body");
  await until(() => endsOf(under).length === 2, "both");
  const [first, second] = [one.got.get("1"), two.got.get("1")];
  assert.deepEqual(
    [first?.url, first?.headers.host, first?.headers.authorization],
    ["/other?q", "two.shop", undefined],
  );
  assert.deepEqual([second?.url, second?.headers.authorization], ["/path?q", "secret"]);
  assert.deepEqual([String(first?.body), String(second?.body)], ["body", "body"]);
});

test("what is no whole request within the bound is not copied, and its request goes on", async () => {
  const main = listens("main");
  const mirror = listens("");
  const apps = [await application(main.listener), await application(mirror.listener)];
  using under = serves("direct", [apps[0]?.port ?? 0, apps[1]?.port ?? 0], mirrored(copyTo(2)));
  const most = abi.ORLOP_MOST_MIRRORED;
  const sizes = [most, most + 1, 4 * most];
  for (const size of sizes)
    for (const chunked of [false, true]) {
      const headers = { "x-nth": `${size} ${chunked}`, ...(chunked ? { "transfer-encoding": "chunked" } : {}) };
      const heard = await ask(under.port, { method: "POST", headers }, Buffer.alloc(size, "z"));
      assert.equal(heard.status, 200);
    }
  await until(() => endsOf(under).length === 6, "all");
  assert.deepEqual(countOf(endsOf(under)), { answered: 2, "too-large": 4 });
  assert.deepEqual([...mirror.got.keys()], [`${most} false`, `${most} true`]);
  assert.equal(main.got.size, 6);
  // A caller that goes in the midst of its request.
  const socket = net.connect({ port: under.port, host: "127.0.0.1" });
  socket.write("POST / HTTP/1.1\r\nhost: a\r\nx-nth: gone\r\ncontent-length: 9\r\n\r\n1234");
  await until(() => under.engine.events.filter(({ type }) => type === "request").length === 7, "its head");
  socket.destroy();
  await until(() => endsOf(under).at(-1) === "incomplete", "its copy");
  assert.equal(mirror.got.size, 2);
  assert.deepEqual(under.errors(), []);
});
