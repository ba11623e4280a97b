// What is said to be in force, against every order in which a source can speak, threads can apply and operators can ask.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Dice } from "../../test/support/dice.ts";
import { until } from "../../test/support/until.ts";
import type { SourceStatus } from "../control/source.ts";
import { DEADLINE, folderOf, run, swap, workload } from "../control/static-file/source.fake.ts";
import { duplicate } from "../engine/addon.ts";
import { DataThreads } from "../threads/data-threads.ts";
import { SettledStatus } from "./settled-status.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));

function setUp() {
  const status: SourceStatus = {
    ...{ kind: "static-file", from: "mesh.yaml", acceptance: "all", state: "waiting", fromLastGood: false },
    ...{ appliedAt: "", objects: 0, problems: [], findings: [], leftOut: [], kinds: [] },
  };
  const threads = { batchesSent: 0, batchesApplied: 0 };
  const source = { now: status, status: (): SourceStatus => source.now };
  const settled = new SettledStatus({ source, threads });
  /** As sources do: the batch, then the status, in a turn. */
  const applies = async (appliedAt: string): Promise<void> => {
    threads.batchesSent += 1;
    settled.sent();
    source.now = { ...source.now, state: "synced", appliedAt };
    await null;
  };
  return { threads, source, settled, applies };
}

test("nothing is in force before the last thread has it; a mistake without a batch is heard at once", async () => {
  const { threads, source, settled, applies } = setUp();
  await applies("first");
  assert.deepEqual([settled.status().state, settled.status().appliedAt], ["waiting", ""]);
  threads.batchesApplied = 1;
  assert.deepEqual([settled.status().state, settled.status().appliedAt], ["synced", "first"]);
  source.now = { ...source.now, state: "rejected" };
  assert.deepEqual([settled.status().state, settled.status().appliedAt], ["rejected", "first"]);
  await applies("second");
  assert.deepEqual([settled.status().state, settled.status().appliedAt], ["rejected", "first"]);
  threads.batchesApplied = 2;
  assert.deepEqual([settled.status().state, settled.status().appliedAt], ["synced", "second"]);
});

test(`in any order: never what a thread lacks, and never less than all of them have (seed ${seed})`, async () => {
  const dice = new Dice(seed);
  const { threads, source, settled, applies } = setUp();
  for (let step = 0; step < 5_000; step += 1) {
    if (dice.chance(30)) await applies(String(threads.batchesSent + 1));
    else if (dice.chance(50) && threads.batchesApplied < threads.batchesSent)
      threads.batchesApplied += 1 + dice.roll(threads.batchesSent - threads.batchesApplied);
    else if (dice.chance(10)) source.now = { ...source.now, objects: step };
    const { appliedAt, objects } = settled.status();
    assert.equal(Number(appliedAt), threads.batchesApplied, `step ${step}`);
    if (threads.batchesApplied === threads.batchesSent) assert.equal(objects, source.now.objects, `step ${step}`);
  }
});

test(
  "a file that changes, and real data threads: what is in force was applied by each of them",
  DEADLINE,
  async (t) => {
    const threads = new DataThreads({
      ...{ count: 2, duplicate, died: (_thread, error) => assert.fail(error) },
      thread: {
        ...{ trustDomain: "cluster.local", rootNamespace: "istio-system", accessLog: "off", loggedRequests: "errors" },
        unreadMs: 0,
      },
    });
    await threads.start();
    t.after(() => threads.close());
    const folder = folderOf(t);
    writeFileSync(join(folder, "mesh.yaml"), workload("w", 1));
    const running = run(t, folder, {
      emitted: () => {
        threads.tell({ op: "updates", updates: running.batches.at(-1) ?? assert.fail("no batch"), more: false });
        settled.sent();
        assert.ok(threads.batchesApplied < threads.batchesSent);
        // In the turn in which the source says that it is in force.
        queueMicrotask(() => before.push(settled.status().appliedAt === running.source.status().appliedAt));
      },
    });
    const before: boolean[] = [];
    const settled = new SettledStatus({ source: running.source, threads });
    for (let change = 1; change <= 5; change += 1) {
      if (change > 1) swap(running.path, workload("w", change));
      await until(() => before.length === change && settled.status().appliedAt === running.source.status().appliedAt);
      assert.equal(threads.batchesApplied, change);
    }
    assert.deepEqual(before, Array(5).fill(false));
  },
);
