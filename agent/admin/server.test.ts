// Tests of server.ts: every view, rights by uid, and requests that mean no good.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { viewNames } from "./api.ts";
import { type AdminServerOptions, startAdminServer } from "./server.ts";
import { aSource } from "./source.fake.ts";

type Reply = { readonly status: number; readonly headers: NodeJS.Dict<string | string[]>; readonly text: string };

async function start(
  t: TestContext,
  values: Partial<AdminServerOptions> = {},
): Promise<{ path: string; warned: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "orlop-admin-"));
  const path = join(folder, "run", "agent.sock");
  const warned: string[] = [];
  const server = await startAdminServer({
    path,
    source: aSource(),
    peerOf: () => ({ uid: 0, pid: 1 }),
    ownUid: 65_534,
    warn: (message) => warned.push(message),
    ...values,
  });
  t.after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  return { path, warned };
}

function ask(socketPath: string, path: string, method = "GET", body = ""): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const call = request(
      { socketPath, path, method, headers: { "content-length": Buffer.byteLength(body) } },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      },
    );
    call.once("error", reject);
    call.end(body);
  });
}

/** Sends `bytes` as they are and gives what came back until the end. */
async function raw(path: string, bytes: string): Promise<string> {
  const socket: Socket = connect(path);
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", () => undefined); // A reset is a fine answer here.
  socket.write(bytes);
  await once(socket, "close");
  return text;
}

test("every view answers, with its version and kind, and holds no key", async (t) => {
  const { path } = await start(t);
  for (const name of viewNames) {
    const { status, text, headers } = await ask(path, `/v1/${name}`);
    assert.equal(status, 200, name);
    assert.equal(headers["cache-control"], "no-store");
    assert.doesNotMatch(text, /PRIVATE KEY/);
    JSON.parse(text);
  }
  const dump: unknown = JSON.parse((await ask(path, "/v1/dump")).text);
  assert.ok(typeof dump === "object" && dump !== null);
  assert.deepEqual(Object.keys(dump), ["apiVersion", "kind", ...viewNames]);
});

test("the socket is 0600 in a directory 0700; a stale socket is replaced, anything else is not", async (t) => {
  const { path } = await start(t);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(path, "..")).mode & 0o777, 0o700);
  const file = join(path, "..", "file");
  writeFileSync(file, "mine");
  const options = { source: aSource(), peerOf: () => null, ownUid: 0, warn: () => undefined };
  await assert.rejects(startAdminServer({ ...options, path: file }), /is no socket/);
  assert.ok(existsSync(file));
  const second = await startAdminServer({ ...options, path });
  await second.close();
});

test("rights: root reads and changes, the agent's own user reads, everybody else is refused and noted", async (t) => {
  const change = JSON.stringify({ room: "policy", level: "debug", forSeconds: 600 });
  for (const [uid, read, write] of [
    [0, 200, 200],
    [65_534, 200, 403],
    [1_000, 403, 403],
    [null, 403, 403],
  ] as const) {
    await t.test(`uid ${uid}`, async (inner) => {
      const { path, warned } = await start(inner, { peerOf: () => (uid === null ? null : { uid, pid: 1 }) });
      assert.equal((await ask(path, "/v1/status")).status, read);
      assert.equal((await ask(path, "/v1/log", "PUT", change)).status, write);
      assert.equal(warned.length, (read === 403 ? 1 : 0) + (write === 403 ? 1 : 0));
    });
  }
});

test("log levels are set with an expiry; nonsense is refused with 400 and changes nothing", async (t) => {
  const { path } = await start(t);
  const good = await ask(path, "/v1/log", "PUT", JSON.stringify({ room: "policy", level: "debug", forSeconds: 600 }));
  assert.match(good.text, /"level":"debug","until":"2026-11-21T10:10:00.000Z"/);
  for (const bad of [
    "",
    "null",
    "[]",
    "{",
    '{"room":"policy"}',
    '{"room":"x","level":"debug"}',
    '{"room":"policy","level":"info","forSeconds":-1}',
    '{"__proto__":{"room":"policy","level":"info"}}',
  ]) {
    assert.equal((await ask(path, "/v1/log", "PUT", bad)).status, 400, bad);
  }
  assert.match((await ask(path, "/v1/log")).text, /"level":"debug"/);
  assert.equal((await ask(path, "/v1/log", "PUT", "x".repeat(20_000))).status, 413);
});

test("explain passes both names on and says what it could not find", async (t) => {
  const { path } = await start(t);
  assert.match(
    (await ask(path, "/v1/explain?src=shop%2Fweb&dst=shop%2Fapi%3A8080")).text,
    /"reason":"no-allow-matched"/,
  );
  assert.equal((await ask(path, "/v1/explain?src=nobody&dst=x:1")).status, 404);
  assert.equal((await ask(path, "/v1/explain?src=shop/web")).status, 400);
  const asked = "/v1/explain?src=shop/web&dst=shop/api:80";
  assert.match(
    (await ask(path, `${asked}&method=PUT&path=%2Fa&header=x-a%3Db&header=x-a%3Dc`)).text,
    /PUT \/a x-a=b,x-a=c/,
  );
  assert.equal((await ask(path, `${asked}&method=GET%20`)).status, 400);
});

test("unknown paths and methods", async (t) => {
  const { path } = await start(t);
  for (const bad of [
    "/",
    "/v1",
    "/v1/",
    "/v1/certs/",
    "/v1/../etc/passwd",
    "/v1/%63erts",
    "//v1/certs",
    "/v1/certs#x",
    "*",
    "/v1/constructor",
  ]) {
    assert.equal((await ask(path, bad)).status, 404, bad);
  }
  for (const method of ["POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "HEAD"]) {
    const { status, headers } = await ask(path, "/v1/certs", method);
    assert.equal(status, 405, method);
    assert.equal(headers.allow, "GET");
  }
});

test("bytes that are no HTTP, huge headers, smuggled bodies: the connection ends and the next one is served", async (t) => {
  const { path } = await start(t);
  const hostile = [
    "\u0016\u0003\u0001\u0002\u0000\u0001",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    `GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(40_000)}\r\n\r\n`,
    `GET /${"a".repeat(40_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
    "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /v1/status HTTP/9.9\r\n\r\n",
    "GET /v1/status\r\n\r\n",
    "GET /v1/status HTTP/1.1\r\nHost: x\r\nA\u0000B: c\r\n\r\n",
  ];
  for (const bytes of hostile) {
    const reply = await raw(path, bytes);
    assert.doesNotMatch(reply, /"node":"host01"/);
    assert.match(reply, /^(HTTP\/1\.1 (4\d\d|505) |$)/);
  }
  assert.equal((await ask(path, "/v1/status")).status, 200);
});

test("a client that never finishes its request is cut off, and others are served meanwhile", async (t) => {
  const { path } = await start(t);
  const slow = raw(path, "GET /v1/status HTTP/1.1\r\nHost: x\r\n");
  assert.equal((await ask(path, "/v1/status")).status, 200);
  assert.match(await slow, /^(HTTP\/1\.1 408 |HTTP\/1\.1 400 |$)/);
});

test("a source that fails is a 500 without its words", async (t) => {
  const failing = aSource({ certs: () => assert.fail("secret inside") });
  const { path, warned } = await start(t, { source: failing });
  const { status, text } = await ask(path, "/v1/certs");
  assert.equal(status, 500);
  assert.doesNotMatch(text, /secret/);
  assert.equal(warned.length, 1);
});
