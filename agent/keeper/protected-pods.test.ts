// protected-pods.ts: what is kept is found again; a list that is damaged, or cannot be written, is reported and protects nobody less.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Dice } from "../../test/support/dice.ts";
import { ProtectedPods, protectedPodsFile } from "./protected-pods.ts";
import { MAX_PODS } from "./requests.ts";

function setUp(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "orlop-protected-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "protected-pods.json");
  const failures: unknown[] = [];
  const open = (): ProtectedPods => new ProtectedPods(protectedPodsFile(path), (error) => failures.push(error));
  return { folder, path, failures, open };
}

test("pods and what the agent calls them outlive the keeper; no draft is left", async (t) => {
  const { folder, failures, open } = setUp(t);
  const first = open();
  assert.deepEqual(first.all(), []);
  first.add("p7", { workload: "cluster//Pod/shop/web" });
  first.add("p8");
  first.add("p7", { addresses: ["10.0.0.7", "fd00::7"] });
  first.add("p9", { workload: "gone" });
  first.delete("p9");
  first.delete("unknown");
  await first.kept();
  const next = open();
  assert.deepEqual(
    [next.all(), next.of("p7"), next.of("p8").workload],
    [["p7", "p8"], { workload: "cluster//Pod/shop/web", addresses: ["10.0.0.7", "fd00::7"] }, ""],
  );
  assert.deepEqual([next.has("p8"), next.has("p9"), next.of("p9").workload], [true, false, ""]);
  assert.deepEqual([readdirSync(folder), failures], [["protected-pods.json"], []]);
});

test("a pod that may pass plaintext is no longer protected, and its name outlives the keeper until the pod has gone", async (t) => {
  const { open } = setUp(t);
  const first = open();
  first.add("p7", { workload: "web", addresses: ["10.0.0.7"] });
  first.open("p7");
  first.add("p8");
  first.open("p8");
  first.name("p9", "api");
  first.name("p9", "api-2");
  await first.kept();
  const next = open();
  assert.deepEqual([next.all(), next.has("p7"), next.of("p7")], [[], false, { workload: "web", addresses: [] }]);
  assert.deepEqual([next.of("p8").workload, next.of("p9").workload], ["", "api-2"]);
  next.add("p9", { addresses: ["10.0.0.9"] });
  assert.deepEqual(
    [next.all(), next.of("p9")],
    [["p9"], { workload: "api-2", addresses: ["10.0.0.9"] }],
    "it is protected under the name that it had",
  );
  next.name("p9", "api-3");
  next.forgetOpen((uid) => uid !== "p7");
  await next.kept();
  const last = open();
  assert.deepEqual([last.all(), last.of("p7").workload, last.of("p9").workload], [["p9"], "", "api-3"]);
});

test("an earlier release finds what it must protect, and nothing of the others", async (t) => {
  const { path, open } = setUp(t);
  const pods = open();
  pods.add("p7", { workload: "web" });
  pods.name("p8", "api");
  await pods.kept();
  const { version, pods: entries } = JSON.parse(readFileSync(path, "utf8"));
  assert.deepEqual([version, entries], [1, [{ uid: "p7", workload: "web", addresses: [] }]]);
});

test("a file that is not such a list is reported, and the next change replaces it", async (t) => {
  const { path, failures, open } = setUp(t);
  const wrong = [
    "",
    "[]",
    "null",
    '{"version":2,"pods":[]}',
    '{"version":1,"pods":[{"uid":"../x","workload":""}]}',
    '{"version":1,"pods":[{"uid":"p1","workload":"","addresses":["x"]}]}',
  ];
  for (const text of wrong) {
    writeFileSync(path, text);
    const pods = open();
    assert.deepEqual(pods.all(), []);
    assert.equal(failures.splice(0).length, 1, text);
    pods.add("p7", { workload: "web" });
    await pods.kept();
    assert.deepEqual(open().all(), ["p7"]);
  }
});

test("an entry that is damaged, or of more pods than there may be, takes no other with it", (t) => {
  const { path, failures, open } = setUp(t);
  const entries = Array.from({ length: MAX_PODS + 1 }, (_, index) => ({ uid: `p${index}`, workload: "" }));
  writeFileSync(path, JSON.stringify({ version: 1, pods: [{ uid: "../x", workload: "" }, ...entries] }));
  assert.deepEqual(
    open().all(),
    entries.slice(0, MAX_PODS).map(({ uid }) => uid),
  );
  assert.match(String(failures), /^Error: 2 of the entries/);
});

test("a disk that takes a part of the list alone keeps the list before", async (t) => {
  const { folder, path, failures, open } = setUp(t);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=32k", "tmpfs", folder]);
  try {
    const pods = open();
    for (let index = 0; index < 4; index++) pods.add(`p8${index}`, { workload: "x".repeat(200) });
    await pods.kept();
    writeFileSync(join(folder, "other"), "x".repeat(20_480));
    assert.deepEqual(failures, []);
    for (let index = 0; index < MAX_PODS; index++) pods.add(`q${index}`, { workload: "x".repeat(200) });
    await pods.kept();
    assert.match(String(failures[0]), /ENOSPC/);
    assert.ok(open().has("p83"), readFileSync(path, "utf8").slice(-80));
  } finally {
    execFileSync("umount", [folder]);
  }
});

test("where nothing can be written, pods are protected all the same", async (t) => {
  const { folder, failures, open } = setUp(t);
  const pods = open();
  rmSync(folder, { recursive: true });
  pods.add("p7", { workload: "web" });
  await pods.kept();
  assert.deepEqual([pods.has("p7"), failures.length], [true, 1]);
});

test("changes that come together are written together, and nobody is answered before his own is written", async () => {
  const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
  const dice = new Dice(seed);
  const state = new Map<string, string>();
  let writes = 0;
  /** Changes that are on the disk. */
  let written = 0;
  let made = 0;
  const file = {
    read: () => undefined,
    write: async (text: string) => {
      writes += 1;
      const has = made;
      const { pods }: { pods: { uid: string; workload: string }[] } = JSON.parse(text);
      assert.deepEqual(new Map(pods.map(({ uid, workload }) => [uid, workload])), state, `ORLOP_SEED=${seed}`);
      for (let turns = dice.roll(4); turns > 0; turns--) await new Promise(setImmediate);
      written = has;
    },
  };
  const pods = new ProtectedPods(file, (error) => assert.fail(String(error)));
  const waiting: Promise<void>[] = [];
  while (made < 20_000) {
    const uid = `p${dice.roll(50)}`;
    const isAdded = dice.chance(60);
    if (!isAdded && !state.has(uid)) continue;
    made += 1;
    const mine = made;
    if (isAdded) {
      pods.add(uid, { workload: `w${mine}` });
      state.set(uid, `w${mine}`);
    } else {
      pods.delete(uid);
      state.delete(uid);
    }
    const kept = pods.kept().then(() => {
      assert.ok(written >= mine, `ORLOP_SEED=${seed}: ${written} changes are written, and change ${mine} was answered`);
    });
    waiting.push(kept);
    if (dice.chance(10)) await new Promise(setImmediate);
    if (dice.chance(2)) await kept;
  }
  await Promise.all(waiting);
  assert.ok(writes < 5_000, `ORLOP_SEED=${seed}: ${writes} writes for 20,000 changes`);
});
