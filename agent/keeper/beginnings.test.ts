// beginnings.ts with a fake kernel and fake namespaces, by what enrollment says.
import assert from "node:assert/strict";
import { test } from "node:test";
import { namespaceOf, prepared, ref, setUp } from "./enrollment.fake.ts";

test("a pod that begins is guarded and captured before its first process, and goes on as what it was when that runs", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  namespaces.addresses = ["10.0.0.8"];
  const begun = namespaceOf(node, "pod-8");
  const called = { namespace: "shop", name: "web" };
  const { begun: row } = await enrollments.begin("p8", "c1", begun(), called);
  assert.deepEqual(enrollments.present(), [{ podIdx: 1, uid: "p8", starting: true, called }]);
  assert.partialDeepStrictEqual(row, { podIdx: 1, uid: "p8", netnsCookie: 100n, addresses: [] });
  assert.equal(rows.guarding.get(1), 100n);
  assert.deepEqual(await enrollments.begin("p8", "c1", begun()), { begun: row, gone: undefined }, "again");
  assert.deepEqual(enrollments.present(), [{ podIdx: 1, uid: "p8", starting: true }]);
  assert.partialDeepStrictEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] });
  await prepared(enrollments, "p8", []);
  await enrollments.capture(ref(1, "p8"), true);
  assert.deepEqual([rows.guarding.size, rows.capturing.get(1)], [0, true]);
  node.pod(8, "pod-8");
  node.process(8, { ticks: 9, netns: "host" });
  await enrollments.sweep();
  node.process(8, { ticks: 9, netns: "pod-8" });
  for (let sweeps = 0; sweeps < 2; sweeps++)
    assert.partialDeepStrictEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] });
  assert.equal(enrollments.get(1)?.state, "captured");
  assert.deepEqual(enrollments.present(), [{ podIdx: 1, uid: "p8" }]);
  assert.equal(await enrollments.end("p8", "c1"), undefined, "its process runs: the sweep looks after it");
  node.end(8);
  assert.partialDeepStrictEqual(await enrollments.sweep(), { gone: [{ podIdx: 1 }] });
});

test("a pod that begins and goes again leaves nothing; if it is protected, its next namespace is guarded", async () => {
  const { node, rows, enrollments } = setUp();
  const begun = namespaceOf(node, "pod-8");
  await enrollments.begin("p8", "c1", begun());
  assert.partialDeepStrictEqual(await enrollments.end("p8", "c1"), { podIdx: 1 });
  assert.deepEqual([enrollments.all(), rows.guarding.size], [[], 0]);
  assert.equal(await enrollments.end("p8", "c1"), undefined);
  await enrollments.guard("p8", "shop/web");
  const { begun: row } = await enrollments.begin("p8", "c1", begun());
  assert.partialDeepStrictEqual(row, { podIdx: 3 }, "not the index under which it was awaited");
  assert.ok(enrollments.isAskedFor("p8"));
  assert.partialDeepStrictEqual(await enrollments.end("p8", "c1"), { podIdx: 3 });
  assert.partialDeepStrictEqual(enrollments.all(), [{ state: "awaited", row: { podIdx: 4, uid: "p8" } }]);
  assert.partialDeepStrictEqual(await enrollments.sweep(), { guarded: [{ podIdx: 4 }] }, "agents hear of its index");
});

test("another namespace of the same pod: what was captured goes, and the next is guarded", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  namespaces.addresses = ["10.0.0.8"];
  await enrollments.begin("p8", "c1", namespaceOf(node, "first")());
  await prepared(enrollments, "p8", []);
  await enrollments.capture(ref(1, "p8"), false);
  namespaces.cookie = 200n;
  assert.partialDeepStrictEqual(await enrollments.begin("p8", "c2", namespaceOf(node, "second")()), {
    begun: { podIdx: 2 },
    gone: { podIdx: 1, uid: "p8" },
  });
  assert.deepEqual([[...rows.capturing.keys()], rows.guarding.get(2)], [[], 200n]);
  await prepared(enrollments, "p8", []);
  await enrollments.capture(ref(2, "p8"), false);
  assert.equal(await enrollments.end("p8", "c1"), undefined, "of the sandbox before");
  assert.deepEqual([...rows.capturing.keys()], [2]);
  assert.partialDeepStrictEqual(await enrollments.end("p8", "c2"), { podIdx: 2 });
  assert.deepEqual([...rows.capturing.keys()], []);
});

test("a namespace that is not the pod's alone begins no pod", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  await prepared(enrollments, "p7");
  // The fake's cookie says that it is the namespace of the other pod.
  assert.partialDeepStrictEqual(await enrollments.begin("p8", "c1", namespaceOf(node, "pod-8")()), {
    begun: { refused: "namespace-shared" },
  });
  namespaces.cookie = 200n;
  assert.partialDeepStrictEqual(await enrollments.begin("p9", "c1", namespaceOf(node, "host")()), {
    begun: { refused: "namespace-shared" },
  });
  assert.deepEqual([enrollments.all().length, rows.guarding.size], [1, 0]);
});

test("a pod whose next namespace is refused is gone from where it was, and its index is free", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  namespaces.addresses = ["10.0.0.8"];
  const refused = async () => ({
    ...(await enrollments.begin("p8", "c2", namespaceOf(node, "host")())),
    left: [enrollments.all().length, rows.guarding.size, rows.capturing.size],
  });
  await enrollments.begin("p8", "c1", namespaceOf(node, "first")());
  await prepared(enrollments, "p8", []);
  await enrollments.capture(ref(1, "p8"), true);
  const expected = (podIdx: number) => ({
    ...{ begun: { refused: "namespace-shared" }, gone: { podIdx, uid: "p8" }, left: [0, 0, 0] },
  });
  assert.partialDeepStrictEqual(await refused(), expected(1));
  await enrollments.begin("p8", "c1", namespaceOf(node, "first")());
  assert.partialDeepStrictEqual(await refused(), expected(3), "guarded alone");
});

test("a guard that fails leaves no index behind, unless the pod is protected", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  const begun = namespaceOf(node, "pod-8");
  const begin = () => enrollments.begin("p8", "c1", begun());
  const failed = { begun: { refused: "kernel" }, gone: undefined };
  namespaces.cookieFails = 1;
  assert.partialDeepStrictEqual(await begin(), failed);
  rows.failAt = "guard";
  assert.partialDeepStrictEqual(await begin(), failed);
  assert.deepEqual([enrollments.all(), rows.guarding.size], [[], 0]);
  rows.failAt = undefined;
  await enrollments.guard("p8", "shop/web");
  namespaces.cookieFails = 1;
  assert.partialDeepStrictEqual(await begin(), { begun: { refused: "kernel" }, gone: { podIdx: 3 } });
  assert.partialDeepStrictEqual(enrollments.all(), [{ state: "awaited", row: { podIdx: 4, uid: "p8" } }]);
  assert.partialDeepStrictEqual(await enrollments.sweep(), { guarded: [{ podIdx: 4 }] }, "agents hear of its index");
});

test("a release that was on its way for an older guard says nothing of the namespace that begins", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  const begun = namespaceOf(node, "pod-8");
  await enrollments.guard("p8", "shop/web");
  assert.partialDeepStrictEqual(await enrollments.begin("p8", "c1", begun()), {
    begun: { podIdx: 2 },
    gone: { podIdx: 1, uid: "p8" },
  });
  await enrollments.release(ref(1, "p8"));
  assert.deepEqual([[...rows.guarding.keys()], enrollments.isAskedFor("p8")], [[2], true]);
  // The same for the guard of a namespace that has gone.
  await enrollments.end("p8", "c1");
  await enrollments.begin("p8", "c2", begun());
  const [guarded] = rows.guarding.keys();
  namespaces.cookie = 200n;
  const next = await enrollments.begin("p8", "c3", namespaceOf(node, "pod-8-next")());
  assert.partialDeepStrictEqual(next.gone, { podIdx: guarded });
  await enrollments.release(ref(guarded ?? 0, "p8"));
  assert.ok("podIdx" in next.begun && next.begun.podIdx !== guarded);
  assert.deepEqual([...rows.guarding], [[next.begun.podIdx, 200n]]);
});

test("what takes time is made ready for the pods that are there, and for those that come next", async () => {
  const { node, rows, enrollments } = setUp();
  assert.deepEqual([rows.foreseen[0], rows.foreseen.length], [1, 32]);
  await enrollments.guard("p9", "shop/web");
  await enrollments.begin("p8", "c1", namespaceOf(node, "pod-8")());
  assert.deepEqual(rows.foreseen.slice(0, 3), [2, 3, 4], "not for a pod that is only awaited");
  await prepared(enrollments, "p8", ["10.0.0.8"]);
  await enrollments.capture(ref(2, "p8"), false);
  await enrollments.sweep();
  assert.deepEqual(rows.foreseen.slice(0, 2), [3, 4]);
});
