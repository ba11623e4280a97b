// pending.ts, guards.ts, sweep.ts with a fake kernel: what is expected is refused by its cgroup until something else refuses it, and nothing stays.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FakePendingLinks, fakeFile, prepared, ref, setUp } from "./enrollment.fake.ts";
import type { FakeNode } from "./pods.fake.ts";

/** The node of the fake has a pod, p7; here it has none yet. */
function beforePods(links = new FakePendingLinks(), file = fakeFile()) {
  const parts = setUp([], file, undefined, links);
  parts.node.end(7);
  removed(parts.node, 7);
  return parts;
}
const removed = (node: FakeNode, pid: number): void =>
  rmSync(join(node.podsCgroup, `podp${pid}`), { recursive: true, force: true });

describe("an expected pod", () => {
  test("is refused by its cgroup as soon as that is there, and until its namespace has a guard", async () => {
    const { node, rows, enrollments, pendingLinks } = beforePods();
    await enrollments.guard("p7", "web");
    assert.deepEqual(pendingLinks.uids, []);
    node.cgroup("podp7");
    enrollments.expect();
    assert.deepEqual([pendingLinks.uids, [...pendingLinks.on.values()]], [["p7"], [join(node.podsCgroup, "podp7")]]);
    assert.deepEqual(await enrollments.sweep(), {
      gone: [],
      guarded: [],
      failed: [],
    });
    assert.deepEqual(pendingLinks.uids, ["p7"]);
    node.pod(7);
    assert.partialDeepStrictEqual(await enrollments.sweep(), {
      guarded: [{ podIdx: 1, found: "expected" }],
    });
    assert.deepEqual([pendingLinks.uids, [...rows.guarding.keys()]], [[], [1]], "the guard is there before they go");
  });

  test("whose cgroup is older than the word of it is refused with that word, and what it had by then is counted", async () => {
    const { node, namespaces, enrollments, pendingLinks } = beforePods();
    // In no network namespace that could be guarded: it has ended, or is about to enter its own.
    node.cgroup("podp7", [7]);
    await enrollments.guard("p7", "web");
    assert.deepEqual(pendingLinks.uids, ["p7"]);
    node.process(7, { ticks: 5, netns: "own" });
    assert.partialDeepStrictEqual(await enrollments.sweep(), {
      guarded: [{ found: "first-process" }],
    });
    await enrollments.guard("p8", "api");
    node.cgroup("podp8", [8, 80]);
    enrollments.expect();
    for (const pid of [8, 80]) node.process(pid, { ticks: pid, netns: "other" });
    namespaces.cookie = 200n;
    assert.partialDeepStrictEqual(await enrollments.sweep(), {
      guarded: [{ found: "late" }],
    });
  });

  test("that shares the node's network is refused until an agent says that it is none of ours", async () => {
    const { node, enrollments, pendingLinks } = beforePods();
    node.pod(7, "host");
    const guarded = await enrollments.guard("p7", "web");
    await enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, ["p7"], "a runtime's process is in the node's namespace for a moment");
    assert.ok("podIdx" in guarded);
    await enrollments.release(ref(guarded.podIdx));
    assert.deepEqual(pendingLinks.uids, []);
  });

  test("that has lived on the node's network for ten seconds is let go, so that nobody cuts the node's own programs off", async () => {
    const { node, enrollments, pendingLinks } = beforePods();
    node.pod(7, "host");
    node.uptime(15);
    await enrollments.guard("p7", "web");
    assert.deepEqual(pendingLinks.uids, ["p7"], "it may be a runtime's process, of a pod that just begins");
    node.uptime(30);
    await enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, []);
    enrollments.expect();
    await enrollments.sweep();
    assert.deepEqual([pendingLinks.uids, pendingLinks.off.length], [[], 1], "and stays so");
    // Its sandbox is made anew: who it is has to be seen again.
    node.end(7);
    node.cgroup("podp7", [70]);
    node.process(70, { ticks: 2_900, netns: "host" });
    enrollments.expect();
    assert.deepEqual(pendingLinks.uids, ["p7"]);
    node.process(70, { ticks: 2_900, netns: "own" });
    node.uptime(60);
    assert.partialDeepStrictEqual(await enrollments.sweep(), { guarded: [{ podIdx: 1 }] });
  });

  test("that has run on the node's network for long is never refused", async () => {
    const { node, enrollments, pendingLinks } = beforePods();
    node.uptime(86_400);
    node.pod(7, "host");
    await enrollments.guard("p7", "web");
    enrollments.expect();
    await enrollments.sweep();
    assert.deepEqual([pendingLinks.uids, pendingLinks.off], [[], []]);
  });

  test("whose namespace comes between its guard and its prepare loses its hooks with the capture, and not before", async () => {
    const { node, rows, enrollments, pendingLinks } = beforePods();
    node.cgroup("podp7");
    await enrollments.guard("p7", "web");
    const { unborn } = node;
    const open = unborn.open.bind(unborn);
    // Asked last of all, when the guard's own search has found no process.
    unborn.open = (uid) => {
      node.pod(7);
      return open(uid);
    };
    await prepared(enrollments);
    await enrollments.sweep();
    assert.deepEqual([pendingLinks.uids, [...rows.guarding.keys()]], [["p7"], []], "nothing else refuses it");
    await enrollments.capture(ref(1), false);
    assert.deepEqual(pendingLinks.uids, []);
  });

  test("is refused again between two sandboxes, and has nothing on a cgroup that has gone", async () => {
    const { node, namespaces, enrollments, pendingLinks } = beforePods();
    node.pod(7);
    await enrollments.guard("p7", "web");
    await prepared(enrollments);
    await enrollments.capture(ref(1), false);
    assert.deepEqual(pendingLinks.uids, []);
    node.end(7);
    node.cgroup("podp7");
    await enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, ["p7"]);
    removed(node, 7);
    await enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, []);
    node.pod(7, "next");
    namespaces.cookie = 200n;
    await enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, []);
  });

  test("stays refused while no keeper runs, and the next keeper lifts whom nobody expects", async () => {
    const { node, file, enrollments, pendingLinks } = beforePods();
    for (const uid of ["p1", "p2"]) {
      await enrollments.guard(uid, uid);
      node.cgroup(`pod${uid}`);
    }
    enrollments.expect();
    await enrollments.close();
    assert.deepEqual(pendingLinks.uids, ["p1", "p2"]);
    const kept = fakeFile(file.text?.replaceAll("p2", "p3"));
    const next = beforePods(pendingLinks, kept);
    next.node.cgroup("podp1");
    next.node.cgroup("podp3");
    await next.enrollments.sweep();
    assert.deepEqual(pendingLinks.uids.toSorted(), ["p1", "p3"]);
    await next.enrollments.releaseAll();
    assert.deepEqual(pendingLinks.uids, []);
  });

  test("whose cgroup is made while a sweep is under way is refused on, though that sweep has walked the tree before", async () => {
    const { node, namespaces, enrollments, pendingLinks } = beforePods();
    await enrollments.guard("p7", "web");
    await enrollments.guard("p8", "api");
    const cookieOf = namespaces.cookie;
    Object.defineProperty(namespaces, "cookie", {
      get: () => {
        node.cgroup("podp8");
        enrollments.expect();
        return cookieOf;
      },
    });
    node.pod(7);
    await enrollments.sweep();
    assert.deepEqual([pendingLinks.uids, pendingLinks.off.filter((name) => name.endsWith("p8"))], [["p8"], []]);
  });

  test("that the next keeper cannot look at is refused on by what the keeper before has attached", async () => {
    const { file, node, enrollments, pendingLinks } = beforePods();
    await enrollments.guard("p7", "web");
    node.cgroup("podp7");
    enrollments.expect();
    await enrollments.close();
    const next = setUp([], fakeFile(file.text), undefined, pendingLinks);
    next.namespaces.cookieFails = 1;
    assert.partialDeepStrictEqual(await next.enrollments.sweep(), { failed: [{ uid: "p7" }] });
    assert.deepEqual(pendingLinks.uids, ["p7"]);
    await next.enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, [], "its guard is there");
  });

  test("has nothing on a cgroup that has gone while no keeper ran", async () => {
    const { file, node, enrollments, pendingLinks } = beforePods();
    await enrollments.guard("p7", "web");
    node.cgroup("podp7");
    enrollments.expect();
    await enrollments.close();
    assert.deepEqual(pendingLinks.uids, ["p7"]);
    const next = beforePods(pendingLinks, fakeFile(file.text));
    await next.enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, []);
  });

  test("on whose cgroup the kernel refuses what the next keeper puts is refused on by what the keeper before has attached", async () => {
    const { file, node, enrollments, pendingLinks } = beforePods();
    await enrollments.guard("p7", "web");
    node.cgroup("podp7");
    enrollments.expect();
    await enrollments.close();
    const next = beforePods(pendingLinks, fakeFile(file.text));
    // Another cgroup than the fake's of before: what is on that is the earlier keeper's.
    const [earlier = ""] = pendingLinks.on.keys();
    next.node.cgroup("podp7");
    pendingLinks.fails = true;
    await next.enrollments.sweep();
    assert.deepEqual([...pendingLinks.on.keys()], [earlier]);
    pendingLinks.fails = false;
    await next.enrollments.sweep();
    assert.deepEqual(pendingLinks.uids, ["p7"]);
  });

  test("on whose cgroup the kernel puts nothing is said once, and guarded as a pod was before", async () => {
    const { node, rows, enrollments, pendingLinks } = beforePods();
    pendingLinks.fails = true;
    node.cgroup("podp7");
    assert.ok("podIdx" in (await enrollments.guard("p7", "web")));
    enrollments.expect();
    await enrollments.sweep();
    assert.deepEqual(pendingLinks.refused, ["p7 Error: the kernel refuses"]);
    node.pod(7);
    assert.partialDeepStrictEqual(await enrollments.sweep(), {
      guarded: [{ found: "first-process" }],
    });
    assert.deepEqual([...rows.guarding.keys()], [1]);
  });
});

/** Pods of the property. */
const PIDS = [1, 2, 3] as const;
const steps = [
  "cgroup",
  "process",
  "end",
  "remove",
  "guard",
  "capture",
  "open",
  "release",
  "expect",
  "sweep",
  "restart",
  "lose",
] as const;

test("whatever comes in whatever order: a protected pod is refused by its cgroup, its guard or its capture; a released pod by none", async () => {
  const seed = randomInt(2 ** 31);
  console.log(`seed ${seed}`);
  const step = fc.tuple(fc.constantFrom(...steps), fc.constantFrom(...PIDS));
  const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (chosen) => {
    let parts = beforePods();
    const wanted = new Set<string>();
    /** Captured as pods that may go direct without an agent. They are, until they are captured otherwise, also when an agent wants a guard. */
    const direct = new Set<string>();
    const all = async (): Promise<void> => {
      const { node, rows, enrollments, pendingLinks, namespaces } = parts;
      parts.enrollments.expect();
      for (const pid of PIDS) {
        const uid = `p${pid}`;
        const found = enrollments.all().find(({ row }) => row.uid === uid);
        const podIdx = found?.row.podIdx ?? 0;
        const isPending = pendingLinks.uids.includes(uid);
        const capture = rows.capturing.get(podIdx);
        const isElse = rows.guarding.has(podIdx) || capture === false || (capture === true && direct.has(uid));
        const hasCgroup = node.hasCgroup(`podp${pid}`);
        assert.ok(hasCgroup || !isPending, `${uid} has gone, and its hooks have not`);
        if (wanted.has(uid) && hasCgroup) assert.ok(isPending || isElse, `${uid} may speak`);
        if (rows.capturing.has(podIdx) || !wanted.has(uid))
          assert.ok(!isPending, `${uid} is captured or free, and mute`);
      }
      assert.ok(pendingLinks.on.size <= PIDS.length && namespaces.cookie > 0n);
    };
    for (const [what, pid] of chosen) {
      const { node, namespaces, enrollments, pendingLinks, file } = parts;
      const uid = `p${pid}`;
      const podIdx = enrollments.all().find(({ row }) => row.uid === uid)?.row.podIdx ?? 0;
      namespaces.cookie = BigInt(100 * pid);
      if (what === "cgroup") node.cgroup(`podp${pid}`);
      if (what === "process") node.pod(pid);
      if (what === "end" || what === "remove") {
        node.end(pid);
        if (what === "remove") removed(node, pid);
        else node.cgroup(`podp${pid}`);
        // What has gone is seen by a sweep: until then the pod counts as what it was.
        await enrollments.sweep();
      }
      if (what === "guard") {
        await enrollments.guard(uid, uid);
        wanted.add(uid);
      }
      if (what === "capture" || what === "open") {
        const address = [`10.0.0.${pid}`];
        const made = await enrollments.prepare(uid, address);
        if (!("refused" in made)) {
          await enrollments.capture(ref(made.row.podIdx, uid), what === "open");
          if (what === "capture") wanted.add(uid);
          else wanted.delete(uid);
          if (what === "capture") direct.delete(uid);
          else direct.add(uid);
        }
      }
      if (what === "release") {
        await enrollments.release(ref(podIdx, uid));
        wanted.delete(uid);
        direct.delete(uid);
      }
      if (what === "sweep") await enrollments.sweep();
      if (what === "restart" || what === "lose") {
        await enrollments.close();
        const before = node;
        parts = setUp([], fakeFile(file.text), undefined, pendingLinks);
        parts.node.end(7);
        removed(parts.node, 7);
        // The pod goes while no keeper runs.
        const stays = (each: number): boolean => what === "restart" || each !== pid;
        for (const each of PIDS) if (stays(each) && before.hasCgroup(`podp${each}`)) parts.node.cgroup(`podp${each}`);
        // Nothing is adopted in this fake: each pod is as after a reboot.
        await parts.enrollments.sweep();
      }
      await all();
    }
  });
  await fc.assert(property, { seed, numRuns: 1_000 });
});
