// tests · a served connection that speaks HTTP/2: each stream goes to the origin that its answer names; streams of a pod share connections.
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import type { Forward } from "../../agent/engine/answers.ts";
import { Dice } from "../support/dice.ts";
import { ask, h2cApplication, h2cCaller, type OnStream, response } from "./h2c.ts";

import { endedOf, type Served, serves, to, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { CLOSED_PORT, closedAtEnd } from "./support.ts";
import { until } from "./until.ts";

const MEBIBYTE = 2 ** 20;
const LARGE = MEBIBYTE;

/** Answers with what it got, says who it is, and ends as a call of gRPC ends. */
const echoes =
  (name: string): OnStream =>
  (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      stream.respond({ ":status": 200, "x-name": name, "x-path": headers[":path"] ?? "" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.concat(chunks));
    });
  };

for (const way of ways) {
  test(`${way}: streams of a connection go to the origins that their answers name, whole and with trailers`, async () => {
    const apps = [await h2cApplication(echoes("one")), await h2cApplication(echoes("two"))];
    using under = serves(
      way,
      apps.map(({ port }) => port),
      (event) => to(event, event.fields.first("x-to", 9) === "two" ? 2 : 1),
    );
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    using caller = h2cCaller(under.port);
    const asked = Array.from({ length: 200 }, async (_, index) => {
      const name = dice.pick(["one", "two"]);
      const body = [randomBytes(dice.pick([0, 5, 1_000, 70_000, 300_000]))];
      const headers = { ":method": "POST", ":path": `/${index}`, "x-to": name };
      const heard = await ask(caller.session, { headers, body });
      assert.deepEqual(
        [heard.status, heard.headers["x-name"], heard.headers["x-path"], heard.trailers["grpc-status"]],
        [200, name, `/${index}`, "0"],
        `seed ${seed}`,
      );
      assert.ok(heard.body.equals(Buffer.concat(body)), `seed ${seed}`);
    });
    await Promise.all(asked);
    await until(() => endedOf(under).length === 200);
    assert.ok(endedOf(under).every(({ outcome, status }) => outcome === "answered" && status === 200));
    assert.ok(endedOf(under).every(({ answeredUs }) => answeredUs > 0));
    assert.deepEqual(
      apps.map(({ sessions }) => sessions.length <= 3),
      [true, true],
    );
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: callers of a pod share the connection to an origin; beyond its limit of streams another is opened`, async () => {
    let open = 0;
    const held: (() => void)[] = [];
    const app = await h2cApplication(
      (stream) => {
        open++;
        held.push(() => {
          stream.respond({ ":status": 200 });
          stream.end("ok");
        });
      },
      { maxConcurrentStreams: 10 },
    );
    using under = serves(way, [app.port]);
    using one = h2cCaller(under.port);
    using two = h2cCaller(under.port);
    const heard = [one, two].flatMap(({ session }) =>
      Array.from({ length: 15 }, () => ask(session, { headers: { ":path": "/" } })),
    );
    await until(() => open === 30);
    assert.equal(app.sessions.length, 3);
    for (const answer of held) answer();
    assert.ok((await Promise.all(heard)).every(({ status, body }) => status === 200 && body.toString() === "ok"));
    // What is idle is used again.
    held.length = 0;
    const again = ask(one.session, { headers: { ":path": "/" } });
    await until(() => held.length === 1);
    held[0]?.();
    assert.equal((await again).status, 200);
    assert.equal(app.sessions.length, 3);
    assert.deepEqual(under.errors(), []);
  });
}

for (const way of ways) {
  test(`${way}: callers that do not read keep nobody else of their connection to an origin waiting`, async () => {
    const app = await h2cApplication((stream) => {
      stream.respond({ ":status": 200 });
      stream.end(Buffer.alloc(LARGE));
    });
    using under = serves(way, [app.port]);
    using slow = h2cCaller(under.port);
    using quick = h2cCaller(under.port);
    const stalled = Array.from({ length: 40 }, () => slow.session.request({ ":path": "/stalled" }));
    for (const stream of stalled) stream.pause();
    await Promise.all(stalled.map((stream) => once(stream, "response")));
    // What they leave unread fills 40 windows of streams, and no more.
    let most = 0;
    for (let round = 0; round < 3; round++) {
      const heard = Array.from({ length: 20 }, () => ask(quick.session, { headers: { ":path": "/quick" } }));
      for (const { status, body } of await Promise.all(heard)) assert.deepEqual([status, body.length], [200, LARGE]);
      most = Math.max(most, under.engine.engine.stats().bufferBytes);
    }
    assert.equal(app.sessions.length, 1);
    assert.ok(most > 5 * MEBIBYTE && most < 40 * 0.3 * MEBIBYTE + 2 * MEBIBYTE, `${most} bytes`);
    let got = 0;
    for (const stream of stalled)
      stream.resume().on("data", (chunk: Buffer) => {
        got += chunk.length;
      });
    await until(() => got === 40 * LARGE);
    await until(() => under.engine.engine.stats().bufferBytes < MEBIBYTE);
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: an origin that does not read keeps no request to another origin waiting`, async () => {
    const deaf = await h2cApplication((stream) => stream.respond({ ":status": 200 }));
    const app = await h2cApplication(echoes("there"));
    using under = serves(way, [deaf.port, app.port], (event) => to(event, event.target === "/deaf" ? 1 : 2));
    using caller = h2cCaller(under.port);
    const body = [Buffer.alloc(LARGE)];
    const stalled = Array.from({ length: 40 }, () => {
      const stream = caller.session.request({ ":method": "POST", ":path": "/deaf" }, { endStream: false });
      stream.write(body[0]);
      return stream;
    });
    await Promise.all(stalled.map((stream) => once(stream, "response")));
    const headers = { ":method": "POST", ":path": "/there" };
    const heard = await Promise.all(Array.from({ length: 20 }, () => ask(caller.session, { headers, body })));
    assert.ok(heard.every(({ status, body }) => status === 200 && body.length === LARGE));
    assert.ok(under.engine.engine.stats().bufferBytes < 40 * 0.3 * MEBIBYTE + 2 * MEBIBYTE);
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: a connection to an origin that nobody needs any more ends behind GOAWAY(NO_ERROR), and not by a reset`, async () => {
    const app = await h2cApplication(echoes("one"));
    const ends: ((under: Served) => void)[] = [({ define }) => define(), ({ engine }) => engine.engine.drain()];
    using under = serves(way, [app.port]);
    for (const end of ends) {
      using caller = h2cCaller(under.port);
      assert.equal((await ask(caller.session, { headers: { ":path": "/" } })).status, 200);
      const session = app.sessions.at(-1);
      const failed: unknown[] = [];
      session?.on("error", (error) => failed.push(error));
      session?.socket.on("error", (error) => failed.push(error));
      const closed = new Promise((resolve) => session?.on("close", resolve));
      const goaway = new Promise<number>((resolve) => session?.on("goaway", resolve));
      end(under);
      assert.equal(await goaway, 0);
      await closed;
      assert.deepEqual(failed, []);
    }
    assert.equal(app.sessions.length, 2);
    assert.deepEqual(under.errors(), []);
  });
}

test("an origin that cannot be reached: the agent asks, and another gets the request with its body", async () => {
  const app = await h2cApplication(echoes("there"));
  const failures: unknown[] = [];
  using under = serves(
    "direct",
    [CLOSED_PORT, app.port],
    (event) => to(event, 1, { asks: "unsent" }),
    (event) => {
      failures.push([event.failure, event.cause, event.isSent]);
      return to({ ...event, type: "request" } as never, 2, { asks: "unsent" });
    },
  );
  using caller = h2cCaller(under.port);
  const heard = await ask(caller.session, {
    headers: { ":method": "POST", ":path": "/" },
    body: [Buffer.from("text")],
  });
  assert.deepEqual([heard.status, heard.headers["x-name"], heard.body.toString()], [200, "there", "text"]);
  assert.deepEqual(failures, [["not-reached", "connect-failed", false]]);
});

test("a stream that its origin refuses is tried elsewhere, with what had gone on", async () => {
  const body = randomBytes(50_000);
  const refuses = await h2cApplication((stream) => {
    let got = 0;
    stream.on("data", (chunk: Buffer) => {
      got += chunk.length;
      if (got >= 40_000) stream.close(7);
    });
  });
  const app = await h2cApplication(echoes("there"));
  const failures: unknown[] = [];
  using under = serves(
    "direct",
    [refuses.port, app.port],
    (event) => to(event, 1, { asks: "unsent" }),
    (event) => {
      failures.push([event.failure, event.cause, event.isSent]);
      return to({ ...event, type: "request" } as never, 2, { asks: "unsent" });
    },
  );
  using caller = h2cCaller(under.port);
  const heard = await ask(caller.session, { headers: { ":method": "POST", ":path": "/" }, body: [body] });
  assert.deepEqual([heard.status, heard.headers["x-name"]], [200, "there"]);
  assert.ok(heard.body.equals(body));
  assert.deepEqual(failures, [["not-reached", "h2-failed", false]]);
});

test("what the agent answers in an origin's place is gRPC's for a call of gRPC", async () => {
  const http1 = await application((_, response) => response.end("no HTTP/2"));
  const silent = closedAtEnd(net.createServer(() => {}).listen(0, "127.0.0.1"));
  await once(silent, "listening");
  const never = await h2cApplication(() => {});
  // The first ends what it does not understand, however long that takes.
  const times: Readonly<Record<string, Partial<Forward>>> = { "/1": {}, "/2": { timeoutMs: 300 } };
  using under = serves("direct", [http1.port, never.port], (event) =>
    to(event, Number(event.target.slice(1)), times[event.target]),
  );
  using caller = h2cCaller(under.port);
  const call = (origin: number, type: string) =>
    ask(caller.session, {
      headers: { ":method": "POST", ":path": `/${origin}`, "content-type": type },
      body: [Buffer.alloc(5)],
    });
  const timedOut = await call(2, "application/grpc");
  assert.deepEqual([timedOut.status, timedOut.headers["grpc-status"], timedOut.isHeadAlone], [200, "4", true]);
  assert.equal((await call(2, "text/plain")).status, 504);
  const lost = await call(1, "application/grpc+proto");
  assert.deepEqual([lost.status, lost.headers["grpc-status"], lost.isHeadAlone], [200, "14", true]);
  assert.ok([502, 503].includes((await call(1, "text/plain")).status));
});

test("changes of heads, both ways", async () => {
  const app = await h2cApplication((stream, headers) => {
    stream.respond({ ":status": 200, "x-old": "1", "x-kept": "1", "x-got": String(headers["x-set"]) });
    stream.end(String(headers[":authority"]));
  });
  using under = serves("direct", [app.port], (event) =>
    to(event, 1, {
      authority: "other:80",
      requestHeaders: [{ op: "set", name: "x-set", value: "new" }],
      responseHeaders: [
        { op: "remove", name: "x-old" },
        { op: "add", name: "x-added", value: "yes" },
      ],
    }),
  );
  using caller = h2cCaller(under.port);
  const heard = await ask(caller.session, { headers: { ":path": "/" } });
  assert.deepEqual(
    ["x-old", "x-kept", "x-added", "x-got"].map((name) => heard.headers[name]),
    [undefined, "1", "yes", "new"],
  );
  assert.equal(heard.body.toString(), "other:80");
});

test("an origin that says GOAWAY gets no further stream, and what it has goes on", async () => {
  const held: (() => void)[] = [];
  const app = await h2cApplication((stream) => {
    held.push(() => {
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
  });
  using under = serves("direct", [app.port]);
  using caller = h2cCaller(under.port);
  const first = ask(caller.session, { headers: { ":path": "/" } });
  await until(() => held.length === 1);
  app.sessions[0]?.goaway(0);
  // Its answer says that what came before has been read.
  await new Promise((answered) => app.sessions[0]?.ping(answered));
  const second = ask(caller.session, { headers: { ":path": "/" } });
  await until(() => held.length === 2);
  assert.equal(app.sessions.length, 2);
  for (const answer of held) answer();
  assert.deepEqual(
    (await Promise.all([first, second])).map(({ status }) => status),
    [200, 200],
  );
  assert.deepEqual(under.errors(), []);
});

test("an origin that ends under its streams: a status where none has begun, a reset where a response has", async () => {
  const came: unknown[] = [];
  const app = await h2cApplication((stream, headers) => {
    came.push(headers[":path"]);
    if (headers[":path"] === "/begun") {
      stream.respond({ ":status": 200 });
      stream.write("some");
    }
    if (headers[":path"] === "/end") stream.session?.socket.destroy();
  });
  using under = serves("direct", [app.port]);
  using caller = h2cCaller(under.port);
  const stream = caller.session.request({ ":path": "/begun" });
  const begun = response(stream);
  const silent = ask(caller.session, { headers: { ":path": "/silent" } });
  await once(stream, "response");
  await until(() => came.includes("/silent"));
  const end = ask(caller.session, { headers: { ":path": "/end" } });
  assert.deepEqual([(await silent).status, (await end).status], [502, 502]);
  assert.notEqual((await begun).code, 0);
});

test("an answer that is a head alone, with a reset behind it, arrives before the rest of its request", async () => {
  const app = await h2cApplication((stream) => {
    stream.respond({ ":status": 200, "grpc-status": "12" }, { endStream: true });
    stream.close(0);
  });
  for (const way of ways) {
    using under = serves(way, [app.port]);
    using caller = h2cCaller(under.port);
    const asked = Array.from({ length: 20 }, async () => {
      const stream = caller.session.request({ ":method": "POST", ":path": "/", "content-type": "application/grpc" });
      stream.write(Buffer.alloc(5));
      const heard = await response(stream);
      assert.deepEqual([heard.status, heard.headers["grpc-status"], heard.code], [200, "12", 0]);
    });
    await Promise.all(asked);
  }
});

test("when the agent drains its callers hear GOAWAY, and what has begun goes on", async () => {
  const held: (() => void)[] = [];
  const app = await h2cApplication((stream) => {
    held.push(() => {
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
  });
  using under = serves("direct", [app.port]);
  using caller = h2cCaller(under.port);
  const heard = ask(caller.session, { headers: { ":path": "/" } });
  await until(() => held.length === 1);
  const goaway = once(caller.session, "goaway");
  const closed = once(caller.session, "close");
  under.engine.engine.drain();
  assert.deepEqual((await goaway)[0], 0);
  held[0]?.();
  assert.equal((await heard).body.toString(), "ok");
  await closed;
  assert.deepEqual(under.errors(), []);
});

test("requests leave nothing behind in the account of memory", async () => {
  const app = await h2cApplication(echoes("one"));
  using under = serves("direct", [app.port], (event) => to(event, 1, { asks: "any", timeoutMs: 5_000 }));
  for (let round = 0; round < 20; round++) {
    using caller = h2cCaller(under.port);
    const headers = { ":method": "POST", ":path": "/" };
    await Promise.all(Array.from({ length: 20 }, () => ask(caller.session, { headers, body: [randomBytes(100_000)] })));
  }
  await until(() => endedOf(under).length === 400);
  assert.ok(endedOf(under).every(({ outcome }) => outcome === "answered"));
  await until(() => under.engine.engine.stats().bufferBytes === 0);
});
