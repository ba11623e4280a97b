// enrollment.ts with a fake kernel and fake namespaces: order, idempotence, undoing, adoption, and any sequence at all.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fakeFile, namespaceOf, prepared, ref, setUp } from "./enrollment.fake.ts";
import type { PodRow } from "./enrollment-states.ts";
import { MAX_PODS } from "./requests.ts";

test("capture comes after everything it needs, release takes it away first", async () => {
  const { rows, namespaces, enrollments } = setUp();
  const { row } = await prepared(enrollments, "p7", ["10.0.0.7", "fd00::7"]);
  assert.deepEqual(row, { podIdx: 1, uid: "p7", netnsCookie: 100n, addresses: ["10.0.0.7", "fd00::7"], spread: [] });
  assert.deepEqual(rows.log, ["clear 1"], "prepare does not touch capture");
  await enrollments.capture(ref(1), true);
  await enrollments.release(ref(1));
  assert.deepEqual(rows.log, ["clear 1", "admit 1", "capture 1 true", "withdraw 1", "forget 1"]);
  assert.equal(namespaces.open.size, 0);
  assert.deepEqual(enrollments.all(), []);
  await enrollments.release(ref(1));
});

test("what waits at the listeners keeps its destination for a moment, and longer when the pod is back", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  return (async () => {
    const { rows, enrollments } = setUp();
    await enrollments.release((await prepared(enrollments)).row);
    assert.equal(rows.log.includes("forget flows of 100"), false);
    context.mock.timers.tick(6_000);
    assert.equal(rows.log.includes("forget flows of 100"), true);
    rows.log.length = 0;
    await enrollments.release((await prepared(enrollments)).row);
    await prepared(enrollments);
    context.mock.timers.tick(6_000);
    assert.equal(rows.log.includes("forget flows of 100"), false);
  })();
});

test("asked again, nothing happens again", async () => {
  const { rows, namespaces, enrollments } = setUp();
  const first = await prepared(enrollments);
  assert.equal(await enrollments.prepare("p7", ["10.0.0.7"]), first);
  await enrollments.capture(ref(1), false);
  await enrollments.capture(ref(1), false);
  assert.equal((await prepared(enrollments)).state, "captured");
  assert.equal(namespaces.open.size, 1);
  assert.deepEqual(rows.log, ["clear 1", "admit 1", "capture 1 false"]);
  await enrollments.capture(ref(1), true);
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
    await assert.rejects(enrollments.capture(ref(1), true), new RegExp(`${failAt} fails`));
    assert.equal(rows.capturing.size + rows.admitted.size, 0);
    assert.equal(enrollments.get(1)?.state, "prepared");
    await assert.rejects(enrollments.capture(ref(1), false), new RegExp(`${failAt} fails`));
    assert.deepEqual([rows.capturing.size, rows.guarding.get(1)], [0, 100n], "it refuses until it is tried again");
    rows.failAt = undefined;
    assert.partialDeepStrictEqual(await enrollments.capture(ref(1), false), { state: "captured" });
  }
});

test("a pod that was guarded is guarded again when its capture fails, and a pod that is only prepared gets its guard", async () => {
  const { node, rows, enrollments } = setUp();
  await enrollments.begin("p8", "c1", namespaceOf(node, "pod-8")());
  await prepared(enrollments, "p8", ["10.0.0.8"]);
  rows.failAt = "capture";
  for (let times = 0; times < 2; times++) {
    await assert.rejects(enrollments.capture(ref(1, "p8"), true), /capture fails/);
    assert.equal(rows.guarding.get(1), 100n);
  }
  rows.failAt = undefined;
  await enrollments.release(ref(1, "p8"));
  const { row } = await prepared(enrollments);
  assert.equal(rows.guarding.size, 0);
  await enrollments.guard("p7", "shop/web");
  assert.equal(rows.guarding.get(row.podIdx), 100n);
  assert.partialDeepStrictEqual(await enrollments.capture(row, false), { state: "captured" });
});

test("a pod whose addresses nobody has named is known by those of its namespace, where these are plain", async () => {
  const { namespaces, enrollments } = setUp();
  for (const addresses of [[], ["10.0.0.7", "10.0.1.7"], ["fd00::7", "fd00::8"]]) {
    namespaces.addresses = addresses;
    assert.partialDeepStrictEqual(await enrollments.prepare("p7", []), { refused: "address-mismatch" });
    assert.equal(namespaces.open.size, 0);
  }
  namespaces.addresses = ["10.0.0.7", "fd00::7"];
  assert.deepEqual((await prepared(enrollments, "p7", [])).row.addresses, ["10.0.0.7", "fd00::7"]);
  assert.deepEqual((await prepared(enrollments, "p7", [])).row.addresses, ["10.0.0.7", "fd00::7"], "asked again");
  assert.deepEqual((await prepared(enrollments, "p7", ["10.0.0.7"])).row.addresses, ["10.0.0.7"], "then somebody has");
});

test("refusals say why and leave nothing open", async () => {
  const { node, namespaces, enrollments } = setUp();
  assert.partialDeepStrictEqual(await enrollments.prepare("p8", ["10.0.0.8"]), { refused: "pod-not-found" });
  assert.partialDeepStrictEqual(await enrollments.capture(ref(1), false), { refused: "not-prepared" });
  assert.partialDeepStrictEqual(await enrollments.makeSockets(ref(1), "out4", 1), { refused: "not-prepared" });
  namespaces.refuse = { refused: "address-mismatch", message: "10.0.0.9 is not there" };
  assert.equal(await enrollments.prepare("p7", ["10.0.0.9"]), namespaces.refuse);
  namespaces.refuse = undefined;
  await prepared(enrollments);
  namespaces.absent.add("10.0.0.8");
  assert.partialDeepStrictEqual(await enrollments.prepare("p7", ["10.0.0.8"]), { refused: "address-mismatch" });
  namespaces.absent.clear();
  node.pod(8, "pod-7");
  assert.partialDeepStrictEqual(await enrollments.prepare("p8", ["10.0.0.8"]), { refused: "namespace-shared" });
  namespaces.cookie = 101n;
  assert.partialDeepStrictEqual(await enrollments.prepare("p8", ["10.0.0.7"]), { refused: "address-taken" });
  assert.equal(namespaces.open.size, 1);
});

test("a pod that has gone is released and named; one that stands is not", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  node.pod(8);
  await prepared(enrollments);
  await enrollments.capture(ref(1), true);
  namespaces.cookie = 101n;
  await prepared(enrollments, "p8", ["10.0.0.8"]);
  assert.deepEqual(await enrollments.sweep(), { gone: [], guarded: [], failed: [] });
  node.end(7);
  assert.deepEqual(
    (await enrollments.sweep()).gone.map(({ uid }) => uid),
    ["p7"],
  );
  assert.equal(rows.capturing.size, 0);
  assert.equal(namespaces.open.size, 1);
});

test("an agent gets sockets under the index of a pod that was released, also once the pod is back, and has left again", async () => {
  const { node, namespaces, enrollments } = setUp();
  const open = async () => {
    const { row, namespace } = await prepared(enrollments);
    await enrollments.capture(ref(row.podIdx), false);
    return { pod: ref(row.podIdx), namespace };
  };
  const first = await open();
  await enrollments.release(first.pod);
  assert.partialDeepStrictEqual(await enrollments.makeSockets(first.pod, "out4", 1), { refused: "not-prepared" });
  const second = await open();
  assert.notEqual(second.pod.podIdx, first.pod.podIdx);
  assert.deepEqual(
    await enrollments.makeSockets(first.pod, "out4", 1),
    [2000],
    "of the namespace as it is entered now",
  );
  assert.partialDeepStrictEqual(await enrollments.makeSockets(ref(first.pod.podIdx, "p8"), "out4", 1), {
    refused: "not-prepared",
  });
  // The double leaves a namespace at once; the keeper's own stays entered for as long as an agent may need it.
  await enrollments.release(second.pod);
  namespaces.open.add(second.namespace);
  assert.deepEqual(await enrollments.makeSockets(first.pod, "out4", 1), [2000], "of the namespace as it was left last");
  node.process(7, { ticks: 5555, netns: "second-sandbox" });
  namespaces.open.clear();
  namespaces.cookie = 200n;
  await open();
  const other = await enrollments.makeSockets(first.pod, "out4", 1);
  assert.partialDeepStrictEqual(other, { refused: "not-prepared" }, "another namespace of the pod is not lent");
});

test("a new sandbox under the same UID is enrolled anew, under another index", async () => {
  const { node, namespaces, enrollments } = setUp();
  const first = await prepared(enrollments);
  await enrollments.capture(ref(1), false);
  node.process(7, { ticks: 5555, netns: "second-sandbox" });
  namespaces.cookie = 200n;
  const second = await prepared(enrollments);
  assert.equal(second.state, "prepared");
  assert.notEqual(second.row.podIdx, first.row.podIdx);
  assert.equal(namespaces.open.size, 1);
});

test("what an earlier keeper captured stays captured until it is prepared again or has gone", async () => {
  const left: PodRow[] = [
    { podIdx: 5, uid: "p7", netnsCookie: 100n, addresses: ["10.0.0.7"], spread: [] },
    { podIdx: 9, uid: "p9", netnsCookie: 90n, addresses: ["10.0.0.9"], spread: [] },
  ];
  const { rows, enrollments } = setUp(left);
  assert.deepEqual(
    enrollments.all().map(({ state, row }) => [state, row.podIdx]),
    [
      ["adopted", 5],
      ["adopted", 9],
    ],
  );
  assert.partialDeepStrictEqual(await enrollments.capture(ref(5), false), { refused: "not-prepared" });
  const again = await prepared(enrollments);
  assert.partialDeepStrictEqual(again, { state: "captured", row: { podIdx: 5 } });
  assert.equal(rows.capturing.has(5), true, "capture was never off");
  await enrollments.capture(ref(5), false);
  const said = ["admit 5", "readdress 5 10.0.0.7 to 10.0.0.7", "capture 5 false"];
  assert.deepEqual(rows.log, said, "the fail mode of the earlier keeper is not trusted");
  assert.deepEqual(
    (await enrollments.sweep()).gone.map(({ uid }) => uid),
    ["p9"],
  );
  assert.deepEqual([...rows.capturing.keys()], [5]);
});

test("an adopted pod in another namespace is let go before it is enrolled anew", async () => {
  const { rows, namespaces, enrollments } = setUp([
    { podIdx: 5, uid: "p7", netnsCookie: 1n, addresses: ["10.0.0.7"], spread: [] },
  ]);
  namespaces.cookie = 100n;
  assert.equal((await prepared(enrollments)).state, "prepared");
  assert.equal(rows.capturing.size, 0);
});

test("routes to the listener are made again every 40 sweeps, and the kernel hears of what changed", async () => {
  const { rows, namespaces, enrollments } = setUp();
  await prepared(enrollments);
  await enrollments.capture(ref(1), false);
  namespaces.routable.add(4);
  rows.log.length = 0;
  for (let sweep = 1; sweep < 40; sweep += 1) await enrollments.sweep();
  assert.deepEqual([enrollments.get(1)?.row.spread, rows.log], [[], []]);
  await enrollments.sweep();
  assert.deepEqual([enrollments.get(1)?.row.spread, rows.log], [[4], ["capture 1 false"]]);
  for (let sweep = 0; sweep < 40; sweep += 1) await enrollments.sweep();
  assert.equal(rows.log.length, 1, "nothing changed");
  namespaces.routable.delete(4);
  for (let sweep = 0; sweep < 40; sweep += 1) await enrollments.sweep();
  assert.deepEqual([enrollments.get(1)?.row.spread, rows.log.length], [[], 2]);
});

test("other addresses come in place: capture and listeners stay, and a wrong address changes nothing", async () => {
  const { node, rows, namespaces, enrollments } = setUp();
  await prepared(enrollments);
  await enrollments.capture(ref(1), false);
  rows.log.length = 0;
  const both = ["10.0.0.7", "10.0.1.7", "fd00::7"];
  namespaces.routable.add(6);
  assert.partialDeepStrictEqual(await enrollments.setAddresses(ref(1), both), {
    state: "captured",
    row: { addresses: both, spread: [6] },
  });
  assert.partialDeepStrictEqual(await prepared(enrollments, "p7", ["10.0.1.7"]), { row: { addresses: ["10.0.1.7"] } });
  assert.deepEqual(rows.log, [`readdress 1 10.0.0.7 to ${both}`, `readdress 1 ${both} to 10.0.1.7`]);
  namespaces.absent.add("10.0.0.9");
  assert.partialDeepStrictEqual(await enrollments.setAddresses(ref(1), ["10.0.0.9"]), { refused: "address-mismatch" });
  node.pod(8);
  namespaces.cookie = 101n;
  await prepared(enrollments, "p8", ["10.0.0.8"]);
  assert.partialDeepStrictEqual(await enrollments.setAddresses(ref(1), ["10.0.0.8"]), { refused: "address-taken" });
  assert.deepEqual([rows.addresses.get(1), rows.capturing.has(1)], [["10.0.1.7"], true]);
  assert.partialDeepStrictEqual(await enrollments.setAddresses(ref(99), ["10.0.0.8"]), { refused: "not-prepared" });
});

test("any order of requests leaves kernel, namespaces and table in step", async () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  // Process 1 is the node's own.
  const pod = fc.integer({ min: 2, max: 4 });
  const podIdx = fc.integer({ min: 1, max: 4 });
  const of = <Op extends string, Which>(op: Op, which: fc.Arbitrary<Which>, weight = 1) => ({
    weight,
    arbitrary: fc.record({ op: fc.constant(op), pod: which, fails: fc.nat(9).map((n) => n === 0) }),
  });
  const step = fc.oneof(
    of("prepare", pod, 4),
    of("capture", podIdx, 4),
    of("guard", pod),
    of("release", podIdx),
    of("release-to-guard", podIdx),
    of("sever", podIdx, 3),
    of("end", pod),
    of("start", pod, 3),
    of("sweep", pod),
  );
  let ticks = 10;
  let [swept, kept] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
      const { node, rows, namespaces, enrollments } = setUp();
      const alive = new Set<number>();
      const waiting: Promise<unknown>[] = [];
      const under = (podIdx: number) => ref(podIdx, enrollments.get(podIdx)?.row.uid);
      for (const { op, pod: which, fails } of steps) {
        if (op === "prepare") {
          namespaces.cookie = BigInt(which);
          waiting.push(enrollments.prepare(`p${which}`, [`10.0.0.${which}`]));
          // Several at once have the same namespace: all but the first are refused.
          if (!fails) await Promise.all(waiting.splice(0));
        } else if (op === "guard") {
          namespaces.cookie = BigInt(which);
          waiting.push(enrollments.guard(`p${which}`, "w"));
          await Promise.all(waiting.splice(0));
        } else if (op === "capture") {
          rows.failAt = fails ? "capture" : undefined;
          waiting.push(enrollments.capture(under(which), false).catch(() => "failed"));
          await Promise.all(waiting.splice(0));
        } else if (op === "release") waiting.push(enrollments.release(under(which)));
        else if (op === "release-to-guard") {
          const uid = enrollments.get(which)?.row.uid;
          namespaces.cookie = BigInt(uid?.slice(1) ?? 0);
          waiting.push(enrollments.releaseToGuard(under(which), "w"));
          await Promise.all(waiting.splice(0));
        } else if (op === "sever") waiting.push(enrollments.sever(under(which)));
        else if (op === "sweep") waiting.push(enrollments.sweep());
        else if (op === "end" && alive.delete(which)) node.end(which);
        else if (op === "start") {
          alive.add(which);
          node.cgroup(`podp${which}`, [which]);
          node.process(which, { ticks: ticks++, netns: `p${which}` });
        }
      }
      await Promise.all(waiting);
      const all = enrollments.all();
      const open = all.filter(({ state }) => state === "prepared" || state === "captured");
      const captured = all.filter(({ state }) => state === "captured").map(({ row }) => row.podIdx);
      assert.deepEqual([...rows.capturing.keys()].sort(), captured.sort());
      assert.deepEqual([...rows.admitted.keys()].sort(), captured.sort());
      assert.equal(namespaces.open.size, open.length);
      for (const { state, row } of all)
        if (state === "guarded") assert.equal(rows.guarding.get(row.podIdx), row.netnsCookie);
      for (const podIdx of rows.guarding.keys())
        assert.ok(["guarded", "prepared"].includes(enrollments.get(podIdx)?.state ?? ""));
      assert.equal(new Set(all.map(({ row }) => row.uid)).size, all.length);
      swept += namespaces.swept;
      kept += captured.length;
      await enrollments.releaseAll();
      assert.equal(rows.capturing.size + rows.admitted.size + rows.guarding.size + namespaces.open.size, 0);
    }),
    { seed, numRuns: 150 },
  );
  assert.ok(swept > 5 && kept > 20, `seed ${seed}: ${swept} sweeps, ${kept} pods captured at the end: too tame`);
});

test("indices are bounded and rest before they are used again", async () => {
  const { namespaces, enrollments } = setUp();
  const seen: number[] = [];
  for (let turn = 0; turn < 3; turn++) {
    const { row } = await prepared(enrollments);
    seen.push(row.podIdx);
    await enrollments.release(row);
  }
  assert.deepEqual(seen, [1, 2, 3]);
  const left = Array.from({ length: MAX_PODS }, (_, index) => ({
    podIdx: index + 1,
    uid: `old${index}`,
    netnsCookie: BigInt(10_000 + index),
    addresses: [],
    spread: [],
  }));
  const { enrollments: full, protectedPods } = setUp(left);
  assert.partialDeepStrictEqual(await full.prepare("p7", ["10.0.0.7"]), { refused: "limit" });
  assert.partialDeepStrictEqual(await full.guard("p7", "web"), { refused: "limit" });
  assert.equal(protectedPods.has("p7"), false, "what cannot be guarded takes no place of others on disk");
  assert.equal(namespaces.open.size, 0);
});

test("a capture is in force before it is on the disk, and the plug-in hears so", async () => {
  const file = fakeFile();
  const written = Promise.withResolvers<void>();
  const { enrollments, rows } = setUp([], { ...file, write: () => written.promise });
  const { row } = await prepared(enrollments);
  const heard = Promise.withResolvers<boolean | undefined>();
  let isAnswered = false;
  const captured = enrollments.capture(row, false, () => heard.resolve(rows.capturing.get(row.podIdx)));
  void captured.then(() => {
    isAnswered = true;
  });
  assert.deepEqual([await heard.promise, isAnswered], [false, false]);
  written.resolve();
  assert.ok(!("refused" in (await captured)));
});
