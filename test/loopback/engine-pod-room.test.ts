// tests · A9, A13: memory and descriptors are of all pods: a pod that has more than its part of them is refused and pays, and keeps no other out.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { EngineStats } from "../../agent/engine/engine.ts";
import { clientEngine, installBoth, SERVER, serverEngine } from "./hbone-pair.ts";
import { dial, howItEnds, type Server, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";

const MIB = 1 << 20;

/** What it is sent is never read, but of those that say first that they are to be echoed. */
const mute = (): Promise<Server> =>
  serve((socket) =>
    socket.once("data", (first: Buffer) => {
      if (first.toString("latin1").startsWith("echo")) socket.write(first);
      else socket.pause();
    }),
  );

type TwoPods = { readonly server: TestEngine; readonly ports: readonly [number, number] } & Disposable;

/** Pods 2 and 3 of one engine, each with callers of its own. */
function twoPods(appPort: number): TwoPods {
  installBoth();
  const server = serverEngine(() => appPort);
  server.engine.setPod(3, { netnsCookie: 3n, identity: SERVER });
  const callers = [2, 3].map((pod) => {
    const hbone = server.listen(pod, "hbone");
    const caller = clientEngine(() => hbone);
    return { caller, port: caller.listen(1, "outbound") };
  });
  const [first, second] = callers;
  assert.ok(first && second);
  return {
    server,
    ports: [first.port, second.port],
    [Symbol.dispose]() {
      for (const { caller } of callers) caller[Symbol.dispose]();
      server[Symbol.dispose]();
    },
  };
}

/** Sends until the engine holds so many bytes more, and nothing more arrives. */
async function stall(server: TestEngine, port: number, bytes: number): Promise<net.Socket> {
  const held = (): number => server.engine.stats().bufferBytes;
  const socket = await dial(port);
  const before = held();
  while (held() - before < bytes) {
    if (!socket.write(randomBytes(65_536))) await Promise.race([once(socket, "drain"), sleep(50)]);
    await sleep(0);
  }
  for (let was = -1; was !== held(); await sleep(100)) was = held();
  return socket;
}

async function echoed(port: number): Promise<string> {
  const socket = await dial(port);
  const end = howItEnds(socket);
  const answer = once(socket, "data").then(([data]) => String(data));
  socket.write("echo");
  const how = await Promise.race([answer, end]);
  socket.destroy();
  return how;
}

test("memory: a pod whose peers do not read is refused what is new, and other pods are not", async () => {
  const app = await mute();
  using pods = twoPods(app.port);
  const { server, ports } = pods;
  await stall(server, ports[0], MIB);
  // Between 80 and 95 % of it.
  server.engine.setBufferBudget(Math.ceil(server.engine.stats().bufferBytes / 0.87));
  assert.equal(await echoed(ports[0]), "ECONNRESET");
  assert.equal(await echoed(ports[1]), "echo");
  assert.equal(await echoed(ports[0]), "ECONNRESET");
  app.close();
});

test("memory: of pods that have more than their part the largest connection ends, also where another pod's is larger", async () => {
  const app = await mute();
  using pods = twoPods(app.port);
  const { server, ports } = pods;
  const other = await stall(server, ports[1], MIB);
  const sockets: net.Socket[] = [];
  for (let i = 0; i < 8; i += 1) sockets.push(await stall(server, ports[0], MIB / 2));
  const { bufferBytes } = server.engine.stats();
  const ends = sockets.map(howItEnds);
  let hasEnded = false;
  void howItEnds(other).then(() => {
    hasEnded = true;
  });
  assert.ok(bufferBytes > 4 * MIB, `${bufferBytes}`);
  server.engine.setBufferBudget(Math.ceil(bufferBytes / 0.97));
  assert.equal(await echoed(ports[1]), "echo", "which gives the engine a turn, too");
  assert.equal(await Promise.race(ends), "ECONNRESET");
  assert.equal(hasEnded, false, "the other pod's connection goes on");
  app.close();
});

test("descriptors: a pod that opens all it can leaves some to others", async () => {
  const script = fileURLToPath(new URL("./engine-exhausted.ts", import.meta.url));
  const child = spawn("prlimit", ["--nofile=512", process.execPath, script], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => (await lines.next()).value ?? "";
  const [greedy = 0, modest = 0] = (await line()).split(" ").map(Number);
  const stats = async (): Promise<EngineStats> => {
    child.stdin.write("stats\n");
    return JSON.parse(await line());
  };
  const many = Array.from({ length: 600 }, () => net.connect(greedy, "127.0.0.1"));
  for (const each of many) each.on("error", () => {});
  while ((await stats()).shedTotal + (await stats()).acceptedTotal < 600) await sleep(5);
  const before = (await stats()).acceptedTotal;
  await sleep(100);
  const others = await Promise.all(Array.from({ length: 30 }, () => dial(modest)));
  while ((await stats()).acceptedTotal < before + others.length) await sleep(5);
  await sleep(100);
  const { shedTotal } = await stats();
  const late = net.connect(greedy, "127.0.0.1");
  late.on("error", () => {});
  while ((await stats()).shedTotal === shedTotal) await sleep(5);
  for (const socket of [...many, ...others, late]) socket.destroy();
  child.stdin.end();
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
