// data-threads.ts with real data threads and their engines: what the main thread sends, what it hears, and what ends them.
import assert from "node:assert/strict";
import { openSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { describe, type TestContext, test } from "node:test";
import { until } from "../../test/support/until.ts";
import { duplicate, listenSocket } from "../engine/addon.ts";
import { workload } from "../mesh/mesh.fake.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { type AgentMessage, DataThreads, type PodMessage } from "./data-threads.ts";

const web = workload("web", { addresses: ["127.0.0.1"] });
const everything: readonly MeshUpdate[] = [{ kind: "workload", op: "upsert", value: web }];

async function startThreads(t: TestContext, count = 2, copy = duplicate) {
  const died: string[] = [];
  const threads = new DataThreads({
    count,
    thread: {
      trustDomain: "cluster.local",
      rootNamespace: "istio-system",
      accessLog: "off",
      loggedRequests: "errors",
      unreadMs: 0,
    },
    duplicate: copy,
    died: (thread, error) => void died.push(`${thread}: ${error.message}`),
  });
  await threads.start();
  t.after(() => threads.close());
  return { threads, died };
}

function podAt(port: number): { readonly message: PodMessage; readonly port: number; readonly fd: number } {
  const { fd, port: bound } = listenSocket("127.0.0.1", port);
  const message: PodMessage = {
    op: "pod",
    podIdx: 3,
    workloadUid: web.uid,
    addresses: [],
    netnsCookie: 1n,
    preservesSource: false,
    listeners: [{ kind: "outbound", fd }],
  };
  return { message, port: bound, fd };
}

/** How a connection to the port ends: by the engine's reset, or with a refusal because no thread listens. */
function endOf(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    socket.on("close", () => resolve("closed"));
  });
}

/** The engine closes the listeners of a removed pod in its next turn: a connection of that moment is reset. */
function untilRefused(port: number): Promise<void> {
  return until(async () => (await endOf(port)) === "ECONNREFUSED", { what: `nobody listens at ${port}` });
}

const openFds = (): number => readdirSync("/proc/self/fd").length;

describe("data threads", () => {
  test("a pod is served once every thread polls its listeners, and no more once it is removed", async (t) => {
    const { threads, died } = await startThreads(t);
    threads.tell({ op: "updates", updates: everything, more: false });
    const { message, port } = podAt(0);
    const before = openFds();
    await threads.servePod(message);
    assert.equal(openFds() > before, true, "each thread has a descriptor of its own");
    // The engine finds no original destination for it: accepted, then reset.
    assert.equal(await endOf(port), "ECONNRESET");
    await threads.removePod(3, true);
    await untilRefused(port);
    await until(() => openFds() < before, { seen: () => [before, openFds()] });
    assert.deepEqual(died, []);
  });

  test("a batch of updates, in however many parts, counts as applied when every thread judges by it", async (t) => {
    const { threads } = await startThreads(t, 3);
    const many = Array.from({ length: 5_000 }, (_, nth): MeshUpdate => {
      const value = workload(`w${nth}`, { addresses: [`10.1.${nth >> 8}.${nth & 255}`] });
      return { kind: "workload", op: "upsert", value };
    });
    assert.deepEqual([threads.batchesSent, threads.batchesApplied], [0, 0]);
    for (const updates of [everything, many, [], many]) threads.tell({ op: "updates", updates, more: false });
    assert.deepEqual([threads.batchesSent, threads.batchesApplied], [4, 0]);
    const seen = [0];
    const isApplied = (): boolean => seen.push(threads.batchesApplied) > 0 && threads.batchesApplied === 4;
    await until(isApplied, { what: "four batches to be applied", seen: () => seen.at(-1) });
    assert.deepEqual(seen, seen.toSorted());
    // What comes behind them is answered behind them, and by then nothing else has been applied.
    assert.equal((await threads.report(false)).length, 3);
    assert.deepEqual([threads.batchesSent, threads.batchesApplied], [4, 4]);
  });

  test("messages about a pod are carried out in their order, also when nobody waits in between", async (t) => {
    const { threads } = await startThreads(t);
    threads.tell({ op: "updates", updates: everything, more: false });
    const first = podAt(0);
    const again = podAt(0);
    const done: string[] = [];
    await Promise.all([
      threads.servePod(first.message).then(() => done.push("served")),
      threads.removePod(3, false).then(() => done.push("removed")),
      threads.servePod(again.message).then(() => done.push("served again")),
    ]);
    assert.deepEqual(done, ["served", "removed", "served again"]);
    await untilRefused(first.port);
    assert.equal(await endOf(again.port), "ECONNRESET");
  });

  test("a pod that cannot be handed to every thread leaves no descriptor open", async (t) => {
    let copies = 0;
    const { threads } = await startThreads(t, 3, (fd) => {
      if (++copies === 2) throw new Error("EMFILE");
      return duplicate(fd);
    });
    const before = openFds();
    const { message } = podAt(0);
    await assert.rejects(threads.servePod(message), /EMFILE/);
    assert.equal(openFds(), before);
  });

  test("the map of original destinations leaves no descriptor open but one of each engine", async (t) => {
    const { threads } = await startThreads(t, 3);
    const give = async (): Promise<number> => {
      threads.setFlowMap(openSync("/dev/null", "r"));
      await threads.report(false);
      return openFds();
    };
    const before = await give();
    assert.deepEqual([await give(), await give()], [before, before]);
  });

  test("each thread reports its engine; connections only when they are asked for", async (t) => {
    const { threads } = await startThreads(t, 3);
    const reports = await threads.report(true);
    assert.equal(reports.length, 3);
    for (const { engine, connections } of reports) assert.deepEqual([engine.connections, connections], [0, []]);
  });

  test("what a thread says before the main thread listens is not lost", async (t) => {
    const { threads } = await startThreads(t);
    const counted = new Set<number>();
    // Half a second of ticks of each thread: each has sent its counts by now, however little processor time it got.
    await until(() => threads.ticks.every((count) => count >= 20), { seen: () => threads.ticks });
    const heard = (thread: number, { op }: AgentMessage): unknown => op === "counted" && counted.add(thread);
    threads.listen(heard);
    assert.deepEqual([...counted].toSorted(), [0, 1]);
  });

  test("a drain ends when no thread has a connection left", async (t) => {
    const { threads } = await startThreads(t);
    await threads.drain(10_000);
  });

  test("the last counts of a thread arrive before it has ended", async (t) => {
    const { threads } = await startThreads(t, 1);
    let counts = 0;
    threads.listen((_thread, { op }) => {
      if (op === "counted") counts += 1;
    });
    const before = counts;
    await threads.close();
    assert.ok(counts > before);
  });

  test("a thread that fails is reported with its error, and only when it was not asked to end", async (t) => {
    const { threads, died } = await startThreads(t);
    const broken = [{ kind: "workload", op: "upsert", value: null }] as unknown as readonly MeshUpdate[];
    threads.tell({ op: "updates", updates: broken, more: false });
    await until(() => died.length >= 4, { seen: () => died });
    const said = died.join("\n");
    assert.match(said, /^0: Cannot /m);
    assert.match(said, /^1: data thread 1 ended with status 1$/m);
  });
});
