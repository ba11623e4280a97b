// The file as a source, live: swaps, damage and mending (docs/reference/failures.md, G2).
import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { lineText, nowhere, positionText } from "../../mesh/source-ref.ts";
import { DEADLINE, folderOf, manyFiles, names, run, swap, workload } from "./source.fake.ts";

test("read at the start, then each swap as the difference it makes", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), `${workload("a", 1)}---\n${workload("b", 2)}`);
  const { until, batches, path } = run(t, folder);
  const first = await until((status) => status.state === "synced");
  assert.equal(first.objects, 2);
  assert.deepEqual(names(batches[0]), ["+a", "+b"]);
  swap(path, `${workload("a", 1)}---\n${workload("c", 2)}`);
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/b", "+c"]);
  swap(path, workload("a", 1, "  healthy: false\n"));
  await until(() => batches.length === 3);
  assert.deepEqual(names(batches[2]), ["-c1//Pod/shop/c", "+a"]);
});

test(
  "a bad file changes nothing, is shown with its position until mended, and mending it applies at once",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const good = workload("a", 1);
    writeFileSync(join(folder, "mesh.yaml"), good);
    const { until, batches, path } = run(t, folder);
    const before = await until((status) => status.state === "synced");
    for (const bad of [
      "kind: [",
      good.replace("node:", "nodes:"),
      good.replace("10.0.0.1", "10.0.0.1/33"),
      "",
      `${good}---\n${good}`,
      "\u0000",
    ]) {
      swap(path, bad);
      const status = await until((one) => one.state === "rejected");
      assert.ok(status.problems.length > 0);
      assert.match(positionText(status.problems[0]?.from ?? nowhere), /mesh\.yaml:\d+:\d+$/);
      assert.equal(status.appliedAt, before.appliedAt);
      swap(path, good);
      const mended = await until((one) => one.state === "synced" && one.objects === 1);
      assert.deepEqual(mended.problems, []);
      assert.equal(batches.length, 1, "nothing was emitted");
    }
  },
);

test("memory is freed before the first mesh counts, and never while a mesh is in force", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, workload("a", 1));
  const happened: string[] = [];
  const note = (what: string) => () => void happened.push(what);
  const { until } = run(t, folder, { collectGarbage: note("freed"), emitted: note("emitted") });
  await until(({ state }) => state === "synced");
  const { appliedAt } = await until(({ objects }) => objects === 1);
  swap(path, `${workload("a", 1)}---\n${workload("b", 2)}`);
  await until((status) => status.objects === 2 && status.appliedAt !== appliedAt);
  assert.deepEqual(happened, ["freed", "emitted", "emitted"]);
});

test("a file that vanishes changes nothing; when it is back it counts", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), workload("a", 1));
  const { until, batches, path } = run(t, folder);
  await until((status) => status.state === "synced");
  rmSync(path);
  const gone = await until((status) => status.state === "rejected");
  assert.equal(gone.problems[0]?.code, "ORL4107");
  assert.equal(batches.length, 1);
  writeFileSync(path, workload("a", 1));
  await until((status) => status.state === "synced");
  assert.equal(batches.length, 1, "it says what it said before");
});

test("a mounted ConfigMap: the link beside the file is swapped, the file itself never touched", DEADLINE, async (t) => {
  const folder = folderOf(t);
  for (const [version, name] of [
    ["..1", "a"],
    ["..2", "b"],
  ] as const) {
    mkdirSync(join(folder, version));
    writeFileSync(join(folder, version, "mesh.yaml"), workload(name, 1));
  }
  symlinkSync("..1", join(folder, "..data"));
  symlinkSync("..data/mesh.yaml", join(folder, "mesh.yaml"));
  const { until, batches } = run(t, folder);
  await until((status) => status.state === "synced");
  symlinkSync("..2", join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/a", "+b"]);
});

test("where nobody is told of changes, they are found by looking", DEADLINE, async (t) => {
  const folder = folderOf(t);
  for (const name of ["a", "b"]) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "mesh.yaml"), workload(name, 1));
  }
  // The watch follows the link to the old directory and never hears of the new directory.
  symlinkSync("a", join(folder, "current"));
  const { until, batches } = run(t, folder, {
    path: join(folder, "current", "mesh.yaml"),
    pollMs: 20,
    stillMs: 50,
  });
  await until((status) => status.state === "synced");
  symlinkSync("b", join(folder, "next"));
  renameSync(join(folder, "next"), join(folder, "current"));
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/a", "+b"]);
});

test("a directory is all its YAML files, and one bad file refuses the whole", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.d");
  mkdirSync(path);
  writeFileSync(join(path, "1.yaml"), workload("a", 1));
  writeFileSync(join(path, "2.yml"), workload("b", 2));
  writeFileSync(join(path, ".hidden.yaml"), "kind: [");
  writeFileSync(join(path, "README"), "kind: [");
  const { until, batches } = run(t, folder, { path });
  await until((status) => status.state === "synced");
  assert.deepEqual(names(batches[0]), ["+a", "+b"]);
  writeFileSync(join(path, "3.yaml"), "kind: [");
  const status = await until((one) => one.state === "rejected");
  assert.match(lineText(status.problems[0]?.from ?? nowhere), /3\.yaml:\d+$/);
  rmSync(join(path, "3.yaml"));
  await until((one) => one.state === "synced");
});

test(
  "of a directory only what changed is read again, and what comes out is its difference alone",
  DEADLINE,
  async (t) => {
    const path = manyFiles(t, 20);
    const { until, batches } = run(t, join(path, ".."), { path, stillMs: 50 });
    await until((status) => status.objects === 40);
    swap(join(path, "7.yaml"), `${workload("a7", 7)}---\n${workload("b7", 107, "  healthy: false\n")}`);
    await until(() => batches.length === 2);
    assert.deepEqual(names(batches[1]), ["+b7"]);
    rmSync(join(path, "8.yaml"));
    await until(() => batches.length === 3);
    assert.deepEqual(names(batches[2]), ["-c1//Pod/shop/a8", "-c1//Pod/shop/b8"]);
    // Both files change; neither state of one with the other's former is ever seen.
    writeFileSync(join(path, "9.yaml.new"), workload("a9", 9));
    swap(join(path, "10.yaml"), `${workload("a10", 10)}---\n${workload("b9", 109)}---\n${workload("b10", 110)}`);
    const refused = await until((status) => status.state === "rejected");
    assert.match(refused.problems[0]?.what ?? "", /Workload shop\/b9 stands here and at .*10\.yaml:/);
    assert.equal(batches.length, 3);
    renameSync(join(path, "9.yaml.new"), join(path, "9.yaml"));
    await until((status) => status.state === "synced");
    assert.deepEqual(names(batches[3]).sort(), ["+b10", "+b9"]);
  },
);

test("a bad file among many holds back what changes meanwhile, until it is mended or gone", DEADLINE, async (t) => {
  const path = manyFiles(t, 5);
  const { until, batches } = run(t, join(path, ".."), { path });
  await until((status) => status.objects === 10);
  swap(join(path, "2.yaml"), "kind: [");
  await until((status) => status.state === "rejected");
  swap(join(path, "3.yaml"), workload("a3", 3));
  swap(join(path, "4.yaml"), "");
  const both = await until((status) => status.problems.some(({ from }) => lineText(from).includes("4.yaml")));
  assert.match(lineText(both.problems[0]?.from ?? nowhere), /2\.yaml:\d+$/);
  assert.deepEqual([both.objects, batches.length], [10, 1]);
  swap(join(path, "2.yaml"), workload("a2", 2));
  swap(join(path, "4.yaml"), workload("a4", 4));
  const mended = await until((status) => status.state === "synced");
  assert.equal(mended.objects, 7);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/b2", "-c1//Pod/shop/b3", "-c1//Pod/shop/b4"]);
});

test("a mounted ConfigMap of many files is swapped as one", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.d");
  mkdirSync(path);
  for (const [version, second] of [
    ["..1", 2],
    ["..2", 12],
  ] as const) {
    mkdirSync(join(path, version));
    writeFileSync(join(path, version, "1.yaml"), workload("a", second));
    writeFileSync(join(path, version, "2.yaml"), workload("b", second + 1));
    writeFileSync(join(path, version, "3.yaml"), workload("c", 99));
  }
  symlinkSync("..1", join(path, "..data"));
  for (const name of ["1.yaml", "2.yaml", "3.yaml"]) symlinkSync(`..data/${name}`, join(path, name));
  const { until, batches } = run(t, folder, { path });
  await until((status) => status.objects === 3);
  symlinkSync("..2", join(path, "..data_tmp"));
  renameSync(join(path, "..data_tmp"), join(path, "..data"));
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["+a", "+b"]);
});

test("text that is not UTF-8 is refused, not repaired", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), Buffer.concat([Buffer.from("# "), Buffer.from([0xff, 0xfe, 0x0a])]));
  const { until } = run(t, folder);
  const status = await until((one) => one.state === "rejected");
  assert.match(status.problems[0]?.what ?? "", /UTF-8/);
});
