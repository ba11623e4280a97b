// tests · a try of a request fails before its caller has got a byte: the engine asks what then, tries again with all that came of the body,
// or passes on what there is.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import net from "node:net";
import test from "node:test";
import type { Answer } from "../../agent/engine/answers.ts";
import type { TryFailed } from "../../agent/engine/events.ts";
import { refOf } from "./hbone-pair.ts";
import { ask, endedOf, type Served, saidUntil, serves, to, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { CLOSED_PORT, serve } from "./support.ts";
import { until } from "./until.ts";

const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** Says what it has got. */
async function telling() {
  const bodies: string[] = [];
  const app = await application((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      bodies.push(digest(Buffer.concat(chunks)));
      response.end(`${request.method} ${bodies.at(-1)}`);
    });
  });
  return { port: app.port, bodies };
}

const failuresOf = ({ engine }: Served): TryFailed[] => engine.events.filter((event) => event.type === "try-failed");
const again = (event: TryFailed, origin: number): Answer => ({
  ...{ ...refOf(event), type: "forward", request: event.request, target: "", origin, asks: "any" },
});
const pass = (event: TryFailed): Answer => ({ ...refOf(event), type: "pass", request: event.request });

for (const way of ways) {
  test(`${way}: what was not sent goes to another origin, with a body of any size and framing, once`, async () => {
    const app = await telling();
    using under = serves(
      way,
      [CLOSED_PORT, app.port],
      (event) => to(event, 1, { asks: "unsent" }),
      (event) => again(event, 2),
    );
    const agent = new http.Agent({ keepAlive: true });
    const bodies = [0, 1, 5_000, 64_000, 300_000].map((size) => randomBytes(size));
    for (const body of bodies)
      for (const headers of [{ "content-length": body.length }, { "transfer-encoding": "chunked" }]) {
        const heard = await ask(under.port, { agent, method: "POST", headers }, body);
        assert.deepEqual([heard.status, heard.body], [200, `POST ${digest(body)}`]);
      }
    agent.destroy();
    assert.equal(app.bodies.length, 10);
    assert.deepEqual(
      failuresOf(under).map(({ failure, isSent }) => [failure, isSent]),
      Array.from({ length: 10 }, () => ["not-reached", false]),
    );
    const [first] = failuresOf(under);
    const why = way === "direct" ? ["connect-failed", 111] : ["tunnel-refused", 503];
    assert.deepEqual([first?.cause, first?.status, first?.method], [...why, "POST"]);
    assert.ok(endedOf(under).every(({ outcome, answeredUs }) => outcome === "answered" && answeredUs > 0));
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: passed on, the caller is answered as if nobody had been asked`, async () => {
    using under = serves(way, [CLOSED_PORT], (event) => to(event, 1, { asks: "any" }), pass);
    const heard = await ask(under.port, { method: "POST", agent: false }, "body");
    assert.deepEqual([heard.status, heard.body], [503, "not reached"]);
    assert.deepEqual(
      endedOf(under).map(({ outcome, notReached }) => [outcome, notReached?.cause]),
      [["not-reached", way === "direct" ? "connect-failed" : "tunnel-refused"]],
    );
  });

  test(`${way}: a response with a status from 400 is held, and passed on whole or tried again`, async () => {
    const app = await telling();
    const failing = await application((request, response) => {
      request.resume();
      request.on("end", () => response.writeHead(503, { "x-why": "busy" }).end("z".repeat(100_000)));
    });
    using under = serves(
      way,
      [failing.port, app.port],
      (event) => to(event, 1, { asks: "any", responseHeaders: [{ op: "set", name: "x-by", value: "us" }] }),
      (event) => (event.target === "/again" ? again(event, 2) : pass(event)),
    );
    const agent = new http.Agent({ keepAlive: true });
    for (const size of [0, 10, 50_000]) {
      const body = randomBytes(size);
      const passed = await ask(under.port, { agent, method: "PUT" }, body);
      const seen = [passed.status, passed.headers["x-why"], passed.headers["x-by"], passed.body.length];
      assert.deepEqual(seen, [503, "busy", "us", 100_000]);
      const heard = await ask(under.port, { agent, method: "PUT", path: "/again" }, body);
      assert.deepEqual([heard.status, heard.body], [200, `PUT ${digest(body)}`]);
    }
    // More than is kept is not asked about: what has gone is not at hand.
    const asked = failuresOf(under).length;
    assert.equal((await ask(under.port, { agent, method: "PUT", path: "/again" }, randomBytes(200_000))).status, 503);
    assert.equal(failuresOf(under).length, asked);
    agent.destroy();
    assert.ok(
      failuresOf(under).every(({ failure, status, isSent }) => failure === "status" && status === 503 && isSent),
    );
    assert.deepEqual(under.errors(), []);
  });

  test(`${way}: a connection that ends, and a try that lasts too long, are tried again with the body that was sent`, async () => {
    const app = await telling();
    const breaking = await serve((socket) => socket.once("data", () => socket.resetAndDestroy()));
    const silent = await serve(() => {});
    using under = serves(
      way,
      [breaking.port, silent.port, app.port],
      (event) =>
        event.target === "/lost" ? to(event, 1, { asks: "any" }) : to(event, 2, { asks: "any", tryTimeoutMs: 1_000 }),
      (event) => again(event, 3),
    );
    for (const path of ["/lost", "/late"]) {
      const heard = await ask(under.port, { agent: false, method: "POST", path }, "body");
      assert.deepEqual([heard.status, heard.body], [200, `POST ${digest(Buffer.from("body"))}`], path);
    }
    assert.deepEqual(
      failuresOf(under).map(({ failure, isSent }) => [failure, isSent]),
      [
        ["lost", true],
        ["timeout", true],
      ],
    );
    // Nobody is asked about what was sent where only the unsent is asked about.
    using other = serves(
      way,
      [breaking.port],
      (event) => to(event, 1, { asks: "unsent" }),
      (event) => again(event, 1),
    );
    assert.equal((await ask(other.port, { agent: false, method: "POST" }, "body")).status, 502);
    assert.deepEqual(failuresOf(other), []);
  });

  test(`${way}: the time of the whole request runs over all tries and pauses, and ends them`, async () => {
    using under = serves(
      way,
      [CLOSED_PORT],
      // Long enough for a tunnel and some tries.
      (event) => to(event, 1, { asks: "any", timeoutMs: 2_000 }),
      (event) => ({ ...refOf(event), type: "hold", request: event.request, ms: 50 }),
    );
    const heard = await ask(under.port, { agent: false });
    assert.deepEqual([heard.status, heard.body], [504, "timeout"]);
    // It is asked about again behind each pause, with all that is known of it.
    assert.ok(failuresOf(under).length > 1 && failuresOf(under).every(({ target }) => target === "/"));
    assert.deepEqual(
      endedOf(under).map(({ outcome }) => outcome),
      ["deadline"],
    );
  });

  test(`${way}: a caller that leaves while nobody has decided is the request's end, and late answers are nobody's`, async () => {
    const late: TryFailed[] = [];
    using under = serves(
      way,
      [CLOSED_PORT],
      (event) => to(event, 1, { asks: "any" }),
      (event) => {
        late.push(event);
        return undefined;
      },
    );
    const socket = net.connect({ port: under.port, host: "127.0.0.1" });
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await until(() => late.length === 1);
    socket.resetAndDestroy();
    await until(() => endedOf(under).length === 1);
    for (const event of late) under.engine.engine.answer(again(event, 1));
    const next = net.connect({ port: under.port, host: "127.0.0.1" });
    next.write("GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
    await until(() => late.length === 2);
    for (const event of late)
      under.engine.engine.answer({ ...refOf(event), type: "reply", request: event.request, status: 418, body: "no" });
    assert.match(await saidUntil(next, /no$/), /^HTTP\/1\.1 418 /);
    next.destroy();
    assert.deepEqual(under.errors(), []);
  });
}
