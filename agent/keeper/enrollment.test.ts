// enrollment.ts with a fake kernel and fake namespaces: order, idempotence, undoing, adoption, and any sequence at all.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import { FakeNamespaces, FakeRows } from "./enrollment.fake.ts";
import { PodEnrollments, type PodRow } from "./enrollment.ts";
import { FakeNode } from "./pods.fake.ts";
import { MAX_PODS } from "./requests.ts";

const nodes: FakeNode[] = [];
after(() => {
  for (const node of nodes) node.remove();
});

function setUp(left: readonly PodRow[] = []) {
  const node = new FakeNode();
  nodes.push(node);
  node.pod(7);
  const rows = new FakeRows(left);
  const namespaces = new FakeNamespaces();
  return {
    node,
    rows,
    namespaces,
    enrollments: new PodEnrollments({ tree: node, openNamespace: namespaces.openNamespace, rows }),
  };
}

async function prepared(enrollments: PodEnrollments, uid = "p7", addresses: readonly string[] = ["10.0.0.7"]) {
  const result = await enrollments.prepare(uid, addresses);
  assert.ok(!("refused" in result), "refused" in result ? result.message : "");
  return result;
}

test("capture comes after everything it needs, release takes it away first", async () => {
  const { rows, namespaces, enrollments } = setUp();
  const { row } = await prepared(enrollments, "p7", ["10.0.0.7", "fd00::7"]);
  assert.deepEqual(row, { podIdx: 1, uid: "p7", netnsCookie: 100n, ip4: "10.0.0.7", ip6: "fd00::7" });
  assert.deepEqual(rows.log, ["forget 1"], "prepare does not touch capture");
  await enrollments.capture(1, true);
  await enrollments.release(1);
  assert.deepEqual(rows.log, ["forget 1", "admit 1", "capture 1 true", "withdraw 1", "forget 1"]);
  assert.equal(namespaces.open.size, 0);
  assert.deepEqual(enrollments.all(), []);
  await enrollments.release(1);
});

test("what waits at the listeners keeps its destination for a moment, and longer when the pod is back", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  return (async () => {
    const { rows, enrollments } = setUp();
    await enrollments.release((await prepared(enrollments)).row.podIdx);
    assert.equal(rows.log.includes("forget flows of 100"), false);
    context.mock.timers.tick(6_000);
    assert.equal(rows.log.includes("forget flows of 100"), true);
    rows.log.length = 0;
    await enrollments.release((await prepared(enrollments)).row.podIdx);
    await prepared(enrollments);
    context.mock.timers.tick(6_000);
    assert.equal(rows.log.includes("forget flows of 100"), false);
  })();
});

test("asked again, nothing happens again", async () => {
  const { rows, namespaces, enrollments } = setUp();
  const first = await prepared(enrollments);
  assert.equal(await enrollments.prepare("p7", ["10.0.0.7"]), first);
  await enrollments.capture(1, false);
  await enrollments.capture(1, false);
  assert.equal((await prepared(enrollments)).state, "captured");
  assert.equal(namespaces.open.size, 1);
  assert.deepEqual(rows.log, ["forget 1", "admit 1", "capture 1 false"]);
  await enrollments.capture(1, true);
  assert.equal(rows.capturing.get(1), true, "the fail mode can be changed");
});

test("two that ask at once get one pod", async () => {
  const { namespaces, enrollments } = setUp();
  const [a, b] = await Promise.all([prepared(enrollments), prepared(enrollments)]);
  assert.equal(a, b);
  assert.equal(namespaces.open.size, 1);
});

test("what fails half way is withdrawn, and can be tried again", async () => {
  for (const failAt of ["admit", "capture"] as const) {
    const { rows, enrollments } = setUp();
    await prepared(enrollments);
    rows.failAt = failAt;
    await assert.rejects(enrollments.capture(1, false), new RegExp(`${failAt} fails`));
    assert.equal(rows.capturing.size + rows.admitted.size, 0);
    assert.equal(enrollments.get(1)?.state, "prepared");
    rows.failAt = undefined;
    assert.partialDeepStrictEqual(await enrollments.capture(1, false), { state: "captured" });
  }
});

test("refusals say why and leave nothing open", async () => {
  const { node, namespaces, enrollments } = setUp();
  assert.partialDeepStrictEqual(await enrollments.prepare("p8", ["10.0.0.8"]), { refused: "pod-not-found" });
  assert.partialDeepStrictEqual(await enrollments.capture(1, false), { refused: "not-prepared" });
  assert.partialDeepStrictEqual(await enrollments.makeSockets(1, "out4", 1), { refused: "not-prepared" });
  namespaces.refuse = { refused: "address-mismatch", message: "10.0.0.9 is not there" };
  assert.equal(await enrollments.prepare("p7", ["10.0.0.9"]), namespaces.refuse);
  namespaces.refuse = undefined;
  await prepared(enrollments);
  assert.partialDeepStrictEqual(await enrollments.prepare("p7", ["10.0.0.8"]), { refused: "address-mismatch" });
  node.pod(8, "pod-7");
  assert.partialDeepStrictEqual(await enrollments.prepare("p8", ["10.0.0.8"]), { refused: "namespace-shared" });
  namespaces.cookie = 101n;
  assert.partialDeepStrictEqual(await enrollments.prepare("p8", ["10.0.0.7"]), { refused: "address-mismatch" });
  assert.equal(namespaces.open.size, 1);
});

test("a pod that has gone is released and named; one that stands is not", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  node.pod(8);
  await prepared(enrollments);
  await enrollments.capture(1, false);
  namespaces.cookie = 101n;
  await prepared(enrollments, "p8", ["10.0.0.8"]);
  assert.deepEqual(await enrollments.sweep(), []);
  node.end(7);
  assert.deepEqual(
    (await enrollments.sweep()).map(({ uid }) => uid),
    ["p7"],
  );
  assert.equal(rows.capturing.size, 0);
  assert.equal(namespaces.open.size, 1);
});

test("a new sandbox under the same UID is enrolled anew, under another index", async () => {
  const { node, namespaces, enrollments } = setUp();
  const first = await prepared(enrollments);
  await enrollments.capture(1, false);
  node.process(7, { ticks: 5555, netns: "second-sandbox" });
  namespaces.cookie = 200n;
  const second = await prepared(enrollments);
  assert.equal(second.state, "prepared");
  assert.notEqual(second.row.podIdx, first.row.podIdx);
  assert.equal(namespaces.open.size, 1);
});

test("what an earlier keeper captured stays captured until it is prepared again or has gone", async () => {
  const left: PodRow[] = [
    { podIdx: 5, uid: "p7", netnsCookie: 100n, ip4: "10.0.0.7", ip6: null },
    { podIdx: 9, uid: "p9", netnsCookie: 90n, ip4: "10.0.0.9", ip6: null },
  ];
  const { rows, enrollments } = setUp(left);
  assert.deepEqual(
    enrollments.all().map(({ state, row }) => [state, row.podIdx]),
    [
      ["adopted", 5],
      ["adopted", 9],
    ],
  );
  assert.partialDeepStrictEqual(await enrollments.capture(5, false), { refused: "not-prepared" });
  const again = await prepared(enrollments);
  assert.partialDeepStrictEqual(again, { state: "captured", row: { podIdx: 5 } });
  assert.equal(rows.capturing.has(5), true, "capture was never off");
  await enrollments.capture(5, false);
  assert.deepEqual(rows.log, ["admit 5", "capture 5 false"], "the fail mode of the earlier keeper is not trusted");
  assert.deepEqual(
    (await enrollments.sweep()).map(({ uid }) => uid),
    ["p9"],
  );
  assert.deepEqual([...rows.capturing.keys()], [5]);
});

test("an adopted pod in another namespace is let go before it is enrolled anew", async () => {
  const { rows, namespaces, enrollments } = setUp([
    { podIdx: 5, uid: "p7", netnsCookie: 1n, ip4: "10.0.0.7", ip6: null },
  ]);
  namespaces.cookie = 100n;
  assert.equal((await prepared(enrollments)).state, "prepared");
  assert.equal(rows.capturing.size, 0);
});

test("any order of requests leaves kernel, namespaces and table in step", async () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  const pod = fc.integer({ min: 1, max: 3 });
  const step = fc.oneof(
    fc.record({ op: fc.constant("prepare" as const), pod }),
    fc.record({ op: fc.constant("capture" as const), pod: fc.integer({ min: 1, max: 6 }), fails: fc.boolean() }),
    fc.record({ op: fc.constant("release" as const), pod: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ op: fc.constant("end" as const), pod }),
    fc.record({ op: fc.constant("start" as const), pod }),
    fc.record({ op: fc.constant("sweep" as const), pod }),
  );
  let ticks = 10;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const { node, rows, namespaces, enrollments } = setUp();
      const alive = new Set<number>();
      const under: Promise<unknown>[] = [];
      for (const { op, pod: which, ...more } of steps) {
        if (op === "prepare") {
          namespaces.cookie = BigInt(which);
          under.push(enrollments.prepare(`p${which}`, [`10.0.0.${which}`]));
        } else if (op === "capture") {
          rows.failAt = "fails" in more && more.fails ? "capture" : undefined;
          under.push(enrollments.capture(which, false).catch(() => "failed"));
          await Promise.all(under.splice(0));
        } else if (op === "release") under.push(enrollments.release(which));
        else if (op === "sweep") under.push(enrollments.sweep());
        else if (op === "end" && alive.delete(which)) node.end(which);
        else if (op === "start") {
          alive.add(which);
          node.cgroup(`podp${which}`, [which]);
          node.process(which, { ticks: ticks++, netns: `p${which}` });
        }
      }
      await Promise.all(under);
      const all = enrollments.all();
      const captured = all.filter(({ state }) => state === "captured").map(({ row }) => row.podIdx);
      assert.deepEqual([...rows.capturing.keys()].sort(), captured.sort());
      assert.deepEqual([...rows.admitted.keys()].sort(), captured.sort());
      assert.equal(namespaces.open.size, all.length);
      assert.equal(new Set(all.map(({ row }) => row.uid)).size, all.length);
      await enrollments.releaseAll();
      assert.equal(rows.capturing.size + rows.admitted.size + namespaces.open.size, 0);
    }),
    { seed, numRuns: 150 },
  );
});

test("indices are bounded and rest before they are used again", async () => {
  const { namespaces, node, enrollments } = setUp();
  const seen: number[] = [];
  for (let turn = 0; turn < 3; turn++) {
    const { row } = await prepared(enrollments);
    seen.push(row.podIdx);
    await enrollments.release(row.podIdx);
  }
  assert.deepEqual(seen, [1, 2, 3]);
  const left = Array.from({ length: MAX_PODS }, (_, index) => ({
    podIdx: index + 1,
    uid: `old${index}`,
    netnsCookie: BigInt(10_000 + index),
    ip4: null,
    ip6: null,
  }));
  const full = new PodEnrollments({ tree: node, openNamespace: namespaces.openNamespace, rows: new FakeRows(left) });
  assert.partialDeepStrictEqual(await full.prepare("p7", ["10.0.0.7"]), { refused: "limit" });
  assert.equal(namespaces.open.size, 0);
});
