// tests · an origin that ends its connections at random: no POST arrives twice, and no more of them fail than a client without a mesh loses.
// 10,000 POSTs for each way, of which many first meet an origin that nobody serves; with ORLOP_SOAK=1 a million.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer } from "../../agent/engine/answers.ts";
import type { TryFailed } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { refOf } from "./hbone-pair.ts";
import { endedOf, serves, to, ways } from "./origin-engine.ts";
import { CLOSED_PORT, serve } from "./support.ts";

const POSTS = process.env.ORLOP_SOAK === "1" ? 1_000_000 : 10_000;
const CALLERS = 32;

/** Of a hundred POSTs so many are read, and not answered. The number of the POST decides, so that all clients meet the same. */
const isBrokenOff = (id: number): boolean => id % 101 === 7;

/** An origin that ends each connection within 8 ms of silence, and how often each POST has come to it. */
async function origin(dice: Dice) {
  const times = new Map<number, number>();
  const server = await serve((socket) => {
    let held = "";
    let idle: NodeJS.Timeout | undefined;
    socket.setNoDelay(true);
    socket.on("data", (part) => {
      clearTimeout(idle);
      held += part.toString("latin1");
      for (;;) {
        const end = held.indexOf("\r\n\r\n");
        const length = Number(/content-length: (\d+)/i.exec(held)?.[1] ?? 0);
        if (end < 0 || held.length < end + 4 + length) return;
        const id = Number(held.slice(end + 4, end + 4 + length));
        held = held.slice(end + 4 + length);
        times.set(id, (times.get(id) ?? 0) + 1);
        if (isBrokenOff(id)) return void socket.resetAndDestroy();
        const body = `done ${id}`;
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
        idle = setTimeout(() => socket.end(), dice.roll(8));
      }
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      clearTimeout(idle);
      server.connections.splice(server.connections.indexOf(socket), 1);
    });
  });
  return { port: server.port, times };
}

/** Sends each POST once, over a connection as long as it lasts. */
async function caller(port: number, ids: () => number | undefined, dice: Dice, failed: Set<number>): Promise<void> {
  let socket: net.Socket | undefined;
  for (let id = ids(); id !== undefined; id = ids()) {
    if (dice.chance(30)) await sleep(dice.roll(8));
    if (socket === undefined || socket.destroyed || socket.readableEnded) {
      socket?.destroy();
      socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
      socket.on("error", () => {});
      await once(socket, "connect");
    }
    if (await post(socket, id)) continue;
    failed.add(id);
    socket.destroy();
  }
  socket?.destroy();
}

/** Whether it was answered. Anything but its own answer fails the test. */
function post(socket: net.Socket, id: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let said = "";
    const done = (answered: boolean): void => {
      socket.off("data", heard).off("close", ended).off("end", ended);
      resolve(answered);
    };
    const ended = (): void => done(false);
    const heard = (part: Buffer): void => {
      said += part.toString("latin1");
      const status = /^HTTP\/1\.1 (\d+)/.exec(said)?.[1];
      const body = /content-length: (\d+)[\s\S]*?\r\n\r\n([\s\S]*)$/i.exec(said);
      if (body === null || Number(body[1]) > (body[2] ?? "").length) return;
      if (status === "200" && body[2] !== `done ${id}`) reject(new Error(`${id} was answered with ${body[2]}`));
      done(status === "200");
    };
    socket.on("data", heard).on("close", ended).on("end", ended);
    const body = String(id);
    socket.write(`POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  });
}

async function all(port: number, dice: Dice): Promise<Set<number>> {
  const failed = new Set<number>();
  let next = 0;
  const ids = (): number | undefined => (next < POSTS ? next++ : undefined);
  await Promise.all(Array.from({ length: CALLERS }, () => caller(port, ids, dice, failed)));
  return failed;
}

const again = ({ conn, generation, request }: TryFailed, asks: "unsent" | "any"): Answer => ({
  ...{ type: "forward", conn, generation, request, target: "", origin: 1, asks },
});

const lost = (failed: ReadonlySet<number>): number => [...failed].filter((id) => !isBrokenOff(id)).length;

test("no POST arrives twice, and what fails is what would have failed without us", async (context) => {
  const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
  context.diagnostic(`seed ${seed}`);
  const alone = await origin(new Dice(seed));
  const without = lost(await all(alone.port, new Dice(seed + 1)));
  for (const way of ways) {
    const app = await origin(new Dice(seed));
    // Whatever of a POST is not sent may go elsewhere; what was sent is asked about as well, and is not sent again.
    const asks = way === "direct" ? "unsent" : "any";
    using under = serves(
      way,
      [app.port, CLOSED_PORT],
      (event) => to(event, event.request % 3 === 2 ? 2 : 1, { asks }),
      (event) => (event.isSent ? { ...refOf(event), type: "pass", request: event.request } : again(event, asks)),
    );
    const failed = await all(under.port, new Dice(seed + 1));
    const twice = [...app.times].filter(([, times]) => times > 1);
    context.diagnostic(`${way}: ${lost(failed)} of ${POSTS} failed by a race, ${without} without us`);
    assert.deepEqual(twice, [], `seed ${seed}`);
    for (let id = 7; id < POSTS; id += 101) assert.ok(failed.has(id), `${id} was broken off and reported as done`);
    // Of what did not fail each has arrived.
    for (let id = 0; id < POSTS; id++) assert.ok(failed.has(id) || app.times.get(id) === 1, `${id} was lost`);
    assert.ok(lost(failed) <= without + POSTS / 2_000, `${lost(failed)} failed, without us ${without}; seed ${seed}`);
    const ends = endedOf(under);
    assert.equal(new Set(ends.map((end) => `${end.conn}/${end.generation}/${end.request}`)).size, ends.length);
    assert.equal(ends.length, POSTS);
  }
});
