// tests · how connections to an origin are kept: opened in a time, ended without requests or behind so many. Against servers of node:http and
// node:http2, and a port that nobody accepts on.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import test, { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { OriginPool } from "../../agent/engine/answers.ts";
import type { RequestEvent } from "../../agent/engine/events.ts";
import { ask as askStream, h2cApplication, h2cCaller } from "./h2c.ts";
import { ask, endedOf, serves, to, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { closedAtEnd } from "./support.ts";
import { until } from "./until.ts";

const pooled = (given: Partial<OriginPool>): OriginPool => ({ connectMs: 0, idleMs: 0, mostRequests: 0, ...given });

/** The sockets by which the application was dialled, and how long each was open behind the answer that was its first. */
async function counting(): Promise<{
  readonly port: number;
  readonly sockets: net.Socket[];
  readonly idleMs: number[];
}> {
  const sockets: net.Socket[] = [];
  const idleMs: number[] = [];
  const app = await application(({ socket }, response) => {
    if (!sockets.includes(socket)) {
      sockets.push(socket);
      const answered = performance.now();
      socket.once("close", () => idleMs.push(performance.now() - answered));
    }
    response.end("ok");
  });
  return { port: app.port, sockets, idleMs };
}

for (const way of ways) {
  test(`${way}: HTTP/1.1: a connection carries as many requests as it may, and then another does`, async () => {
    const app = await counting();
    using under = serves(way, [app.port], undefined, undefined, pooled({ mostRequests: 3 }));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let nth = 0; nth < 10; nth += 1) assert.equal((await ask(under.port, { agent })).status, 200);
    assert.equal(app.sockets.length, 4);
    agent.destroy();
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: HTTP/2: a connection carries as many streams as it may; who waits gets another, and none is lost`, async () => {
    const app = await h2cApplication((stream) => {
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
    using under = serves(way, [app.port], undefined, undefined, pooled({ mostRequests: 5 }));
    using caller = h2cCaller(under.port);
    const all = Array.from({ length: 23 }, () => askStream(caller.session, { headers: { ":path": "/" }, body: [] }));
    for (const heard of await Promise.all(all)) assert.equal(heard.status, 200);
    assert.ok(app.sessions.length >= 5, `${app.sessions.length} connections`);
    for (let nth = 0; nth < 10; nth += 1)
      assert.equal((await askStream(caller.session, { headers: { ":path": "/" }, body: [] })).status, 200);
    // At most five each; the last of the first 23 may have room for two.
    assert.ok(app.sessions.length >= 7, `${app.sessions.length} connections`);
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: a connection without a request ends behind its time, and not before`, async () => {
    const idleMs = 300;
    const app = await counting();
    const idleOfHttp2: number[] = [];
    const h2 = await h2cApplication((stream) => {
      const answered = performance.now();
      stream.session?.once("close", () => idleOfHttp2.push(performance.now() - answered));
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
    using under = serves(
      ...([way, [app.port, h2.port], (event: RequestEvent) => to(event, event.protocol === "http2" ? 2 : 1)] as const),
      ...([undefined, pooled({ idleMs })] as const),
    );
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    using caller = h2cCaller(under.port);
    await Promise.all([ask(under.port, { agent }), askStream(caller.session, { headers: { ":path": "/" }, body: [] })]);
    await until(() => app.idleMs.length === 1 && idleOfHttp2.length === 1);
    // Milliseconds of two clocks.
    for (const ms of [...app.idleMs, ...idleOfHttp2]) assert.ok(ms >= idleMs - 5, `${ms} ms`);
    // The callers' own connections stay, and their next requests are served.
    assert.equal((await ask(under.port, { agent })).status, 200);
    assert.equal((await askStream(caller.session, { headers: { ":path": "/" }, body: [] })).status, 200);
    assert.deepEqual([app.sockets.length, h2.sessions.length], [2, 2]);
    agent.destroy();
  });

  test(`${way}: a connection that is not open in its time fails its request, of which nobody has got anything`, async () => {
    const full = await neverAccepts();
    const failures: string[] = [];
    using under = serves(
      ...([way, [full], undefined] as const),
      (event) => {
        failures.push(`${event.failure} ${event.cause} ${event.isSent}`);
        return { type: "pass", conn: event.conn, generation: event.generation, request: event.request };
      },
      pooled({ connectMs: 200 }),
    );
    const began = performance.now();
    assert.equal((await ask(under.port)).status, 503);
    const took = performance.now() - began;
    assert.ok(took >= 190, `${took} ms`);
    using caller = h2cCaller(under.port);
    assert.equal((await askStream(caller.session, { headers: { ":path": "/" }, body: [] })).status, 503);
    assert.deepEqual(
      endedOf(under).map(({ outcome }) => outcome),
      ["not-reached", "not-reached"],
    );
    // Far sooner than the engine's own ten seconds.
    assert.ok(performance.now() - began < 9_000);
    assert.deepEqual(under.errors(), []);
  });
}

/** The port of a program that is stopped with its queue of connections full: the kernel answers no further SYN. */
async function neverAccepts(): Promise<number> {
  const program = `require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, function () {
    console.log(this.address().port);
  })`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  after(() => child.kill("SIGKILL"));
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  child.kill("SIGSTOP");
  const port = Number(said);
  for (let nth = 0; nth < 4; nth += 1) closedAtEnd(net.connect(port, "127.0.0.1")).on("error", () => undefined);
  await sleep(100);
  return port;
}
