// tests · callers and applications that go at any moment: each request that was reported ends once, before its connection does, and in
// the order of the numbers. Resets, ends in the middle of heads and bodies, late verdicts, and connections that the agent ends itself.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer } from "../../agent/engine/answers.ts";
import type { ConnRef, EngineEvent } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { pair, refOf } from "./hbone-pair.ts";
import { reads, ways } from "./read-engine.ts";
import { dial, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

const CALLERS = 150;
const AT_ONCE = 15;
/** Those that are whole are answered, unless somebody goes first. */
const whole = [
  "GET /a HTTP/1.1\r\nhost: a\r\n\r\n",
  "POST /c HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
  "POST /d HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "POST /e HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
  "GET /f HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
  "GET /g HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  "GET /h HTTP/1.0\r\n\r\n",
];
const parts = ["GET /i HTTP/1.1\r\nho", "POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 40\r\n\r\n0123456789"];
const responses = [
  "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
  "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz",
  "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "no HTTP at all\r\n\r\n",
];

function goes(socket: net.Socket, dice: Dice): void {
  if (dice.chance(40)) socket.end();
  else if (dice.chance(50)) socket.resetAndDestroy();
  else socket.destroy();
}

/** An answer, an end, or neither for as long as a caller is patient: an application may say nothing. */
function heardOrClosed(socket: net.Socket): Promise<unknown> {
  const patience = AbortSignal.timeout(100);
  const events = ["data", "end", "close"].map((event) => once(socket, event, { signal: patience }));
  return Promise.race(events.map((event) => event.catch(() => undefined)));
}

async function call(port: number, dice: Dice): Promise<void> {
  const socket = await dial(port);
  socket.resume();
  const rounds = 1 + dice.roll(4);
  for (let round = 0; round < rounds && socket.writable; round++) {
    const isWhole = dice.chance(80);
    socket.write(dice.pick(isWhole ? whole : parts));
    if (isWhole && dice.chance(60)) await heardOrClosed(socket);
    else await sleep(dice.roll(4));
  }
  goes(socket, dice);
  await sleep(dice.roll(10));
  if (!socket.destroyed) socket.resetAndDestroy();
  if (!socket.closed) await once(socket, "close");
}

/** Requests that were reported and their ends, by connection. */
function checked(
  events: readonly EngineEvent[],
  seed: number,
): { readonly connections: number; readonly ends: Set<string> } {
  const keyOf = ({ conn, generation }: ConnRef): string => `${conn}/${generation}`;
  const ends = new Set<string>();
  const open = new Map<string, { reported: Set<number>; last: number }>();
  const closed = new Set<string>();
  for (const event of events) {
    if (event.type === "accepted" || event.type === "connect-request")
      open.set(keyOf(event), { reported: new Set(), last: 0 });
    else if (event.type === "request" || event.type === "request-ended") {
      const key = keyOf(event);
      const connection = open.get(key);
      assert.ok(connection !== undefined && !closed.has(key), `seed ${seed}: ${event.type} behind the end of ${key}`);
      if (event.type === "request") {
        // Asked again: the same number; a websocket is asked about after its request has ended.
        assert.ok(event.request >= connection.last, `seed ${seed}: request ${event.request} after ${connection.last}`);
        if (event.request > connection.last) connection.reported.add(event.request);
      } else {
        assert.ok(
          event.request > connection.last,
          `seed ${seed}: the end of ${event.request} after ${connection.last}`,
        );
        connection.last = event.request;
        connection.reported.delete(event.request);
        ends.add(event.outcome);
      }
    } else if (event.type === "closed") {
      const key = keyOf(event);
      assert.ok(!closed.has(key), `seed ${seed}: ${key} closed twice`);
      closed.add(key);
      assert.deepEqual(
        [...(open.get(key)?.reported ?? [])],
        [],
        `seed ${seed}: open at the end of ${key}, ${event.cause}`,
      );
    }
  }
  assert.equal(closed.size, open.size, `seed ${seed}`);
  return { connections: open.size, ends };
}

for (const way of ["plaintext", "tunnel"] as const) {
  test(`${way}: whoever goes when, each request ends once and before its connection`, async (t) => {
    const seed = randomInt(2 ** 31);
    t.diagnostic(`seed ${seed}`);
    const dice = new Dice(seed);
    const app = await serve((socket) => {
      socket.on("data", () => {
        if (dice.chance(10)) goes(socket, dice);
        else if (socket.writable) socket.write(dice.pick(responses));
      });
      socket.on("end", () => socket.end());
    });
    let engine: TestEngine | undefined;
    const later = (answer: Answer): void => {
      setTimeout(() => engine?.engine.answer(answer), dice.roll(5));
    };
    const answer = (event: EngineEvent): Answer | undefined => {
      if (event.type === "accepted" || event.type === "connect-request") {
        const to = { address: "127.0.0.1", port: app.port };
        const podIdx = event.type === "accepted" ? 1 : 2;
        if (dice.chance(20)) later({ ...refOf(event), type: dice.pick(["close", "ask-again"]) });
        return { ...refOf(event), type: "dial", podIdx, to, from: null, baggage: "", reading: "or-end" };
      }
      if (event.type !== "request") return undefined;
      const ref = { ...refOf(event), request: event.request };
      const verdict: Answer = dice.chance(70)
        ? { ...ref, type: "forward", target: "" }
        : { ...ref, type: "reply", status: 403, body: "RBAC: access denied" };
      if (dice.chance(20)) later({ ...refOf(event), type: dice.pick(["close", "ask-again"]) });
      if (dice.chance(70)) return verdict;
      later(verdict);
      return undefined;
    };
    const both = way === "tunnel" ? pair(app.port, { server: answer }) : undefined;
    engine = both?.server ?? new TestEngine(answer);
    if (both === undefined) engine.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
    const port = both?.port ?? engine.listen(1, "inbound");
    using _ = both ?? engine;
    for (let called = 0; called < CALLERS; called += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, () => call(port, dice)));
    const begun = (): number =>
      engine.events.filter(({ type }) => type === "accepted" || type === "connect-request").length;
    app.close();
    while (engine.closed().length < begun() || begun() === 0) await sleep(5);
    const { connections, ends } = checked(engine.events, seed);
    t.diagnostic(`${connections} connections; ${[...ends].sort().join(" ")}`);
    for (const wanted of ["answered", "replied", "refused", "reset-by-downstream"])
      assert.ok(ends.has(wanted), `seed ${seed}: nothing was ${wanted}`);
    assert.deepEqual(engine.errors, []);
  });
}

test("tunnel: a caller that goes in the middle of a head, behind an application that has finished, is noticed", async () => {
  const app = await serve((socket) => {
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      socket.once("data", () => assert.fail("half of a head has reached the application"));
    });
  });
  using both = pair(app.port, {
    server: (event) => {
      if (event.type === "request") return { ...refOf(event), type: "forward", request: event.request, target: "" };
      if (event.type !== "connect-request") return undefined;
      const to = { address: "127.0.0.1", port: app.port };
      return { ...refOf(event), type: "dial", podIdx: 2, to, from: null, baggage: "", reading: "or-end" };
    },
  });
  const socket = await dial(both.port);
  socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await once(socket, "data");
  socket.write("GET / HTTP/1.1\r\nho");
  const [served] = app.connections;
  served?.end();
  await once(socket, "end");
  socket.end();
  assert.equal((await both.server.event("closed")).cause, "finished");
  app.close();
});

for (const way of ways) {
  test(`${way}: a caller that leaves is the reason why its application breaks off, whatever the application does then`, async () => {
    const part = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    const app = await serve((socket) => {
      socket.once("data", (head: Buffer) => {
        const [, path = ""] = head.toString().split(" ");
        if (path.startsWith("/begun")) socket.write(part);
        // As servers are that know no half-closed callers, that reset, and that write on until they are reset.
        socket.once("end", () => {
          if (path.endsWith("/ends")) socket.end();
          if (path.endsWith("/resets")) socket.resetAndDestroy();
          if (!path.endsWith("/writes")) return;
          const timer = setInterval(() => socket.write("2\r\nok\r\n"), 5);
          socket.once("close", () => clearInterval(timer));
        });
      });
    });
    for (const [path, status] of [
      ["/begun/ends", 200],
      ["/begun/resets", 200],
      ["/begun/writes", 200],
      ["/silent/ends", 0],
      ["/silent/resets", 0],
    ] as const) {
      using under = reads(way, app.port);
      const served = app.connections.length;
      const socket = await dial(under.port);
      socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
      if (status === 200) await once(socket, "data");
      else while ((app.connections[served]?.bytesRead ?? 0) === 0) await sleep(2);
      socket.destroy();
      const ended = await under.engine.event("request-ended");
      assert.deepEqual([ended.outcome, ended.status], ["reset-by-downstream", status], path);
      await under.engine.event("closed");
      assert.deepEqual(under.engine.errors, []);
    }
    app.close();
  });
}

for (const way of ways) {
  test(`${way}: a caller that is killed while its application is silent is noticed, and both connections end`, {
    timeout: 60_000,
  }, async () => {
    // It does not care about the end of its caller's half.
    const app = await serve((socket) => socket.on("data", () => {}));
    for (const reset of [false, true]) {
      using under = reads(way, app.port);
      const nth = app.connections.length;
      const socket = await dial(under.port);
      socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      while ((app.connections[nth]?.bytesRead ?? 0) === 0) await sleep(2);
      reset ? socket.resetAndDestroy() : socket.destroy();
      const { outcome, status } = await under.engine.event("request-ended");
      assert.deepEqual([outcome, status], ["reset-by-downstream", 0]);
      await under.engine.event("closed");
      const served = app.connections[nth];
      if (served?.destroyed !== false) continue;
      const failed = once(served, "error");
      served.write("to nobody");
      await failed;
    }
    app.close();
  });

  test(`${way}: a caller that has ended its half and waits gets whole answers, whatever they are`, async () => {
    const interim = "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n";
    const answer = "HTTP/1.1 200 OK\r\nx: y\r\nContent-Length: 2\r\n\r\nok";
    const said: Readonly<Record<string, string>> = {
      "/answered": answer,
      "/interim": interim + answer,
      "/wrong": "HTTP/1.1 200 OK\r\nwrong\r\n\r\n",
    };
    /** By path: what the application does when it has thought. */
    const goes = new Map<string, () => void>();
    const app = await serve((socket) => {
      socket.on("data", (head: Buffer) => {
        const [, path = ""] = head.toString().split(" ");
        if (path === "/first") socket.write(answer);
        else goes.set(path, () => (path in said ? socket.write(said[path] ?? "") : socket.end()));
      });
    });
    using under = reads(way, app.port);
    /** What a caller gets whose application answers after the caller has got a byte. */
    const late = async (path: string, first = ""): Promise<string> => {
      const socket = await dial(under.port);
      if (first !== "") {
        socket.write(first);
        assert.equal(String((await once(socket, "data"))[0]), answer);
      }
      const got: Buffer[] = [];
      socket.on("data", (bytes: Buffer) => got.push(bytes));
      const ended = once(socket, "end");
      const asked = once(socket, "data");
      socket.end(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
      assert.equal(String((await asked)[0]), "H");
      goes.get(path)?.();
      await ended;
      return Buffer.concat(got).toString();
    };
    const [answered, hinted, wrong, over, later] = await Promise.all([
      late("/answered"),
      late("/interim"),
      late("/wrong"),
      late("/ended"),
      late("/ended-later", "GET /first HTTP/1.1\r\nhost: a\r\n\r\n"),
    ]);
    assert.equal(answered, answer);
    assert.equal(hinted, interim + answer);
    for (const refused of [wrong, over, later]) assert.match(refused, /^HTTP\/1\.1 502 Bad Gateway\r\n/);
  });
}
