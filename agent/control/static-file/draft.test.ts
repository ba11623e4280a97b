// Files that somebody may still be writing: what only adds counts at once, what takes protection away waits.
import assert from "node:assert/strict";
import { closeSync, openSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DEADLINE, folderOf, manyFiles, names, run, strict, swap, workload } from "./source.fake.ts";

test("what only adds counts at once; it is not read while somebody writes", DEADLINE, async (t) => {
  const path = manyFiles(t, 2);
  // The clock does not move: for files that are written in place it is always too early.
  let now = Date.now() + 3_600_000;
  const { until, batches } = run(t, join(path, ".."), {
    path,
    wallMs: () => now,
  });
  await until((status) => status.objects === 4);
  writeFileSync(join(path, "3.yaml"), workload("a3", 3));
  now = statSync(join(path, "3.yaml")).mtimeMs + 1;
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(batches.length, 1);
  now += 3_600_000;
  await until((status) => status.objects === 5);
  assert.deepEqual(names(batches[1]), ["+a3"]);
});

test(
  "a writer in place that pauses: what its half lacks stays in force, is named meanwhile, and is never gone",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const { until, batches, path } = run(t, folder, {
      path: join(folder, "mesh.yaml"),
    });
    swap(path, `${workload("a", 1)}---\n${strict}`);
    await until((status) => status.state === "synced");
    const writer = openSync(path, "w");
    writeSync(writer, workload("a", 1));
    const held = await until((status) => status.state === "held");
    assert.deepEqual(
      held.problems.map(({ code, what }) => `${code} ${what}`),
      ["ORL4108 PeerAuthentication shop/all is gone"],
    );
    assert.equal(held.objects, 2);
    writeSync(writer, `---\n${strict}---\n${workload("b", 2)}`);
    closeSync(writer);
    const whole = await until((status) => status.state === "synced");
    assert.deepEqual([whole.objects, whole.problems], [3, []]);
    assert.deepEqual(batches.slice(1).map(names), [["+b"]]);
  },
);

test("a file that ends within a line is not whole, whatever it says", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const { until, batches, path } = run(t, folder);
  swap(path, workload("a", 1));
  await until((status) => status.state === "synced");
  const more = workload("b", 2, "  serviceAccount: api-reader\n");
  writeFileSync(path, `${workload("a", 1)}---\n${more.slice(0, -"-reader\n".length)}`);
  const held = await until((status) => status.state === "held");
  assert.match(held.problems.map(({ what }) => what).join(), /last line/);
  writeFileSync(path, `${workload("a", 1)}---\n${more}`);
  await until((status) => status.state === "synced");
  assert.deepEqual(batches.slice(1).map(names), [["+b"]]);
});

test("what was written in place and takes protection away counts when it has been still", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const states: string[] = [];
  const { until, batches, path, source } = run(t, folder, { stillMs: 100 });
  swap(path, `${workload("a", 1)}---\n${strict}`);
  await until((status) => status.state === "synced");
  writeFileSync(path, workload("a", 1));
  await until(({ state }) => {
    states.push(state);
    return state === "synced" && source.status().objects === 1;
  });
  assert.ok(states.includes("held"), states.join());
  assert.deepEqual(batches.slice(1).map(names), [["-shop/all"]]);
  // Written back in time, it is as if nothing had been.
  writeFileSync(path, `${workload("a", 1)}---\n${strict}`);
  await until((status) => status.objects === 2);
  const { appliedAt } = source.status();
  writeFileSync(path, workload("a", 1));
  await until((status) => status.state === "held");
  writeFileSync(path, `${workload("a", 1)}---\n${strict}`);
  const back = await until((status) => status.state === "synced");
  assert.deepEqual([back.appliedAt, back.objects], [appliedAt, 2]);
});

test(
  "what is moved into place counts at once, from another directory too, until it is written to",
  DEADLINE,
  async (t) => {
    const path = manyFiles(t, 3);
    const { until, batches } = run(t, join(path, ".."), { path });
    await until((status) => status.objects === 6);
    swap(join(path, "1.yaml"), workload("a1", 1));
    await until((status) => status.objects === 5);
    const elsewhere = join(path, "..", "2.yaml");
    writeFileSync(elsewhere, workload("a2", 2));
    // The times of a file have the grain of the kernel's tick.
    while (Date.now() - statSync(elsewhere).mtimeMs < 20) await new Promise((resolve) => setTimeout(resolve, 5));
    renameSync(elsewhere, join(path, "2.yaml"));
    await until((status) => status.objects === 4);
    assert.deepEqual(names(batches[2]), ["-c1//Pod/shop/b2"]);
    // Between going and coming of a file that is replaced in two steps nothing is taken for gone.
    rmSync(join(path, "3.yaml"));
    const gone = await until((status) => status.state === "held");
    assert.equal(gone.problems.length, 2);
    writeFileSync(join(path, "3.yaml"), workload("a3", 3));
    const half = await until((status) => status.problems.length === 1);
    assert.deepEqual([half.state, half.problems[0]?.what], ["held", "Workload shop/b3 is gone"]);
    swap(join(path, "3.yaml"), workload("a3", 3));
    await until((status) => status.objects === 3);
  },
);

test("a file that was written to a moment ago is left to its writer", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, `${workload("a", 1)}---\n${workload("b", 2)}`);
  // The clock does not move right after the writing: however often the source looks, it is too early.
  const written = statSync(path).mtimeMs;
  let now = written + 1;
  let looks = 0;
  const wallMs = (): number => {
    looks++;
    return now;
  };
  const { until, batches } = run(t, folder, { wallMs });
  while (looks < 5) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(batches, []);
  now = written + 1_000;
  await until((status) => status.state === "synced");
  assert.deepEqual(names(batches[0]), ["+a", "+b"]);
});
