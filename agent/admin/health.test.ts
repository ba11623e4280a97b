// Tests of health.ts: readiness by named task, the metrics page, GET only, and scrapes that share a page.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { untilByTurns } from "../../test/support/until.ts";
import { Readiness, startMetricsServer, startReadyServer } from "./health.ts";

const here = { host: "127.0.0.1", port: 0 };
const noWarning = (message: string): never => assert.fail(message);

test("ready only when every task is done; a task may come undone", async (t) => {
  const readiness = new Readiness(["state", "keeper"]);
  const server = await startReadyServer(here, readiness, noWarning);
  t.after(() => server.close());
  const ask = async (): Promise<string> => {
    const reply = await fetch(`http://127.0.0.1:${server.port}/healthz/ready`);
    return `${reply.status} ${await reply.text()}`;
  };
  assert.equal(await ask(), "500 not ready, pending: keeper, state\n");
  readiness.done("state");
  readiness.done("keeper");
  assert.equal(await ask(), "200 ready\n");
  readiness.undone("keeper");
  assert.equal(await ask(), "500 not ready, pending: keeper\n");
});

test("metrics on both paths, made once for scrapes that come together", async (t) => {
  const began = performance.now();
  let made = 0;
  const page = {
    contentType: "text/plain; version=0.0.4; charset=utf-8",
    text: async () => {
      made += 1;
      return "orlop_x 1\n";
    },
  };
  const server = await startMetricsServer(here, page, noWarning);
  t.after(() => server.close());
  const paths = ["/metrics", "/stats/prometheus", "/metrics?x=1"];
  const replies = await Promise.all(paths.map((path) => fetch(`http://127.0.0.1:${server.port}${path}`)));
  for (const reply of replies) {
    assert.equal(reply.headers.get("content-type"), page.contentType);
    assert.equal(await reply.text(), "orlop_x 1\n");
  }
  // Together is within half a second.
  assert.ok(made <= 1 + Math.floor((performance.now() - began) / 500), `made ${made} times`);
});

test("callers that read slowly hold few copies of the page, however often they ask", async (t) => {
  const PAGE = 8_000_000;
  let [made, nowMs] = [0, 0];
  const text = async (): Promise<string> => `${made++}`.padEnd(PAGE, `${made} `);
  const server = await startMetricsServer(here, { contentType: "text/plain", text }, noWarning, () => nowMs);
  t.after(() => server.close());
  const readers: Socket[] = [];
  t.after(() => readers.forEach((socket) => void socket.destroy()));
  /** One more, which reads the first bytes of its reply and no others. */
  const begin = async (): Promise<void> => {
    const socket = connect(server.port, "127.0.0.1");
    readers.push(socket.on("error", () => undefined));
    socket.write("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
    await once(socket, "data");
    socket.pause();
    nowMs += 510;
  };
  await begin();
  const before = process.memoryUsage().rss;
  for (let at = 0; at < 40; at += 1) await begin();
  // Twenty seconds of the server's clock: two pages at once, then each five seconds another.
  assert.ok(made <= 7, `${made} pages`);
  const grown = (process.memoryUsage().rss - before) / PAGE;
  assert.ok(grown < 30, `${grown} pages' bytes`);
  // With them gone, others have pages of their time again.
  for (const socket of readers) socket.destroy();
  for (const seen = made; made < seen + 2; nowMs += 510)
    await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).arrayBuffer();
});

test("GET only, no other path, and a page that fails is a 500 that is noted", async (t) => {
  const warned: string[] = [];
  const page = { contentType: "text/plain", text: () => Promise.reject(new Error("no")) };
  const server = await startMetricsServer(here, page, (message) => warned.push(message));
  t.after(() => server.close());
  const base = `http://127.0.0.1:${server.port}`;
  assert.equal((await fetch(`${base}/metrics`, { method: "POST", body: "x".repeat(100_000) })).status, 405);
  assert.equal((await fetch(`${base}/quitquitquit`)).status, 404);
  assert.equal((await fetch(`${base}/metrics`)).status, 500);
  assert.equal(warned.length, 1);
});

test("a peer that sends no request, or half of one, is cut off", async (t) => {
  const server = await startReadyServer(here, new Readiness([]), noWarning);
  t.after(() => server.close());
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => undefined); // A reset is a cut as well.
  socket.resume();
  socket.write("GET /healthz/ready HT");
  await once(socket, "close");
});

test("whoever holds all connections that a server has, and opens them again, keeps no probe from its answer", async (t) => {
  const ready = await startReadyServer(here, new Readiness([]), noWarning);
  t.after(() => ready.close());
  const held = new Set<Socket>();
  let opened = 0;
  t.after(() => {
    opened = Number.POSITIVE_INFINITY;
    for (const socket of held) socket.destroy();
  });
  const hold = (): void => {
    const socket = connect({ port: ready.port, host: "127.0.0.1", localAddress: "127.0.0.9" });
    held.add(socket);
    socket.on("error", () => undefined);
    socket.once("connect", () => {
      opened += 1;
    });
    socket.once("close", () => {
      held.delete(socket);
      if (opened < 2_000) hold();
    });
  };
  for (let at = 0; at < 100; at += 1) hold();
  await untilByTurns(() => opened >= 64, { seen: () => opened });
  for (let asked = 0; asked < 20; asked += 1)
    assert.equal(
      (await fetch(`http://127.0.0.1:${ready.port}/healthz/ready`, { headers: { connection: "close" } })).status,
      200,
    );
});
