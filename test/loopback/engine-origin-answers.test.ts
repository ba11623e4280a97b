// tests · a served connection: what the agent answers about a request is done, of its origin, its edits and a reply of the agent's own.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import test from "node:test";
import { refOf } from "./hbone-pair.ts";
import { ask, callersOf, endedOf, serves, to } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { CLOSED_PORT, closedAtEnd, howItEnds, serve } from "./support.ts";

test("an origin that nobody answers at is 503, with why, and the caller's connection goes on", async () => {
  const app = await application((_, response) => response.end("ok"));
  using under = serves("direct", [app.port, CLOSED_PORT], (event) => to(event, event.target === "/good" ? 1 : 2));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const heard = await ask(under.port, { agent, path: "/bad" });
  assert.deepEqual([heard.status, heard.body], [503, "not reached"]);
  assert.equal((await ask(under.port, { agent, path: "/good" })).status, 200);
  assert.equal(under.engine.events.filter(({ type }) => type === "accepted").length, 1);
  agent.destroy();
  const [ended] = endedOf(under);
  assert.equal(ended?.outcome, "not-reached");
  assert.deepEqual(ended?.notReached, { cause: "connect-failed", message: "Connection refused" });
});

test("an origin of another pod, and a number that nothing was defined for, are reached by nobody", async () => {
  const { callers, listener } = callersOf();
  const app = await application(listener);
  using under = serves("direct", [app.port], (event) => to(event, Number(event.target.slice(1))));
  const route = { type: "relay", to: { address: "127.0.0.1", port: app.port } } as const;
  under.engine.engine.defineOrigin({ origin: 7, podIdx: 9, route });
  for (const path of ["/7", "/8", "/0"]) {
    const { status } = await ask(under.port, { agent: false, path });
    assert.equal(status, 503, path);
  }
  assert.deepEqual(callers, []);
  assert.equal((await ask(under.port, { agent: false, path: "/1" })).status, 200);
  // What is dropped is gone for new requests; what is defined anew has connections of its own.
  under.engine.engine.dropOrigin(1);
  assert.equal((await ask(under.port, { agent: false, path: "/1" })).status, 503);
  under.engine.engine.defineOrigin({ origin: 1, podIdx: 1, route });
  assert.equal((await ask(under.port, { agent: false, path: "/1" })).status, 200);
  assert.equal(new Set(callers).size, 2);
});

test("a pod that leaves takes its idle connections along", async () => {
  for (const cut of [false, true]) {
    const app = await serve((socket) => {
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    });
    using under = serves("direct", [app.port]);
    assert.equal((await ask(under.port, { agent: false })).body, "ok");
    const [connection] = app.connections;
    assert.ok(connection);
    const gone = once(connection, "end");
    under.engine.engine.removePod(1, { cut });
    await gone;
  }
});

test("edits of the answer reach both heads, and 1xx are left alone", async () => {
  const app = await application((request, response) => {
    response.writeEarlyHints({ link: "</a>; rel=preload" });
    response.setHeader("x-old", "theirs");
    response.setHeader("set-cookie", "a=1");
    response.end(JSON.stringify([request.url, request.headers.host, request.headers["x-new"]]));
  });
  using under = serves("direct", [app.port], (event) =>
    to(event, 1, {
      ...{ target: "/rewritten", authority: "backend:80" },
      requestHeaders: [{ op: "set", name: "x-new", value: "1" }],
      responseHeaders: [
        { op: "remove", name: "x-old" },
        { op: "add", name: "set-cookie", value: "b=2" },
      ],
    }),
  );
  const request = http.request({ host: "127.0.0.1", port: under.port, path: "/a?q=1", agent: false });
  const hints = once(request, "information") as Promise<[http.InformationEvent]>;
  const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
  request.end();
  const [information] = await hints;
  assert.deepEqual([information.statusCode, information.headers["set-cookie"]], [103, undefined]);
  const [response] = await answered;
  let body = "";
  for await (const part of response) body += part;
  assert.deepEqual(JSON.parse(body), ["/rewritten?q=1", "backend:80", "1"]);
  assert.deepEqual(response.headers["set-cookie"], ["a=1", "b=2"]);
  assert.equal(response.headers["x-old"], undefined);
});

test("a reply goes without an origin, and the connection serves the next request", async () => {
  const app = await application((_, response) => response.end("ok"));
  using under = serves("direct", [app.port], (event) =>
    event.target === "/go"
      ? to(event, 1)
      : {
          ...{ ...refOf(event), type: "reply", request: event.request, status: 302, body: "" },
          headers: [{ op: "set", name: "location", value: "/go" }],
        },
  );
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  assert.equal((await ask(under.port, { agent, path: "/" })).headers.location, "/go");
  assert.equal((await ask(under.port, { agent, path: "/go" })).body, "ok");
  assert.equal(under.engine.events.filter(({ type }) => type === "accepted").length, 1);
  agent.destroy();
});

test("what is no HTTP ends", async () => {
  using under = serves("direct", [1]);
  const socket = closedAtEnd(net.connect({ port: under.port, host: "127.0.0.1" }));
  socket.write("\x16\x03\x01\x00\x05hello", "latin1");
  await howItEnds(socket);
  assert.ok(await under.engine.event("closed", (event) => event.cause === "not-http"));
});
