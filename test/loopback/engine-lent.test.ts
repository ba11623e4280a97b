// tests · sockets that the keeper lends: it may still hold its copy of a socket when the engine has closed its own.
import assert from "node:assert/strict";
import { closeSync, readdirSync } from "node:fs";
import type { Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import { duplicate, unconnectedSocket } from "../../agent/engine/addon.ts";
import { refOf } from "./hbone-pair.ts";
import { dial, readAll, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

const CALLS = 20;

test("a lent socket that is closed while the keeper holds a copy says nothing more to the engine", async () => {
  const held: number[] = [];
  const served: Socket[] = [];
  const app = await serve((socket) => {
    served.push(socket);
    socket.resume();
    socket.end("hello");
  });
  using under = new TestEngine((event, engine) => {
    if (event.type === "pool-low") {
      const fds = Int32Array.from({ length: event.count }, () => unconnectedSocket(4));
      // The keeper's copies: SCM_RIGHTS duplicates, and the sender closes its own later.
      for (const fd of fds) held.push(duplicate(fd));
      engine.engine.addSockets(event.podIdx, event.kind, fds);
    }
    if (event.type !== "accepted") return undefined;
    return { ...refOf(event), type: "relay", to: { address: "127.0.0.1", port: app.port } };
  });
  under.refill = false;
  under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  const port = under.listen(1, "outbound");
  try {
    // Of these the engine closes its sockets while the copies keep them open.
    for (let call = 0; call < CALLS; call++) {
      const socket = await dial(port);
      if (call % 2 === 0) {
        socket.end();
        assert.equal((await readAll(socket)).toString(), "hello");
      } else {
        await readAll(socket);
        socket.resetAndDestroy();
      }
    }
    await under.event("closed", () => under.closed().length === CALLS);
    // Now the far ends of the held copies are reset: each is an event that nobody waits for any more.
    for (const socket of served) socket.resetAndDestroy();
    await after(50);
    for (const fd of held.splice(0)) closeSync(fd);
    // The engine goes on.
    const socket = await dial(port);
    socket.end();
    assert.equal((await readAll(socket)).toString(), "hello");
    assert.equal(under.errors.length, 0);
    assert.ok(under.closed().length >= CALLS);
  } finally {
    for (const fd of held) closeSync(fd);
    app.close();
  }
});

test("a burst's sockets are given back when it is over, and refills that come twice are not kept", async () => {
  const app = await serve((socket) => socket.resume().end("hello"));
  let lent = 0;
  const lend = (engine: TestEngine, { podIdx, kind, count }: { podIdx: number; kind: "out4"; count: number }): void => {
    engine.engine.addSockets(
      podIdx,
      kind,
      Int32Array.from({ length: count }, () => unconnectedSocket(4)),
    );
    lent += count;
  };
  using under = new TestEngine((event) => {
    if (event.type !== "accepted") return undefined;
    return { ...refOf(event), type: "relay", to: { address: "127.0.0.1", port: app.port } };
  });
  under.refill = false;
  under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  const port = under.listen(1, "outbound");
  const open = (): number => readdirSync("/proc/self/fd").length;
  const before = open();
  try {
    // Nothing is lent for a while: the engine asks again and again, each time for all that is missing.
    const calls = Array.from({ length: 300 }, async () => {
      const socket = await dial(port);
      socket.end();
      return (await readAll(socket)).toString();
    });
    const asked = () => under.events.filter((event) => event.type === "pool-low");
    await until(() => asked().reduce((sum, { count }) => sum + count, 0) > 1_200, "questions for more than is needed");
    for (const { podIdx, count } of asked()) lend(under, { podIdx, kind: "out4", count });
    assert.deepEqual(new Set(await Promise.all(calls)), new Set(["hello"]));
    await under.event("closed", () => under.closed().length === 300);
    assert.ok(open() - before <= 600, `${open() - before} descriptors more than before, of ${lent} sockets`);
    await until(() => open() - before <= 20, "the sockets are given back");
    // It is filled again as before.
    lend(under, { podIdx: 1, kind: "out4", count: 8 });
    const socket = await dial(port);
    socket.end();
    assert.equal((await readAll(socket)).toString(), "hello");
    assert.equal(under.errors.length, 0);
  } finally {
    app.close();
  }
});

test("connections that wait for a socket when the keeper dies get a socket of the next keeper", async () => {
  const app = await serve((socket) => {
    socket.resume();
    socket.end("hello");
  });
  const lend = (podIdx: number): void => under.engine.addSockets(podIdx, "out4", Int32Array.of(unconnectedSocket(4)));
  using under = new TestEngine((event) => {
    if (event.type !== "accepted") return undefined;
    return { ...refOf(event), type: "relay", to: { address: "127.0.0.1", port: app.port } };
  });
  under.refill = false;
  try {
    for (const [podIdx, cookie] of [
      [1, 1n],
      [2, 2n],
    ] as const) {
      under.engine.setPod(podIdx, { netnsCookie: cookie, identity: -1 });
      const socket = await dial(under.listen(podIdx, "outbound"));
      await under.event("pool-low", (event) => event.podIdx === podIdx);
      // The agent abandons the pods of a keeper that went away, and sets them again when another keeper has come.
      under.engine.removePod(podIdx, { cut: false });
      lend(podIdx);
      const asked = under.events.length;
      under.engine.setPod(podIdx, { netnsCookie: 1n, identity: -1 });
      if (podIdx === 1) {
        await under.event("pool-low", (event) => event.podIdx === 1 && under.events.indexOf(event) >= asked);
        lend(podIdx);
        socket.end();
        assert.equal((await readAll(socket)).toString(), "hello");
      } else {
        // The index means another pod by now: a socket of its namespace is not for a connection of the former pod.
        lend(podIdx);
        await after(100);
        assert.equal(app.connections.length, 1);
        socket.destroy();
      }
    }
    assert.equal(under.errors.length, 0);
  } finally {
    app.close();
  }
});
