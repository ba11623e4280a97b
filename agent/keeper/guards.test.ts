// guards.ts, sweep.ts with a fake kernel and fake namespaces: what an agent has named as protected is guarded whenever it is there.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fakeFile, prepared, ref, setUp } from "./enrollment.fake.ts";

describe("a protected pod", () => {
  const captureStrict = async () => {
    const parts = setUp();
    await parts.enrollments.guard("p7", "cluster//Pod/shop/web");
    await prepared(parts.enrollments);
    await parts.enrollments.capture(ref(1), false);
    return parts;
  };

  test("is guarded before anything else, and until it is captured, also when it cannot be prepared", async () => {
    const { rows, namespaces, enrollments } = setUp();
    assert.partialDeepStrictEqual(await enrollments.guard("p7", "web"), { podIdx: 1 });
    assert.deepEqual([...rows.guarding], [[1, 100n]]);
    namespaces.refuse = { refused: "address-mismatch", message: "" };
    await enrollments.prepare("p7", ["10.0.0.9"]);
    assert.deepEqual([...rows.guarding], [[1, 100n]]);
    namespaces.refuse = undefined;
    assert.partialDeepStrictEqual(await prepared(enrollments), { state: "prepared", row: { podIdx: 1 } });
    assert.deepEqual([...rows.guarding], [[1, 100n]]);
    await enrollments.capture(ref(1), false);
    assert.deepEqual([rows.guarding.size, rows.capturing.get(1)], [0, false]);
  });

  test("is guarded in its new namespace by the keeper alone, under another index", async () => {
    const { node, rows, namespaces, enrollments } = await captureStrict();
    node.end(7);
    assert.partialDeepStrictEqual(await enrollments.sweep(), { gone: [{ podIdx: 1 }], guarded: [{ podIdx: 2 }] });
    assert.deepEqual([rows.guarding.size, enrollments.get(2)?.state], [0, "awaited"]);
    assert.deepEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] });
    node.process(7, { ticks: 5555, netns: "second-sandbox" });
    namespaces.cookie = 200n;
    assert.partialDeepStrictEqual(await enrollments.sweep(), { gone: [], guarded: [{ podIdx: 2, netnsCookie: 200n }] });
    assert.deepEqual([...rows.guarding], [[2, 200n]]);
    // A name of the workload may be edited while the pod cannot be enrolled: its addresses tell whose it is.
    assert.deepEqual(enrollments.knownOf(ref(2)), { workload: "cluster//Pod/shop/web", addresses: ["10.0.0.7"] });
    assert.equal(await enrollments.sever(ref(2)), 0);
    assert.partialDeepStrictEqual(await prepared(enrollments), { state: "prepared", row: { podIdx: 2 } });
  });

  test("is said to have begun with its first process alone, or later, once containers of it run", async () => {
    const { node, namespaces, enrollments } = setUp();
    node.end(7);
    await enrollments.guard("p7", "web");
    assert.deepEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] });
    node.process(7, { ticks: 5555, netns: "sandbox" });
    assert.partialDeepStrictEqual(await enrollments.sweep(), { guarded: [{ podIdx: 1, found: "first-process" }] });
    await enrollments.guard("p8", "api");
    namespaces.cookie = 200n;
    node.cgroup("podp8", [8]);
    node.cgroup("podp8/container", [80]);
    node.process(8, { ticks: 5556, netns: "other-sandbox" });
    node.process(80, { ticks: 5557, netns: "other-sandbox" });
    assert.partialDeepStrictEqual(await enrollments.sweep(), { guarded: [{ podIdx: 2, found: "late" }] });
    assert.deepEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] }, "each is said once");
    node.pod(9);
    namespaces.cookie = 300n;
    await enrollments.guard("p9", "job");
    const asked = { podIdx: 3, found: "first-process", asked: true };
    assert.partialDeepStrictEqual(await enrollments.sweep(), { guarded: [asked] }, "it was there already");
    await enrollments.guard("p9", "job");
    assert.deepEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] });
    await enrollments.guard("p6", "cron");
    node.pod(6);
    namespaces.cookie = 400n;
    await prepared(enrollments, "p6", ["10.0.0.6"]);
    const prepares = { podIdx: 4, found: "first-process", asked: true };
    assert.partialDeepStrictEqual(await enrollments.sweep(), { guarded: [prepares] }, "an agent found it first");
  });

  test("a guarded namespace that goes makes way for the next", async () => {
    const { node, rows, namespaces, enrollments } = setUp();
    await enrollments.guard("p7", "web");
    node.process(7, { ticks: 5555, netns: "second-sandbox" });
    namespaces.cookie = 200n;
    await enrollments.sweep();
    assert.deepEqual([...rows.guarding], [[1, 200n]]);
  });

  test("is one no more when it is released, or captured as a pod that may go direct", async () => {
    for (const free of ["release", "direct"] as const) {
      const { node, rows, file, enrollments } = await captureStrict();
      if (free === "release") await enrollments.release(ref(1));
      else await enrollments.capture(ref(1), true);
      const open = free === "direct" ? ',"open":[{"uid":"p7","workload":"cluster//Pod/shop/web"}]' : "";
      assert.equal(file.text, `{"version":1,"pods":[]${open}}`);
      node.end(7);
      await enrollments.sweep();
      assert.deepEqual([enrollments.all(), rows.guarding.size], [[], 0]);
    }
  });

  test("whose namespace has gone when it is prepared again is named under its new index by the next sweep", async () => {
    const { node, file, enrollments } = await captureStrict();
    node.end(7);
    assert.partialDeepStrictEqual(await enrollments.prepare("p7", ["10.0.0.7"]), { refused: "pod-not-found" });
    assert.deepEqual([enrollments.get(1), enrollments.get(2)?.state], [undefined, "awaited"]);
    assert.partialDeepStrictEqual(await enrollments.sweep(), { gone: [], guarded: [{ podIdx: 2, uid: "p7" }] });
    assert.deepEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] }, "once");
    await enrollments.release(ref(2));
    assert.deepEqual([enrollments.all(), file.text], [[], '{"version":1,"pods":[]}']);
  });

  test("is released and guarded in one step, and its addresses are forgotten", async () => {
    const { node, rows, namespaces, file, enrollments } = await captureStrict();
    rows.log.length = 0;
    assert.partialDeepStrictEqual(await enrollments.releaseToGuard(ref(1), "web"), { podIdx: 1, addresses: [] });
    assert.deepEqual(rows.log, ["guard 1", "forget capture 1"], "it is withdrawn at no moment");
    assert.deepEqual([[...rows.guarding], rows.capturing.size, namespaces.open.size], [[[1, 100n]], 0, 0]);
    assert.deepEqual(enrollments.knownOf(ref(1)), { workload: "web", addresses: [] });
    assert.equal(file.text, '{"version":1,"pods":[{"uid":"p7","workload":"web","addresses":[]}]}');
    node.pod(8);
    namespaces.cookie = 200n;
    assert.partialDeepStrictEqual(await prepared(enrollments, "p8"), { row: { podIdx: 2 } }, "another may have them");
    namespaces.cookie = 100n;
    assert.partialDeepStrictEqual(await prepared(enrollments, "p7", ["10.0.0.8"]), { row: { podIdx: 1 } });
    assert.partialDeepStrictEqual(await enrollments.releaseToGuard(ref(9), "web"), { refused: "not-prepared" });
  });

  test("is released and guarded where it is now, when its namespace has gone", async () => {
    const { node, rows, namespaces, enrollments } = await captureStrict();
    node.process(7, { ticks: 5555, netns: "second-sandbox" });
    namespaces.cookie = 200n;
    assert.partialDeepStrictEqual(await enrollments.releaseToGuard(ref(1), "web"), { podIdx: 2, netnsCookie: 200n });
    assert.deepEqual([[...rows.guarding], rows.capturing.size, namespaces.open.size], [[[2, 200n]], 0, 0]);
    node.end(7);
    assert.partialDeepStrictEqual(await enrollments.releaseToGuard(ref(2), "web"), { podIdx: 2, netnsCookie: 0n });
    assert.deepEqual([rows.guarding.size, enrollments.get(2)?.state], [0, "awaited"]);
  });

  test("of an earlier keeper is released and guarded too", async () => {
    const left = [{ podIdx: 5, uid: "p7", netnsCookie: 100n, addresses: ["10.0.0.7"], spread: [] }];
    const { rows, enrollments } = setUp(left);
    assert.partialDeepStrictEqual(await enrollments.releaseToGuard(ref(5), "web"), { podIdx: 5 });
    assert.deepEqual([[...rows.guarding], rows.capturing.size], [[[5, 100n]], 0]);
  });

  test("the next keeper guards it before any agent is there, also when nothing is pinned any more", async () => {
    const { file, enrollments } = await captureStrict();
    await enrollments.close();
    const next = setUp([], fakeFile(file.text));
    await next.enrollments.sweep();
    assert.deepEqual([...next.rows.guarding], [[1, 100n]]);
    assert.equal(next.enrollments.knownOf(ref(1)).workload, "cluster//Pod/shop/web");
  });

  test("a captured pod that passes plaintext keeps its name, also for the next keeper, until its namespace has gone", async () => {
    const { file, enrollments } = setUp();
    await enrollments.prepare("p7", ["10.0.0.7"]);
    assert.equal(await enrollments.name(ref(1), "cluster//Pod/shop/web"), undefined);
    assert.partialDeepStrictEqual(await enrollments.name(ref(2), "x"), { refused: "not-prepared" });
    await enrollments.capture(ref(1), true);
    await enrollments.close();
    const left = [{ podIdx: 1, uid: "p7", netnsCookie: 100n, addresses: ["10.0.0.7"], spread: [] }];
    const next = setUp(left, fakeFile(file.text));
    assert.deepEqual(next.enrollments.isAskedFor("p7"), false);
    assert.deepEqual(next.enrollments.knownOf(ref(1)), { workload: "cluster//Pod/shop/web", addresses: ["10.0.0.7"] });
    await next.enrollments.sweep();
    assert.equal(next.enrollments.knownOf(ref(1)).workload, "cluster//Pod/shop/web");
    next.node.end(7);
    await next.enrollments.sweep();
    await next.enrollments.close();
    assert.equal(next.file.text, '{"version":1,"pods":[]}');
  });

  test("what an earlier keeper captured in another namespace is guarded where the pod is now", async () => {
    const left = [{ podIdx: 5, uid: "p7", netnsCookie: 1n, addresses: ["10.0.0.7"], spread: [] }];
    const { rows, enrollments } = setUp(left, fakeFile('{"version":1,"pods":[{"uid":"p7","workload":""}]}'));
    assert.partialDeepStrictEqual(await enrollments.sweep(), { gone: [{ podIdx: 5 }], guarded: [{ podIdx: 6 }] });
    assert.deepEqual([rows.capturing.size, rows.guarding.get(6)], [0, 100n]);
  });

  test("a pod that cannot be looked at keeps no other from its guard", async () => {
    const text = '{"version":1,"pods":[{"uid":"p7","workload":""},{"uid":"p8","workload":""}]}';
    const { node, rows, namespaces, enrollments } = setUp([], fakeFile(text));
    node.pod(8);
    namespaces.cookieFails = 1;
    assert.partialDeepStrictEqual(await enrollments.sweep(), { failed: [{ uid: "p7" }] });
    assert.deepEqual([...rows.guarding.keys()], [2]);
  });

  test("of two pods in one namespace the first has the guard", async () => {
    const { node, rows, enrollments } = setUp();
    node.pod(8, "pod-7");
    await enrollments.guard("p7", "a");
    await enrollments.guard("p8", "b");
    assert.deepEqual([...rows.guarding], [[1, 100n]]);
  });

  test("a removed keeper leaves no guard and no list", async () => {
    const { node, rows, file, enrollments } = await captureStrict();
    node.end(7);
    await enrollments.sweep();
    await enrollments.releaseAll();
    assert.deepEqual([rows.guarding.size, rows.capturing.size, file.text], [0, 0, '{"version":1,"pods":[]}']);
  });
});
