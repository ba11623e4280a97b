// tests · A14, readers that never read: bytes that wait in a relay for an end that takes none of them have a deadline, whichever end it is and
// whatever that end sends itself; what is slow or idle goes on.
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Dice } from "../support/dice.ts";
import { type Pair, pair } from "./hbone-pair.ts";
import { application, reads, ways } from "./read-engine.ts";
import { dial, howItEnds, type Server, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";

const UNREAD_MS = 400;
/** Where nothing may end: a busy machine may read late. */
const PATIENT_MS = 2_000;

/** Writes until nothing goes any more, since buffers of both kernels and both engines are full; or until it is over. */
async function fill(socket: net.Socket, isOver?: () => boolean): Promise<void> {
  const part = randomBytes(65_536);
  for (let quiet = 0; !(socket.destroyed || (isOver?.() ?? quiet >= 5)); ) {
    if (!socket.writableNeedDrain) {
      socket.write(part);
      quiet = 0;
    } else {
      quiet += 1;
    }
    await sleep(socket.writableNeedDrain ? 20 : 0);
  }
}

/** Reads so much of what has come, and no more. */
function take(socket: net.Socket, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let left = bytes;
    const onData = (part: Buffer): void => {
      left -= part.length;
      if (left > 0) return;
      socket.pause();
      socket.off("data", onData);
      resolve();
    };
    socket.on("data", onData);
    socket.resume();
  });
}

/** Both engines of a pair end what is not read. */
function impatient(appPort: number, unreadMs = UNREAD_MS): Pair {
  const both = pair(appPort);
  for (const { engine } of [both.client, both.server]) engine.setUnread(unreadMs);
  return both;
}

const unread = (): Promise<Server> => serve((socket) => void socket.pause());
const causes = (under: TestEngine): readonly string[] => under.closed().map(({ cause }) => cause);
const held = ({ client, server }: Pair): number =>
  client.engine.stats().bufferBytes + server.engine.stats().bufferBytes;

test("an application that never reads: the connection is reset at its deadline, and its memory is free", async () => {
  const app = await unread();
  using both = impatient(app.port);
  const socket = await dial(both.port);
  const how = howItEnds(socket);
  await fill(socket);
  assert.equal(await how, "ECONNRESET");
  await Promise.all([both.client.event("closed"), both.server.event("closed")]);
  assert.ok([...causes(both.client), ...causes(both.server)].includes("unread"));
  while (held(both) > 0) await sleep(5);
  app.close();
});

test("a caller that never reads, and sends on: the same", async () => {
  const app = await serve((socket) => {
    socket.resume();
    void fill(socket);
  });
  using both = impatient(app.port);
  const socket = await dial(both.port);
  const how = new Promise((resolve) => socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code)));
  const closed = Promise.all([both.client.event("closed"), both.server.event("closed")]);
  let isOpen = true;
  void closed.then(() => {
    isOpen = false;
  });
  // Nothing listens to "data": the socket is not read.
  while (isOpen) {
    socket.write(".");
    await sleep(20);
  }
  assert.ok([...causes(both.client), ...causes(both.server)].includes("unread"));
  socket.write(".");
  assert.match(String(await how), /^(ECONNRESET|EPIPE)$/);
  while (held(both) > 0) await sleep(5);
  app.close();
});

test("slow and idle ends keep their connections", async () => {
  const app = await serve((socket) => void socket.pause());
  using both = impatient(app.port, PATIENT_MS);
  const idle = await dial(both.port);
  idle.write("idle");
  while (app.connections.length < 1) await sleep(5);
  const slow = await dial(both.port);
  while (app.connections.length < 2) await sleep(5);
  const [, reader] = app.connections;
  assert.ok(reader);
  let isOver = false;
  const filled = fill(slow, () => isOver);
  // Now and then, for two and a half times the deadline, and so much that the kernels' buffers take something again.
  for (let i = 0; i < 10; i++) {
    await take(reader, 4 << 20);
    await sleep(PATIENT_MS / 4);
  }
  assert.deepEqual([...causes(both.client), ...causes(both.server)], []);
  isOver = true;
  await filled;
  app.close();
});

type Moments = {
  readonly reader: "application" | "caller";
  /** What it reads, and how long it pauses before each. */
  readonly takes: readonly { readonly pauseMs: number; readonly bytes: number }[];
  /** Then it never reads again. */
  readonly stops: boolean;
};

function momentsOf(dice: Dice, stops: boolean): Moments {
  const takes = Array.from({ length: stops ? dice.roll(4) : 14 }, () => ({
    pauseMs: PATIENT_MS / 8 + dice.roll(PATIENT_MS / 8),
    // So much that the kernels' buffers and the stream's window take something again.
    bytes: (4 << 20) + dice.roll(2 << 20),
  }));
  return { reader: dice.pick(["application", "caller"]), takes, stops };
}

/** A connection whose one end writes all the time, and whose other end reads in these moments. */
async function live({ reader, takes, stops }: Moments, where: string): Promise<void> {
  const app = await unread();
  using both = impatient(app.port, PATIENT_MS);
  const caller = await dial(both.port);
  while (app.connections.length < 1) await sleep(5);
  const [application] = app.connections;
  assert.ok(application);
  const [from, to] = reader === "application" ? [caller, application] : [application, caller];
  for (const socket of [from, to]) socket.on("error", () => {});
  let isOver = false;
  const closed = Promise.all([both.client.event("closed"), both.server.event("closed")]);
  const filled = fill(from, () => isOver);
  let lastMs = performance.now();
  for (const { pauseMs, bytes } of takes) {
    await sleep(pauseMs);
    lastMs = performance.now();
    await Promise.race([take(to, bytes), closed]);
    assert.deepEqual([...causes(both.client), ...causes(both.server)], [], where);
  }
  if (stops) {
    await closed;
    // The engine's clock is read once for each of its turns.
    assert.ok(performance.now() - lastMs > PATIENT_MS - 50, `${where}: ended before its time`);
    assert.ok([...causes(both.client), ...causes(both.server)].includes("unread"), where);
    while (held(both) > 0) await sleep(5);
  }
  isOver = true;
  await filled;
  app.close();
}

const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
test(`who reads now and then keeps its connection, who stops loses it in time, not before (ORLOP_SEED=${seed})`, async () => {
  const dice = new Dice(seed);
  const lives = Array.from({ length: 9 }, (_, nth) => momentsOf(dice, nth % 3 !== 0));
  await Promise.all(lives.map((moments, nth) => live(moments, `seed ${seed}, connection ${nth} of ${moments.reader}`)));
});

test("without a deadline an end that never reads keeps its connection", async () => {
  const app = await unread();
  using both = impatient(app.port, 0);
  const socket = await dial(both.port);
  await fill(socket);
  await sleep(UNREAD_MS * 3);
  assert.deepEqual([...causes(both.client), ...causes(both.server)], []);
  assert.ok(held(both) > 0);
  app.close();
});

for (const way of ways) {
  test(`${way}: a websocket whose caller never reads`, async () => {
    const app = await application((_, response) => void response.end());
    app.on("upgrade", (_, socket: net.Socket) => {
      socket.on("error", () => {});
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
      void fill(socket);
    });
    using under = reads(way, app.port);
    under.engine.engine.setUnread(UNREAD_MS);
    const socket = await dial(under.port);
    socket.write("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    const { cause } = await under.engine.event("closed");
    assert.equal(cause, "unread");
    socket.destroy();
  });
}
