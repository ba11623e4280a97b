// tests · what the engine itself answers in an origin's place can be read by pages of other origins, as the response could; and a reset of one
// request leaves the others of its connection alone.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import type { RequestEvent } from "../../agent/engine/events.ts";
import type { HeaderEdit } from "../../agent/engine/head-edits.ts";
import { ask as ask2, h2cApplication, h2cCaller } from "./h2c.ts";
import { refOf } from "./hbone-pair.ts";
import { ask, endedOf, type Served, serves, to } from "./origin-engine.ts";
import { application } from "./read-engine.ts";
import { CLOSED_PORT, howItEnds, serve } from "./support.ts";
import { until } from "./until.ts";

const edits: readonly HeaderEdit[] = [
  { op: "set", name: "Access-Control-Allow-Origin", value: "https://shop.example" },
  { op: "set", name: "access-control-allow-credentials", value: "true" },
  { op: "add", name: "vary", value: "Origin" },
  { op: "set", name: "set-cookie", value: "session=1" },
  { op: "remove", name: "access-control-expose-headers" },
];
const shared = (headers: NodeJS.Dict<string | string[]>): unknown => [
  headers["access-control-allow-origin"],
  headers["access-control-allow-credentials"],
  headers.vary,
  headers["set-cookie"],
];
const wanted = ["https://shop.example", "true", "Origin", undefined];

/** By number: nobody, an origin that ends each connection, that never answers, that answers no HTTP. */
async function failing(): Promise<Served> {
  const ends = await serve((socket) => socket.once("data", () => socket.end()));
  const silent = await serve((socket) => socket.resume());
  const wrong = await serve((socket) => socket.once("data", () => socket.end("HTTP/1.1 2000 OK\r\n\r\n")));
  const ports = [CLOSED_PORT, ends.port, silent.port, wrong.port];
  return serves("direct", ports, (event: RequestEvent) => {
    const [, nth = "", isPlain = ""] = event.target.split("/");
    const responseHeaders = isPlain === "" ? edits : [];
    // Of the silent origin alone: the others end, however long that takes.
    return to(event, Number(nth), { responseHeaders, ...(nth === "3" && { timeoutMs: 100 }) });
  });
}

test("HTTP/1: 503, 502, 504 in an origin's place say who may read them, and nothing else that was for its response", async () => {
  using under = await failing();
  for (const [nth, status] of [
    [1, 503],
    [2, 502],
    [3, 504],
    [4, 502],
  ] as const) {
    const heard = await ask(under.port, { path: `/${nth}` });
    assert.deepEqual([heard.status, shared(heard.headers)], [status, wanted]);
    assert.equal(heard.headers["content-type"], "text/plain");
    const plain = await ask(under.port, { path: `/${nth}/plain` });
    assert.deepEqual([plain.status, shared(plain.headers)], [status, [undefined, undefined, undefined, undefined]]);
  }
  assert.deepEqual(under.errors(), []);
});

test("HTTP/1: what was for one request's response is not in an answer to the next", async () => {
  const app = await application((_, response) => response.end("ok"));
  let nth = 0;
  using under = serves("direct", [app.port, CLOSED_PORT], (event) =>
    to(event, ++nth, nth === 1 ? { responseHeaders: edits } : {}),
  );
  const socket = net.connect({ port: under.port, host: "127.0.0.1" });
  socket.write("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n");
  const [first] = (await once(socket, "data")) as [Buffer];
  assert.match(first.toString(), /^HTTP\/1\.1 200 .*access-control-allow-origin/is);
  socket.write("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
  const [second] = (await once(socket, "data")) as [Buffer];
  assert.match(second.toString(), /^HTTP\/1\.1 503 /);
  assert.doesNotMatch(second.toString(), /access-control/i);
  socket.destroy();
});

test("HTTP/2: the same", async () => {
  using under = await failing();
  using caller = h2cCaller(under.port);
  for (const [nth, status] of [
    [1, 503],
    [2, 502],
    [3, 504],
  ] as const) {
    const heard = await ask2(caller.session, { headers: { ":path": `/${nth}` } });
    assert.deepEqual([heard.status, shared(heard.headers)], [status, wanted], `origin ${nth}`);
    const grpc = { ":method": "POST", ":path": `/${nth}`, "content-type": "application/grpc" };
    const call = await ask2(caller.session, { headers: grpc });
    assert.deepEqual([call.status, shared(call.headers)], [200, wanted]);
    assert.notEqual(call.headers["grpc-status"] ?? call.trailers["grpc-status"], undefined);
  }
});

test("HTTP/2: a request is reset alone, and others of its connection are answered", async () => {
  const app = await h2cApplication((stream) =>
    setTimeout(() => {
      stream.respond({ ":status": 200 });
      stream.end("ok");
    }, 100),
  );
  using under = serves("direct", [app.port], (event) =>
    event.target === "/reset" ? { ...refOf(event), type: "reset", request: event.request } : to(event, 1),
  );
  using caller = h2cCaller(under.port);
  const asked = ["/", "/reset", "/", "/reset", "/"].map((path) => ask2(caller.session, { headers: { ":path": path } }));
  const heard = await Promise.all(asked);
  assert.deepEqual(
    heard.map(({ status, code }) => [status, code]),
    [200, 0, 200, 0, 200].map((status, index) => [status, index % 2 === 0 ? 0 : 2]),
  );
  assert.equal(caller.session.closed, false);
  await until(() => endedOf(under).length === 5);
  assert.deepEqual(
    endedOf(under)
      .map(({ outcome }) => outcome)
      .sort(),
    ["answered", "answered", "answered", "cut", "cut"],
  );
});

test("HTTP/1: a request that is reset takes its connection along", async () => {
  using under = serves("direct", [1], (event) => ({ ...refOf(event), type: "reset", request: event.request }));
  const socket = net.connect({ port: under.port, host: "127.0.0.1" });
  socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  assert.equal(await howItEnds(socket), "ECONNRESET");
  await until(() => endedOf(under).length === 1);
  assert.equal(endedOf(under)[0]?.outcome, "cut");
});
