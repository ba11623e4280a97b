// What data threads say to the main thread, and what it does of it.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ThreadListener } from "../threads/data-threads.ts";
import { AgentCounts } from "./agent-counts.ts";
import { fakeLog, until } from "./built.fake.ts";
import { hearThreads } from "./thread-messages.ts";

describe("messages of data threads", () => {
  function setUp() {
    const log = fakeLog();
    const counts = new AgentCounts(null);
    const given: unknown[] = [];
    const asked: string[] = [];
    let listener: ThreadListener = () => assert.fail("nobody listens");
    let closed = false;
    const { close } = hearThreads({
      threads: {
        listen: (call) => {
          listener = call;
        },
        addSockets: (thread, message) => void given.push([thread, message]),
        close: async () => {
          closed = true;
        },
      },
      keeper: {
        sockets: async ({ podIdx, uid }, kind, count) => {
          asked.push(`${podIdx} ${uid} ${kind} ${count}`);
          return Int32Array.from([20, 21]);
        },
      },
      uidOf: (podIdx) => (podIdx === 3 ? "uid-web" : undefined),
      counts,
      log,
    });
    return {
      hear: (...args: Parameters<ThreadListener>) => listener(...args),
      log,
      counts,
      given,
      asked,
      close,
      isClosed: () => closed,
    };
  }

  test("a thread that runs low gets sockets; without any it is reported, and the engine asks again", async () => {
    const { hear, given, asked, log } = setUp();
    hear(1, { op: "pool-low", podIdx: 3, kind: "out4", count: 64 });
    hear(0, { op: "pool-low", podIdx: 9, kind: "local6", count: 1 });
    await until(() => given.length > 0 && log.lines.length > 0);
    assert.deepEqual(asked, ["3 uid-web out4 64"]);
    assert.deepEqual(given, [[1, { op: "sockets", podIdx: 3, kind: "out4", fds: [20, 21] }]]);
    assert.deepEqual(log.lines, ["keeper warn no sockets: Error: no such pod"]);
  });

  test("failures of peers are counted and written to the log, and a thread's own lines with their level", () => {
    const { hear, counts, log } = setUp();
    const peer = { peer: "10.0.0.9", podIdx: 3 };
    hear(0, { op: "handshake-failed", reason: "timeout", message: "", ...peer });
    hear(0, { op: "tunnel-abused", reason: "reset-flood", ...peer });
    hear(0, { op: "log", level: "error", room: "traffic", message: "a fault", fields: {} });
    assert.deepEqual(log.lines, [
      "traffic info handshake failed",
      "traffic warn tunnel ended: its peer broke the rules",
      "traffic error a fault",
    ]);
    const shown = counts.peers.metrics().flatMap(({ samples }) => samples.map(({ labels, value }) => [labels, value]));
    assert.deepEqual(shown, [
      [{ reason: "timeout" }, 1],
      [{ reason: "reset-flood" }, 1],
    ]);
  });

  test("of a thread's own lines ten a second are written, and a single line counts the others", async () => {
    const { hear, close, log } = setUp();
    for (let nth = 0; nth < 25; nth += 1)
      hear(nth % 2, { op: "log", level: "error", room: "traffic", message: "a fault", fields: {} });
    await close();
    assert.deepEqual(log.lines, [
      ...Array<string>(10).fill("traffic error a fault"),
      "traffic warn data threads had more to say: lines were left out",
    ]);
  });

  test("to close the part ends the threads", async () => {
    const { close, isClosed } = setUp();
    await close();
    assert.equal(isClosed(), true);
  });
});
