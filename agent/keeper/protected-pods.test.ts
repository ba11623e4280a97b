// protected-pods.ts: what is kept is found again; a list that is damaged, or cannot be written, is reported and protects nobody less.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ProtectedPods, protectedPodsFile } from "./protected-pods.ts";

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

test("where nothing can be written, pods are protected all the same", (t) => {
  const { folder, failures, open } = setUp(t);
  const pods = open();
  rmSync(folder, { recursive: true });
  pods.add("p7", { workload: "web" });
  assert.deepEqual([pods.has("p7"), failures.length], [true, 1]);
});
