// sweep.ts with many pods: what a sweep reads of cgroups and /proc grows with the pods, and not with their square.
import assert from "node:assert/strict";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { type TestContext, test } from "node:test";
import { fakeFile, setUp } from "./enrollment.fake.ts";
import { emptyRow } from "./enrollment-states.ts";

/** Entries of directories that are read while `act` runs. */
async function entriesReadBy(context: TestContext, act: () => Promise<unknown>): Promise<number> {
  const { mock } = context.mock.method(fs, "readdirSync");
  syncBuiltinESMExports();
  try {
    await act();
    return mock.calls.reduce((sum, { result }) => sum + (result?.length ?? 0), 0);
  } finally {
    mock.restore();
    syncBuiltinESMExports();
  }
}

/** A sweep of so many pods that must be guarded, of which every second is not there. */
async function entriesOfSweep(context: TestContext, pods: number): Promise<number> {
  const uids = Array.from({ length: pods }, (_, nth) => `p${100 + nth}`);
  const entries = uids.map((uid) => ({ uid, workload: "", addresses: [] }));
  const { node, enrollments, namespaces } = setUp([], fakeFile(JSON.stringify({ version: 1, pods: entries })));
  for (let nth = 0; nth < pods; nth += 2) node.pod(100 + nth);
  let cookie = 100n;
  Object.defineProperty(namespaces, "cookie", { get: () => cookie++ });
  await enrollments.sweep();
  const guarded = enrollments.all().filter(({ state }) => state === "guarded").length;
  assert.equal(guarded, pods / 2);
  return entriesReadBy(context, () => enrollments.sweep());
}

test("a sweep of 500 pods reads five times what a sweep of 100 pods reads", async (context) => {
  const [few, many] = [await entriesOfSweep(context, 100), await entriesOfSweep(context, 500)];
  console.log(`directory entries read by a sweep: ${few} with 100 pods, ${many} with 500`);
  assert.ok(few >= 50, `${few} entries: too tame`);
  assert.ok(many <= 5.5 * few, `${few} entries with 100 pods, ${many} with 500`);
});

test("a pod whose cgroup is made while a sweep is under way is not taken for gone", async () => {
  const left = [emptyRow(1, "p8"), emptyRow(2, "p9")].map((row) => ({ ...row, netnsCookie: 100n }));
  const { node, rows, enrollments } = setUp(left);
  const forget = rows.forget.bind(rows);
  rows.forget = (podIdx) => {
    forget(podIdx);
    node.pod(9);
  };
  const { gone } = await enrollments.sweep();
  assert.deepEqual(
    gone.map(({ uid }) => uid),
    ["p8"],
  );
});
