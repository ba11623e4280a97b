// data-thread.ts as a worker: each message that the main thread sends, and what comes back.
import assert from "node:assert/strict";
import { openSync, readdirSync } from "node:fs";
import { describe, type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { until as waitUntil } from "../../test/support/until.ts";
import { workload } from "../mesh/mesh.fake.ts";
import { newSharedState } from "../traffic/shared-state.ts";
import type { DataThreadMessage, DataThreadOptions, MainMessage } from "./messages.ts";

const web = workload("web", { addresses: ["127.0.0.1"] });

async function startThread(t: TestContext) {
  const ticks = new SharedArrayBuffer(4);
  const workerData: DataThreadOptions = {
    ...{
      index: 0,
      trustDomain: "cluster.local",
      rootNamespace: "istio-system",
      accessLog: "off",
      loggedRequests: "errors",
      unreadMs: 0,
      ticks,
      shared: newSharedState(1),
    },
  };
  const worker = new Worker(new URL("./data-thread.ts", import.meta.url), { workerData });
  const heard: DataThreadMessage[] = [];
  worker.on("message", (message: DataThreadMessage) => heard.push(message));
  const exit = new Promise<number>((resolve) => worker.once("exit", resolve));
  t.after(() => worker.terminate());
  const send = (message: MainMessage): void => worker.postMessage(message);
  const count = (op: DataThreadMessage["op"]): number => heard.filter((message) => message.op === op).length;
  const until = (op: DataThreadMessage["op"], times = 1): Promise<void> =>
    waitUntil(() => count(op) >= times, { what: `${times} × ${op}`, seen: () => heard.map((message) => message.op) });
  await until("ready");
  return { send, heard, count, until, exit, ticks: new Int32Array(ticks) };
}

describe("a data thread", () => {
  test("counts the turns of its loop, and hands its counts over again and again", async (t) => {
    const { until, ticks } = await startThread(t);
    await until("counted", 2);
    assert.ok(Atomics.load(ticks, 0) > 0);
  });

  test("says that it has read a part of a batch, and applies the parts as a single batch", async (t) => {
    const { send, count, until } = await startThread(t);
    const part = { op: "updates", updates: [{ kind: "workload", op: "upsert", value: web }] } as const;
    send({ ...part, more: true });
    send({ ...part, more: true });
    send({ ...part, more: false });
    send({ op: "report", id: 1, connections: false });
    await until("report");
    assert.equal(count("taken"), 2);
  });

  test("serves a pod before and after its identity comes, and closes what it is given for a pod that has gone", async (t) => {
    const { send, count, until } = await startThread(t);
    send({ op: "updates", updates: [{ kind: "workload", op: "upsert", value: web }], more: false });
    const pod = {
      op: "pod",
      podIdx: 3,
      workloadUid: web.uid,
      netnsCookie: 1n,
      addresses: [],
      preservesSource: false,
    } as const;
    send({ ...pod, listeners: [] });
    await until("pod-done");
    send({ op: "identity", identity: 1, spiffeId: web.identity.text, rotated: false });
    send({ op: "identity", identity: 1, spiffeId: web.identity.text, rotated: true });
    send({ op: "roots" });
    send({ op: "pod-removed", podIdx: 3, cut: true });
    await until("pod-done", 2);
    const before = readdirSync("/proc/self/fd").length;
    send({ op: "sockets", podIdx: 3, kind: "out4", fds: [openSync("/dev/null", "r"), openSync("/dev/null", "r")] });
    send({ op: "report", id: 1, connections: false });
    await until("report");
    assert.equal(readdirSync("/proc/self/fd").length, before);
    assert.equal(count("log"), 0);
  });

  test("a report names its connections only when they are asked for", async (t) => {
    const { send, heard, until } = await startThread(t);
    for (const connections of [false, true]) send({ op: "report", id: Number(connections), connections });
    await until("report", 2);
    const reports = heard.flatMap((message) => (message.op === "report" ? [message] : []));
    assert.deepEqual(
      reports.map(({ id, report }) => [id, report.connections, report.engine.connections]),
      [
        [0, [], 0],
        [1, [], 0],
      ],
    );
  });

  test("drains, hands over its last counts and ends", async (t) => {
    const { send, heard, until, exit } = await startThread(t);
    send({ op: "drain", limitMs: 60_000 });
    await until("drained");
    send({ op: "close" });
    assert.equal(await exit, 0);
    assert.equal(heard.at(-1)?.op, "counted");
  });
});
