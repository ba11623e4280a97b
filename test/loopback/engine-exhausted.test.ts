// tests · limits of the process: descriptors run out (A13), peers reset at once (A15), idle costs (A14).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { EngineStats } from "../../agent/engine/engine.ts";
import { pair } from "./hbone-pair.ts";
import { dial, howItEnds, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

test("A13 256 descriptors and 600 clients: the surplus is reset and counted, the process answers, and takes new ones later", async () => {
  const script = fileURLToPath(new URL("./engine-exhausted.ts", import.meta.url));
  const child = spawn("prlimit", ["--nofile=256", process.execPath, script], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => (await lines.next()).value ?? "";
  const [port = 0] = (await line()).split(" ").map(Number);
  const stats = async (): Promise<EngineStats> => {
    child.stdin.write("stats\n");
    return JSON.parse(await line());
  };
  const clients = Array.from({ length: 600 }, () => net.connect(port, "127.0.0.1"));
  const reset = clients.map(howItEnds);
  let shed = 0;
  for (const ending of reset) void ending.then((how) => how === "ECONNRESET" && shed++);
  while ((await stats()).shedTotal < 300) await sleep(5);
  while (shed < 300) await sleep(5);
  const full = await stats();
  assert.ok(full.openDescriptors < 200, `${full.openDescriptors}`);
  for (const client of clients) client.destroy();
  while ((await stats()).connections > 0) await sleep(5);
  const accepted = (await stats()).acceptedTotal;
  const late = await dial(port);
  while ((await stats()).acceptedTotal === accepted) await sleep(5);
  late.destroy();
  child.stdin.end();
  assert.deepEqual(await once(child, "exit"), [0, null]);
});

test("A15 resets right after the handshake, on every kind of listener", async () => {
  const app = await serve(() => {});
  using tunnel = pair(app.port);
  using plain = new TestEngine((event) =>
    event.type === "accepted"
      ? { conn: event.conn, generation: event.generation, type: "relay", to: { address: "127.0.0.1", port: app.port } }
      : undefined,
  );
  plain.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  plain.engine.setPod(2, { netnsCookie: 2n, identity: -1 });
  const ports = [tunnel.port, plain.listen(1, "outbound"), plain.listen(1, "inbound"), plain.listen(2, "hbone")];
  for (let round = 0; round < 100; round++) {
    await Promise.all(
      ports.map(async (port) => {
        const socket = net.connect(port, "127.0.0.1");
        socket.on("error", () => {});
        socket.on("connect", () => socket.resetAndDestroy());
        await once(socket, "close");
      }),
    );
  }
  while (plain.engine.stats().connections + plain.engine.stats().tunnels > 0) await sleep(5);
  while (tunnel.client.engine.stats().connections + tunnel.server.engine.stats().connections > 0) await sleep(5);
  const socket = await dial(tunnel.port);
  await tunnel.client.event("established", (event) => event.conn !== undefined);
  socket.destroy();
  app.close();
});

test("A14 idle connections hold no buffer at either end", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using tunnel = pair(app.port);
  const open = async (count: number): Promise<net.Socket[]> => {
    const sockets: net.Socket[] = [];
    for (let i = 0; i < count; i++) {
      const socket = await dial(tunnel.port);
      socket.write("x");
      await once(socket, "data");
      sockets.push(socket);
    }
    return sockets;
  };
  const warm = await open(100);
  assert.equal(tunnel.client.engine.stats().bufferBytes + tunnel.server.engine.stats().bufferBytes, 0);

  const idle = await open(300);
  assert.equal(tunnel.client.engine.stats().bufferBytes + tunnel.server.engine.stats().bufferBytes, 0);
  for (const socket of [...warm, ...idle]) socket.destroy();
  app.close();
});
