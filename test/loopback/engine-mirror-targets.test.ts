// tests · targets of copies that refuse, reset, never read, never accept or never end: their requests do not notice, and what is held is little.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import test, { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { MirrorEnd } from "../../agent/engine/events.ts";
import { ask as askHttp2, h2cApplication, h2cCaller } from "./h2c.ts";
import { copyTo, countOf, endsOf, mirrored } from "./mirrored-engine.ts";
import { ask, endedOf, type Served, serves, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { CLOSED_PORT, serve } from "./support.ts";
import { until } from "./until.ts";

/** Of a copy whose target does not answer (native/engine/origin/mirror_exchange.cc). */
const LIFE_MS = 15_000;

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

/** What a target of copies may be, and how a copy ends there; null: when its time is over. */
const targets: Readonly<Record<string, { readonly port: () => Promise<number>; readonly end: MirrorEnd | null }>> = {
  "nobody listens": { port: async () => CLOSED_PORT, end: "not-reached" },
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
  test(`a target of copies that ${name} costs requests nothing`, { timeout: 120_000 }, async () => {
    const app = await application((request, response) => {
      request.resume();
      request.on("end", () => response.end("main"));
    });
    const body = randomBytes(20_000);
    using under = serves("direct", [app.port, await port()], mirrored(copyTo(2)));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    // One after the other: requests that waited for a target would take seconds each, and the test would not end in its time.
    for (let nth = 0; nth < 150; nth++)
      assert.equal((await ask(under.port, { agent, method: "POST" }, body)).body, "main");
    agent.destroy();
    assert.equal(endedOf(under).length, 150);
    assert.ok(endedOf(under).every(({ outcome }) => outcome === "answered"));
    if (end !== null) {
      await until(() => endsOf(under).length === 150, "all copies");
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
    const began = performance.now();
    await asks(under, 3_000);
    // On a machine that others use the first copies may have had their time, and their room is others'.
    const lives = 1 + Math.floor((performance.now() - began) / LIFE_MS);
    const { bufferBytes } = under.engine.engine.stats();
    assert.ok(bufferBytes < 10 << 20, `${bufferBytes} bytes`);
    assert.ok(hole.connections.length <= 64 * lives, `${hole.connections.length} connections`);
    assert.ok((countOf(endsOf(under)).full ?? 0) > 3_000 - 500 * lives, JSON.stringify(countOf(endsOf(under))));
    await until(() => endsOf(under).length === 3_000, "their time");
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
      // In the protocol of the requests: by another, a copy is lost or not even sent.
      const answers = (): Promise<{ readonly port: number }> =>
        protocol === "HTTP/2"
          ? h2cApplication((stream) => {
              stream.resume();
              stream.on("end", () => {
                stream.respond({ ":status": 200 });
                stream.end("main");
              });
            })
          : application((request, response) => {
              request.resume();
              request.on("end", () => response.end("main"));
            });
      const [main, kept] = [await answers(), await answers()];
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
      await until(() => {
        const { withdrawn = 0, "not-reached": unreached = 0 } = countOf(endsOf(under));
        return withdrawn === 40 && unreached === 2;
      }, "their ends");
      // A socket that does not read does not see its end.
      for (const socket of hole.connections) socket.resume();
      await until(() => hole.connections.every((socket) => socket.destroyed), "the ends of their connections");
      await until(() => countOf(endsOf(under)).answered === 21, "all that were kept");
      assert.equal(endedOf(under).length, 21);
      assert.ok(endedOf(under).every(({ outcome }) => outcome === "answered"));
      assert.deepEqual(under.errors(), []);
    });
  }
}
