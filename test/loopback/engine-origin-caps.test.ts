// tests · origins of which so many connections may be open: whatever callers do, directly or through a tunnel, no more are in use than the cap, each
// request ends once, and in the end no place is kept.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { UnderWayCells } from "../../agent/traffic/under-way-cells.ts";
import { Dice } from "../support/dice.ts";
import { ask, endedOf, serves, to, ways } from "./origin-engine.ts";
import { application } from "./read-engine.ts";

const CAP = 3;
const KEY = 77n;
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));

/** How many requests it has at once, those of a caller that has left included until it is answered. */
async function busyApplication() {
  const counts = { busy: 0, most: 0, got: 0 };
  const app = await application((request, response) => {
    counts.busy += 1;
    counts.got += 1;
    counts.most = Math.max(counts.most, counts.busy);
    response.once("close", () => {
      counts.busy -= 1;
    });
    request.resume();
    setTimeout(() => response.end("ok"), randomInt(4));
  });
  return { port: app.port, counts };
}

for (const way of ways)
  test(`${way}: callers of two origins that share a cap, some of whom leave (seed ${seed})`, async () => {
    const dice = new Dice(seed);
    const apps = [await busyApplication(), await busyApplication()];
    const pool = { connectMs: 0, idleMs: 0, mostRequests: 0, cap: { key: KEY, most: CAP, mostWaiting: 0 } };
    using under = serves(
      way,
      apps.map(({ port }) => port),
      (event) => to(event, Number(event.target.slice(1))),
      undefined,
      pool,
    );
    const shared = UnderWayCells.buffer(1, "awaited");
    under.engine.engine.shareConnections(shared, { thread: 0, threads: 1 });
    under.define();
    const agent = new http.Agent({ keepAlive: true });
    let [served, left] = [0, 0];
    const caller = async (): Promise<void> => {
      for (let time = 0; time < 20; time += 1) {
        const path = `/${1 + dice.roll(2)}`;
        if (dice.roll(5) > 0) {
          const method = dice.pick(["GET", "POST"]);
          const heard = await ask(under.port, { agent, path, method }, method === "POST" ? "body" : "");
          assert.equal(heard.status, 200, `seed ${seed}`);
          served += 1;
          continue;
        }
        const request = http.get({ host: "127.0.0.1", port: under.port, path, agent }).on("error", () => undefined);
        await once(request, "socket");
        await sleep(dice.roll(5));
        request.destroy();
        left += 1;
      }
    };
    await Promise.all(Array.from({ length: 15 }, caller));
    const [one, two] = apps.map(({ counts }) => counts);
    assert.ok(one !== undefined && two !== undefined && one.got > 20 && two.got > 20, `seed ${seed}`);
    // The engine gives up the connection of a caller who leaves, and the application hears of that later.
    assert.ok(left > 10 && served + left === 300, `seed ${seed}: ${left} left`);
    agent.destroy();
    const cells = new UnderWayCells(shared, 1, "awaited");
    assert.ok(cells.underWay(KEY) <= CAP, `seed ${seed}: ${cells.underWay(KEY)} open`);
    for (const number of [1, 2]) under.engine.engine.dropOrigin(number);
    while (cells.underWay(KEY) > 0) await sleep(5);
    // Nothing waits any more: all sixteen cells of its set are anybody's, and the next key has the cell that all others share.
    for (let nth = 1n; nth <= 17n; nth += 1n) assert.notEqual(cells.take(KEY + 256n * nth, 0, 1), undefined);
    const ended = endedOf(under).map(({ conn, generation, request }) => `${conn} ${generation} ${request}`);
    assert.equal(new Set(ended).size, ended.length, `seed ${seed}`);
    assert.deepEqual(under.errors(), [], `seed ${seed}`);
  });

for (const way of ways)
  test(`${way}: without anybody who leaves, never more requests than the cap are at the applications`, async () => {
    const apps = [await busyApplication(), await busyApplication()];
    const pool = { connectMs: 0, idleMs: 0, mostRequests: 7, cap: { key: KEY, most: CAP, mostWaiting: 0 } };
    let [busy, most] = [0, 0];
    using under = serves(
      way,
      apps.map(({ port }) => port),
      (event) => to(event, Number(event.target.slice(1))),
      undefined,
      pool,
    );
    const agent = new http.Agent({ keepAlive: true });
    const look = setInterval(() => {
      busy = apps.reduce((sum, { counts }) => sum + counts.busy, 0);
      most = Math.max(most, busy);
    }, 1);
    const caller = async (nth: number): Promise<void> => {
      for (let time = 0; time < 30; time += 1)
        assert.equal((await ask(under.port, { agent, path: `/${1 + ((time + nth) % 2)}` })).status, 200);
    };
    await Promise.all(Array.from({ length: 10 }, (_, nth) => caller(nth)));
    clearInterval(look);
    agent.destroy();
    assert.ok(most > 1 && most <= CAP, `${most} at once`);
    for (const { counts } of apps) assert.ok(counts.most <= CAP && counts.got === 150);
  });
