// tests · copies of requests on a served connection: whole and as asked for, and nothing that becomes of a copy touches its request.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type http2 from "node:http2";
import net from "node:net";
import test, { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as abi from "../../agent/abi.ts";
import type { MirrorCopy } from "../../agent/engine/answers.ts";
import type { MirrorEnd, RequestEvent } from "../../agent/engine/events.ts";
import { Dice } from "../policy/dice.ts";
import { ask as askHttp2, h2cApplication, h2cCaller } from "./h2c.ts";
import { ask, endedOf, type Served, serves, to, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { serve } from "./support.ts";

const copyTo = (origin: number, more: Partial<MirrorCopy> = {}): MirrorCopy => ({
  ...{ origin, target: "", authority: "", removesProxyHeaders: false },
  requestHeaders: [
    { op: "remove", name: "authorization" },
    { op: "remove", name: "cookie" },
  ],
  ...more,
});

/** The first origin answers, and the others get copies. */
const mirrored =
  (...copies: readonly MirrorCopy[]) =>
  (event: RequestEvent) =>
    to(event, 1, { mirrors: copies });

const endsOf = ({ engine }: Pick<Served, "engine">): MirrorEnd[] =>
  engine.events.flatMap((event) => (event.type === "mirror-ended" ? [event.end] : []));

const countOf = (ends: readonly MirrorEnd[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const end of ends) counts[end] = (counts[end] ?? 0) + 1;
  return counts;
};

type Got = { readonly headers: http.IncomingHttpHeaders; readonly url: string; readonly body: Buffer };

/** By the field `x-nth`. */
const listens = (answer: string) => {
  const got = new Map<string, Got>();
  const listener: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("error", () => {});
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { headers, url = "" } = request;
      got.set(String(headers["x-nth"]), { headers, url, body: Buffer.concat(chunks) });
      response.end(answer);
    });
  };
  return { got, listener };
};

/** A port where nobody listens. */
async function nobodyThere(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  return port;
}

/** The port of a program, which is killed at the end. */
async function portOf(
  listener: string,
  backlog: number,
): Promise<{ readonly port: number; readonly child: ChildProcess }> {
  const program = `require("node:net").createServer(${listener}).listen({ port: 0, host: "127.0.0.1", backlog: ${backlog} }, function () {
    console.log(this.address().port);
  })`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  after(() => child.kill("SIGKILL"));
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  return { port: Number(said), child };
}

/** Stopped with a full backlog: the kernel answers no further SYN. */
async function neverAccepts(): Promise<number> {
  const { port, child } = await portOf("", 1);
  child.kill("SIGSTOP");
  return port;
}

/** Its response goes on as long as anybody reads it. */
async function pours(): Promise<number> {
  const { port } = await portOf(
    `(socket) => {
    socket.on("error", () => {});
    const pour = (error) => error || socket.write("z".repeat(65536), pour);
    socket.once("data", () => socket.write("HTTP/1.1 200 OK\\r\\n\\r\\n", pour));
  }`,
    511,
  );
  return port;
}

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
      await until("all copies", 5_000, () => endsOf(under).length === nth + 20);
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
    await until("all copies", 5_000, () => endsOf(under).length === bodies.length);
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
  await until("both", 5_000, () => endsOf(under).length === 2);
  const [first, second] = [one.got.get("1"), two.got.get("1")];
  assert.deepEqual(
    [first?.url, first?.headers.host, first?.headers.authorization],
    ["/other?q", "two.shop", undefined],
  );
  assert.deepEqual([second?.url, second?.headers.authorization], ["/path?q", "secret"]);
  assert.deepEqual([String(first?.body), String(second?.body)], ["body", "body"]);
});

/** What a target of copies may be, and how a copy ends there; null: when its time is over. */
const targets: Readonly<Record<string, { readonly port: () => Promise<number>; readonly end: MirrorEnd | null }>> = {
  "nobody listens": { port: nobodyThere, end: "not-reached" },
  "never reads": { port: async () => (await serve((socket) => void socket.pause())).port, end: null },
  "never accepts": { port: neverAccepts, end: null },
  resets: { port: async () => (await serve((socket) => void socket.resetAndDestroy())).port, end: "lost" },
  "resets behind the request": {
    port: async () => (await serve((socket) => void socket.once("data", () => socket.resetAndDestroy()))).port,
    end: "lost",
  },
  "speaks no HTTP": { port: async () => (await serve((socket) => void socket.end("220 smtp\r\n"))).port, end: "lost" },
  "never ends its response": { port: pours, end: "answered" },
};

for (const [name, { port, end }] of Object.entries(targets)) {
  test(`a target of copies that ${name} costs requests nothing`, async () => {
    const app = await application((request, response) => {
      request.resume();
      request.on("end", () => response.end("main"));
    });
    const body = randomBytes(20_000);
    const spent = async (under: Served): Promise<number> => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const times: number[] = [];
      for (let nth = 0; nth < 150; nth++) {
        const before = performance.now();
        assert.equal((await ask(under.port, { agent, method: "POST" }, body)).body, "main");
        times.push(performance.now() - before);
      }
      agent.destroy();
      return times.sort((a, b) => a - b)[Math.floor(times.length * 0.9)] ?? 0;
    };
    using plain = serves("direct", [app.port]);
    const without = await spent(plain);
    using under = serves("direct", [app.port, await port()], mirrored(copyTo(2)));
    const withCopies = await spent(under);
    // Both are a millisecond or so, and some tens on a busy machine; waiting for a target would be seconds.
    assert.ok(withCopies < without * 4 + 250, `${withCopies} ms, without copies ${without} ms`);
    assert.equal(endedOf(under).length, 150);
    assert.ok(endedOf(under).every(({ outcome }) => outcome === "answered"));
    if (end !== null) {
      await until("all copies", 5_000, () => endsOf(under).length === 150);
      const { [end]: ended = 0, full = 0, ...others } = countOf(endsOf(under));
      assert.ok(ended >= 60 && ended + full >= 140, JSON.stringify({ ended, full, others }));
    }
    assert.deepEqual(under.errors(), []);
  });
}

for (const protocol of ["HTTP/1.1", "HTTP/2"] as const) {
  test(`${protocol}: thousands of copies into a black hole hold little, and end in time`, async () => {
    const hole = await serve((socket) => void socket.pause());
    const body = randomBytes(30_000);
    const asks = async (under: Served, times: number): Promise<void> => {
      if (protocol === "HTTP/2") {
        using caller = h2cCaller(under.port);
        for (let nth = 0; nth < times; nth += 20)
          await Promise.all(
            Array.from({ length: 20 }, () =>
              askHttp2(caller.session, { headers: { ":method": "POST", ":path": "/" }, body: [body] }),
            ),
          );
        return;
      }
      const agent = new http.Agent({ keepAlive: true, maxSockets: 20 });
      for (let nth = 0; nth < times; nth += 20)
        await Promise.all(Array.from({ length: 20 }, () => ask(under.port, { agent, method: "POST" }, body)));
      agent.destroy();
    };
    const main =
      protocol === "HTTP/2"
        ? await h2cApplication((stream) => {
            stream.resume();
            stream.on("end", () => {
              stream.respond({ ":status": 200 });
              stream.end("main");
            });
          })
        : await application((request, response) => {
            request.resume();
            request.on("end", () => response.end("main"));
          });
    using under = serves("direct", [main.port, hole.port], mirrored(copyTo(2)));
    await asks(under, 3_000);
    const { bufferBytes } = under.engine.engine.stats();
    assert.ok(bufferBytes < 10 << 20, `${bufferBytes} bytes`);
    assert.ok(hole.connections.length <= 64, `${hole.connections.length} connections`);
    assert.ok((countOf(endsOf(under)).full ?? 0) > 2_500, JSON.stringify(countOf(endsOf(under))));
    await until("their time", 25_000, () => endsOf(under).length === 3_000);
    assert.ok(under.engine.engine.stats().bufferBytes < 1 << 20);
    // There is room again.
    const before = endsOf(under).length;
    await asks(under, 20);
    await sleep(300);
    assert.equal(endsOf(under).length, before);
    assert.deepEqual(under.errors(), []);
  });
}

for (const protocol of ["HTTP/1.1", "HTTP/2"] as const) {
  for (const way of ways) {
    test(`${protocol}, ${way}: copies whose origin is dropped end at once, the others go on, and requests too`, async () => {
      const hole = await serve((socket) => void socket.on("error", () => {}).pause());
      const tapes = listens("mirrored");
      const kept = await application(tapes.listener);
      const main =
        protocol === "HTTP/2"
          ? await h2cApplication((stream) => {
              stream.resume();
              stream.on("end", () => {
                stream.respond({ ":status": 200 });
                stream.end("main");
              });
            })
          : await application((request, response) => {
              request.resume();
              request.on("end", () => response.end("main"));
            });
      using under = serves(
        way,
        [main.port, hole.port, kept.port, hole.port],
        mirrored(copyTo(2), copyTo(3), copyTo(4)),
      );
      const drop = (): void => {
        for (const origin of [2, 4]) under.engine.engine.dropOrigin(origin);
      };
      const body = randomBytes(100_000);
      if (protocol === "HTTP/2") {
        using caller = h2cCaller(under.port);
        for (let nth = 0; nth < 20; nth++)
          await askHttp2(caller.session, { headers: { ":method": "POST", ":path": "/" }, body: [body] });
        await sleep(100);
        drop();
        await askHttp2(caller.session, { headers: { ":method": "POST", ":path": "/" }, body: [body] });
      } else {
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const headers = { "x-nth": "0" };
        for (let nth = 0; nth < 20; nth++)
          assert.equal((await ask(under.port, { agent, method: "POST", headers }, body)).body, "main");
        await sleep(100);
        drop();
        assert.equal((await ask(under.port, { agent, method: "POST", headers }, body)).body, "main");
        agent.destroy();
      }
      await until("their ends", 5_000, () => {
        const { withdrawn = 0, "not-reached": unreached = 0 } = countOf(endsOf(under));
        return withdrawn === 40 && unreached === 2;
      });
      // A socket that does not read does not see its end.
      for (const socket of hole.connections) socket.resume();
      await until("the ends of their connections", 10_000, () => hole.connections.every((socket) => socket.destroyed));
      if (protocol === "HTTP/1.1") assert.equal(countOf(endsOf(under)).answered, 21);
      assert.equal(endedOf(under).length, 21);
      assert.ok(endedOf(under).every(({ outcome }) => outcome === "answered"));
      assert.deepEqual(under.errors(), []);
    });
  }
}

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
  await until("all", 5_000, () => endsOf(under).length === 6);
  assert.deepEqual(countOf(endsOf(under)), { answered: 2, "too-large": 4 });
  assert.deepEqual([...mirror.got.keys()], [`${most} false`, `${most} true`]);
  assert.equal(main.got.size, 6);
  // A caller that goes in the midst of its request.
  const socket = net.connect({ port: under.port, host: "127.0.0.1" });
  socket.write("POST / HTTP/1.1\r\nhost: a\r\nx-nth: gone\r\ncontent-length: 9\r\n\r\n1234");
  await until("its head", 5_000, () => under.engine.events.filter(({ type }) => type === "request").length === 7);
  socket.destroy();
  await until("its copy", 5_000, () => endsOf(under).at(-1) === "incomplete");
  assert.equal(mirror.got.size, 2);
  assert.deepEqual(under.errors(), []);
});

async function until(what: string, withinMs: number, holds: () => boolean): Promise<void> {
  for (const end = performance.now() + withinMs; !holds(); await sleep(5))
    assert.ok(performance.now() < end, `${what} did not come`);
}
