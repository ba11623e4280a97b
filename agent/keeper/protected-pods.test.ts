// protected-pods.ts: what is kept is found again; a list that is damaged, or cannot be written, is reported and protects nobody less.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
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

test("pods and what the agent calls them outlive the keeper; no draft is left", (t) => {
  const { folder, failures, open } = setUp(t);
  const first = open();
  assert.deepEqual(first.all(), []);
  first.add("p7", { workload: "cluster//Pod/shop/web" });
  first.add("p8");
  first.add("p7", { addresses: ["10.0.0.7", "fd00::7"] });
  first.add("p9", { workload: "gone" });
  first.delete("p9");
  first.delete("unknown");
  const next = open();
  assert.deepEqual(
    [next.all(), next.of("p7"), next.of("p8").workload],
    [["p7", "p8"], { workload: "cluster//Pod/shop/web", addresses: ["10.0.0.7", "fd00::7"] }, ""],
  );
  assert.deepEqual([next.has("p8"), next.has("p9"), next.of("p9").workload], [true, false, ""]);
  assert.deepEqual([readdirSync(folder), failures], [["protected-pods.json"], []]);
});

test("a file that is not such a list is reported, and the next change replaces it", (t) => {
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

test("a disk that takes a part of the list alone keeps the list before", (t) => {
  const { folder, path, failures, open } = setUp(t);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=32k", "tmpfs", folder]);
  try {
    const pods = open();
    for (let index = 0; index < 4; index++) pods.add(`p8${index}`, { workload: "x".repeat(200) });
    writeFileSync(join(folder, "other"), "x".repeat(20_480));
    assert.deepEqual(failures, []);
    for (let index = 0; index < MAX_PODS; index++) pods.add(`q${index}`, { workload: "x".repeat(200) });
    assert.match(String(failures[0]), /ENOSPC/);
    assert.ok(open().has("p83"), readFileSync(path, "utf8").slice(-80));
  } finally {
    execFileSync("umount", [folder]);
  }
});

test("where nothing can be written, pods are protected all the same", (t) => {
  const { folder, failures, open } = setUp(t);
  const pods = open();
  rmSync(folder, { recursive: true });
  pods.add("p7", { workload: "web" });
  assert.deepEqual([pods.has("p7"), failures.length], [true, 1]);
});
