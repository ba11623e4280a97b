// tests · A9 memory budget: at 80 % nothing new is taken, at 95 % the largest ends; the others lose nothing.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Pair, pair } from "./hbone-pair.ts";
import { dial, howItEnds, readAll, type Server, serve } from "./support.ts";

// What one stream may leave with an engine whose application does not read: its window, in whole chunks.
const WINDOW = 4 << 20;

const held = ({ server }: Pair): number => server.engine.stats().bufferBytes;

/** Sends until the far engine holds at least `bytes` more. */
async function stall(tunnel: Pair, bytes: number): Promise<{ readonly socket: net.Socket; readonly sent: Buffer[] }> {
  const socket = await dial(tunnel.port);
  const before = held(tunnel);
  const sent: Buffer[] = [];
  const limit = 64 << 20;
  while (held(tunnel) - before < bytes && sent.length * 65_536 < limit) {
    const part = randomBytes(65_536);
    sent.push(part);
    if (!socket.write(part)) await Promise.race([once(socket, "drain"), sleep(50)]);
    await sleep(0);
  }
  return { socket, sent };
}

async function unread(): Promise<Server> {
  return serve((socket) => void socket.pause());
}

test("at 80 % a new CONNECT is refused and counted; what stands goes on, and there is room again later", async () => {
  const app = await unread();
  using tunnel = pair(app.port);
  const { socket, sent } = await stall(tunnel, WINDOW / 2);
  while (held(tunnel) < WINDOW / 2) await sleep(5);
  // Between 80 and 95 %, whatever of its window has arrived.
  await settled(tunnel);
  tunnel.server.engine.setBufferBudget(Math.ceil(held(tunnel) / 0.87));
  const refused = await dial(tunnel.port);
  assert.equal(await howItEnds(refused), "ECONNRESET");
  assert.equal(tunnel.server.engine.stats().shedTotal, 1);
  assert.equal((await tunnel.client.event("closed")).cause, "tunnel-refused");
  const [first] = app.connections;
  assert.ok(first);
  socket.end();
  assert.deepEqual(await readAll(first), Buffer.concat(sent));
  const late = await dial(tunnel.port);
  while (app.connections.length < 2) await sleep(5);
  late.destroy();
  first.destroy();
  app.close();
});

test("at 95 % the largest is reset, and the others' bytes arrive", async () => {
  const app = await unread();
  using tunnel = pair(app.port);
  const small = await stall(tunnel, 256 * 1024);
  const large = await stall(tunnel, WINDOW / 2);
  const ended = howItEnds(large.socket);
  await settled(tunnel);
  tunnel.server.engine.setBufferBudget(Math.ceil(held(tunnel) / 0.97));
  small.socket.end("end"); // gives the engine a turn
  assert.equal(await ended, "ECONNRESET");
  const shed = tunnel.server.closed();
  assert.deepEqual(
    shed.map(({ cause }) => cause),
    ["shed"],
  );
  const [first] = app.connections;
  assert.ok(first);
  assert.deepEqual(await readAll(first), Buffer.concat([...small.sent, Buffer.from("end")]));
  first.destroy();
  app.close();
});

/** Waits until nothing more arrives. */
async function settled(tunnel: Pair): Promise<void> {
  for (let before = -1; before !== held(tunnel); await sleep(100)) before = held(tunnel);
}
