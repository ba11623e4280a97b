// The copy on disk: restarts with a bad file, and what a start must find (docs/reference/failures.md, G3).
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until as waitUntil } from "../../../test/support/until.ts";
import { loadLastGood } from "../last-good.ts";
import { DEADLINE, folderOf, names, run, strict, swap, workload } from "./source.fake.ts";

test(
  "a bad file at the start: nothing is assumed; with a last good copy, that runs and the status says so",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, "kind: [");
    const alone = run(t, folder);
    const rejected = await alone.until((status) => status.state === "rejected");
    assert.deepEqual([rejected.fromLastGood, rejected.appliedAt, alone.batches], [false, "", []]);
    swap(path, workload("a", 1));
    const accepted = await alone.until((status) => status.state === "synced");
    await alone.stop();

    writeFileSync(path, "kind: [");
    const again = run(t, folder);
    const saved = await again.until((status) => status.fromLastGood);
    assert.equal(saved.state, "rejected");
    assert.equal(saved.appliedAt, accepted.appliedAt);
    assert.ok(saved.problems.length > 0, "what is wrong with the file stays on show");
    assert.deepEqual(names(again.batches[0]), ["+a"]);
    swap(path, workload("b", 1));
    const mended = await again.until((status) => status.state === "synced");
    assert.equal(mended.fromLastGood, false);
    assert.deepEqual(names(again.batches[1]), ["-c1//Pod/shop/a", "+b"]);
  },
);

test("the copy is private, written whole, and a damaged or foreign one counts for nothing", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, workload("a", 1));
  const first = run(t, folder);
  await first.until((status) => status.state === "synced");
  await first.stop();
  const [text = "", ...more] = readdirSync(join(folder, "run", "last-good"));
  assert.deepEqual([readdirSync(join(folder, "run")), more], [["last-good", "last-good.json"], []]);
  const textFile = join(folder, "run", "last-good", text);
  for (const file of [first.lastGoodFile, textFile]) assert.equal(statSync(file).mode & 0o777, 0o600);
  const [index, good] = [first.lastGoodFile, textFile].map((file) => readFileSync(file, "utf8")) as [string, string];
  writeFileSync(path, "kind: [");
  for (const [damagedIndex, damagedText] of [
    ["", good],
    ["{", good],
    ["[]", good],
    [index.slice(0, -9), good],
    [index.replace('"version":2', '"version":1'), good],
    [index.replace(/"digest":"../, '"digest":"..'), good],
    [index, good.replace("10.0.0.1", "10.0.0.2")],
    [index, ""],
  ] as const) {
    writeFileSync(first.lastGoodFile, damagedIndex);
    writeFileSync(textFile, damagedText);
    const next = run(t, folder);
    const status = await next.until((one) => one.state === "rejected");
    await next.stop();
    assert.equal(status.fromLastGood, false);
    assert.deepEqual(next.batches, []);
  }
});

test("a run directory that cannot be written to costs a warning, not the configuration", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), workload("a", 1));
  mkdirSync(join(folder, "run"), { recursive: true });
  mkdirSync(join(folder, "run", "last-good.json"));
  chmodSync(join(folder, "run"), 0o500);
  const { until, warnings, stop } = run(t, folder);
  await until((status) => status.state === "synced");
  await stop();
  assert.match(warnings.join(), /could not be kept/);
});

for (const [how, text] of [
  ["empty", ""],
  ["comments alone", "# nothing\n---\n# more\n"],
] as const) {
  for (const many of [false, true]) {
    test(
      `a file that is ${how} at the start (${many ? "of a directory" : "alone"}) takes nothing of the last good copy away, however long it is still`,
      DEADLINE,
      async (t) => {
        const folder = folderOf(t);
        const mesh = many ? join(folder, "mesh.d") : join(folder, "mesh.yaml");
        const file = many ? join(mesh, "a.yaml") : mesh;
        if (many) mkdirSync(mesh);
        if (many) writeFileSync(join(mesh, "b.yaml"), workload("b", 2));
        writeFileSync(file, workload("a", 1));
        const first = run(t, folder, { path: mesh });
        await first.until((status) => status.state === "synced");
        await first.stop();
        for (const write of [() => writeFileSync(file, text), () => swap(file, text)]) {
          write();
          const second = run(t, folder, { path: mesh, stillMs: 20, pollMs: 10 });
          const status = await second.until((one) => one.state === "rejected");
          assert.match(status.problems.map(({ what }) => what).join(), /there is no document in it/);
          await new Promise((resolve) => setTimeout(resolve, 300));
          assert.deepEqual(second.batches.map(names), [many ? ["+a", "+b"] : ["+a"]]);
          await second.stop();
        }
        const third = run(t, folder, { path: mesh });
        await third.until((status) => status.state === "rejected");
        swap(file, workload("c", 3));
        await third.until((status) => status.state === "synced");
        await third.stop();
      },
    );
  }
}

test("half a file at the start is held against the last good copy", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, `${workload("a", 1)}---\n${strict}`);
  const first = run(t, folder);
  await first.until((status) => status.state === "synced");
  await first.stop();
  writeFileSync(path, workload("a", 1));
  const again = run(t, folder);
  const held = await again.until((status) => status.state === "held" && status.problems.length > 0);
  assert.deepEqual([held.fromLastGood, held.objects, names(again.batches[0])], [true, 2, ["+a", "+all"]]);
  await again.stop();
  const still = run(t, folder, { stillMs: 50 });
  await still.until((status) => status.state === "synced");
  // In a single batch where the machine was so busy that the file was still by the first look at what the copy says.
  assert.deepEqual(still.batches.flatMap(names), ["+a", "+all", "-shop/all"]);
  await still.stop();
  // What only adds counts at once after a start, too. Another path is another mesh, which counts when it is still.
  writeFileSync(path, `${workload("a", 1)}---\n${workload("b", 2)}`);
  const more = run(t, folder);
  await more.until((status) => status.state === "synced");
  assert.deepEqual(more.batches.map(names), [["+a", "+b"]]);
  await more.stop();
  writeFileSync(join(folder, "other.yaml"), workload("c", 3));
  const moved = run(t, folder, { path: join(folder, "other.yaml"), stillMs: 50 });
  await moved.until((status) => status.state === "synced");
  assert.deepEqual(moved.batches.map(names), [["+c"]]);
});

test("what is in force after the first mesh is kept already, so that no start finds less", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const kept: (string | undefined)[] = [];
  const file = join(folder, "run", "last-good.json");
  const seen = (): void => {
    const last = existsSync(file) ? readFileSync(file, "utf8").split("\n").at(-1) : undefined;
    kept.push(/"digest":"(\w+)"/.exec(last ?? "")?.[1]);
  };
  writeFileSync(join(folder, "mesh.yaml"), workload("a", 1));
  const { until, batches, path, lastGoodFile } = run(t, folder, {
    emitted: seen,
  });
  await until((status) => status.state === "synced");
  await waitUntil(() => existsSync(lastGoodFile));
  const wanted: string[] = [];
  for (let host = 2; host < 12; host++) {
    const text = `${workload("a", host)}---\n${strict}`;
    wanted.push(hash("sha256", text, "hex"));
    swap(path, text);
    await until(() => batches.length === host);
  }
  assert.deepEqual(kept.slice(1), wanted);
});

test("a copy that cannot be renewed is not kept: it may lack what protects a pod by now", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const { until, path, lastGoodFile, warnings, stop } = run(t, folder);
  swap(path, workload("a", 1));
  await until((status) => status.state === "synced");
  await waitUntil(() => existsSync(lastGoodFile));
  rmSync(join(folder, "run", "last-good"), { recursive: true });
  rmSync(lastGoodFile);
  writeFileSync(join(folder, "run", "last-good"), "");
  swap(path, `${workload("a", 1)}---\n${strict}`);
  await until((status) => status.objects === 2);
  await stop();
  assert.match(warnings.join(), /could not be kept/);
  assert.ok(!existsSync(lastGoodFile));
});

test("a copy that could not be renewed is written as soon as there is room", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const { until, path, lastGoodFile, stop } = run(t, folder);
  swap(path, workload("a", 1));
  await until((status) => status.state === "synced");
  await waitUntil(() => existsSync(lastGoodFile));
  rmSync(join(folder, "run", "last-good"), { recursive: true });
  rmSync(lastGoodFile);
  writeFileSync(join(folder, "run", "last-good"), "");
  swap(path, `${workload("a", 1)}---\n${strict}`);
  await until((status) => status.objects === 2);
  // What the file says by now is not what is in force.
  writeFileSync(path, "kind: [");
  await until((status) => status.state === "rejected");
  assert.ok(!existsSync(lastGoodFile));
  rmSync(join(folder, "run", "last-good"));
  await waitUntil(() => existsSync(lastGoodFile));
  await stop();
  const again = run(t, folder);
  await again.until((status) => status.fromLastGood);
  assert.deepEqual(names(again.batches[0]), ["+a", "+all"]);
});

test("the copy has what was taken over, whatever the file says a moment later", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const { until, path, lastGoodFile, batches, stop } = run(t, folder);
  for (let host = 1; host <= 20; host++) {
    swap(path, `${workload("a", host)}---\n${strict}`);
    await until(() => batches.length === host);
  }
  writeFileSync(path, "kind: [");
  await until((status) => status.state === "rejected");
  await stop();
  const again = run(t, folder);
  await again.until((status) => status.fromLastGood);
  const kept = await loadLastGood(lastGoodFile);
  assert.equal(kept?.files.length, 1);
  assert.match(kept.files[0]?.text ?? "", /10\.0\.0\.20/);
});

test(
  "a mesh whose copy is lost is replaced by what is still or was put into place whole, never by half of it",
  DEADLINE,
  async (t) => {
    const whole = `${workload("a", 1)}---\n${strict}`;
    for (const lost of ["last-good.json", "last-good/*", "both"]) {
      const folder = folderOf(t);
      const path = join(folder, "mesh.yaml");
      writeFileSync(path, whole);
      const first = run(t, folder);
      await first.until((status) => status.state === "synced");
      await first.stop();
      const texts = join(folder, "run", "last-good");
      if (lost !== "last-good/*") rmSync(first.lastGoodFile);
      if (lost !== "last-good.json") for (const name of readdirSync(texts)) rmSync(join(texts, name));
      // A writer in place that has not come to STRICT yet.
      writeFileSync(path, workload("a", 1));
      const again = run(t, folder);
      const held = await again.until((status) => status.state === "held");
      assert.match(
        held.problems.map(({ code, what }) => `${code} ${what}`).join(),
        /ORL4108 the last good copy is gone/,
      );
      assert.deepEqual(again.batches, []);
      writeFileSync(path, "kind: [");
      await again.until((status) => status.state === "rejected");
      swap(path, whole);
      await again.until((status) => status.state === "synced");
      assert.deepEqual(again.batches.map(names), [["+a", "+all"]]);
      await again.stop();
      rmSync(first.lastGoodFile);
      writeFileSync(path, workload("a", 1));
      const still = run(t, folder, { stillMs: 50 });
      await still.until((status) => status.state === "synced");
      assert.deepEqual(still.batches.map(names), [["+a"]]);
      await still.stop();
    }
  },
);

test("the first mesh of a node counts at once", DEADLINE, async (t) => {
  const folder = folderOf(t);
  rmSync(join(folder, "run"), { recursive: true, force: true });
  writeFileSync(join(folder, "mesh.yaml"), workload("a", 1));
  const { until } = run(t, folder);
  await until((status) => status.state === "synced");
});
