// enrollment.ts against a node of plain state: each change of mesh and keeper, every failure, and random sequences of both.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { workload } from "../mesh/mesh.fake.ts";
import type { Workload } from "../mesh/workload.ts";
import { api, setUp, testTimes, until, web } from "./enrolled-node.fake.ts";
import { NodeEnrollment } from "./enrollment.ts";

describe("node enrollment", () => {
  test("a pod comes into service in its order, and the first turn is over then", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    await start();
    assert.deepEqual(node.calls, [
      ...["pods changed", "guard uid-web", "prepare uid-web", "serve 1", "capture 1", "sever 1"],
      ...["log pod captured shop/web", "pods changed"],
    ]);
    await enrollment.firstTurn;
    const state = { workloadUid: web.uid, podIdx: 1, state: "captured", note: "" };
    assert.deepEqual(enrollment.states(), [state]);
    assert.equal(enrollment.pods.workloadOf(1), web);
    assert.deepEqual(enrollment.pods.local(), [{ podIdx: 1, workload: web }]);
  });

  test("nothing happens before both mesh and keeper are there, in either order", async (t) => {
    const first = setUp(t, [web]);
    await first.enrollment.keeperCame(first.node.keeperComes());
    assert.deepEqual(first.node.calls, []);
    await first.enrollment.meshChanged();
    assert.equal(first.node.captured().length, 1);
    const second = setUp(t, [web]);
    await second.enrollment.meshChanged();
    assert.deepEqual(second.node.calls, []);
    assert.deepEqual(second.enrollment.localPods(), []);
    await second.enrollment.keeperCame(second.node.keeperComes());
    assert.equal(second.node.captured().length, 1);
  });

  test("a pod whose late listeners no thread could take is prepared again", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    node.withoutCertificate.add(web.identity.text);
    await start();
    node.unserved.add(1);
    node.certificatesCome();
    await until(() => node.calls.filter((call) => call === "prepare uid-web").length === 2);
    await enrollment.reconcile();
    assert.deepEqual([...(node.accepting.get(1) ?? [])], ["outbound", "hbone"]);
    assert.deepEqual([node.captured(), node.verdicts.size], [[{ podIdx: 1, uid: "uid-web" }], 1]);
    assert.deepEqual([node.lent.size, node.held.get(web.identity.text)], [0, 1]);
  });

  test("a pod is known by the addresses under which an earlier agent captured it, whatever the mesh names by now", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    await start();
    await enrollment.close();
    for (const kept of [node.served, node.accepting, node.held, node.lent]) kept.clear();
    // Its workload has an address that is wrong, and then the right address, another name and a wrong UID, in a single change.
    const next = new NodeEnrollment({ node: "n1", times: testTimes }, node.ports);
    t.after(() => next.close());
    node.absent.add("10.0.0.250");
    node.workloads.set(web.uid, { ...web, addresses: ["10.0.0.250"] });
    void next.meshChanged();
    void next.keeperCame(node.keeperComes());
    await until(() => node.calls.filter((call) => call === "prepare uid-web").length > 2);
    const renamed = { ...workload("renamed", { addresses: web.addresses }), podUid: "uid-wrong" };
    node.missing.add("uid-wrong");
    node.workloads.delete(web.uid);
    node.workloads.set(renamed.uid, renamed);
    void next.meshChanged();
    await until(() => node.calls.filter((call) => call === "prepare uid-wrong").length > 2);
    assert.deepEqual(node.captured(), [{ podIdx: 1, uid: "uid-web" }]);
  });

  test("of many pods that come together one hangs, in whatever step: all others are captured", async () => {
    const names = Array.from({ length: 40 }, (_, nth) => `pod-${nth}`);
    const pods = names.map((name, nth) => workload(name, { addresses: [`10.0.2.${nth}`] }));
    const [slow] = pods;
    assert.ok(slow);
    for (const call of ["guard uid-pod-0", "prepare uid-pod-0", "serve 1", "capture 1"]) {
      const { node, enrollment, change, start } = setUp(null, pods.slice(0, 16));
      node.hanging.add(call);
      void start();
      await until(() => node.captured().length === 15);
      void change(...pods);
      await until(() => node.captured().length === 39);
      assert.ok(!node.captured().some(({ uid }) => uid === slow.podUid), call);
      void enrollment.close();
    }
  });

  test("while a step hangs others hear of the pods that are captured meanwhile, and then no more", async () => {
    const tell = 20;
    const { node, enrollment, start } = setUp(null, [web, api], { tell });
    const told = (): number => node.calls.filter((call) => call === "pods changed").length;
    node.hanging.add("serve 1");
    const done = start();
    await until(() => node.captured().length === 1);
    const before = told();
    await until(() => told() >= before + 2);
    assert.equal(node.captured().length, 1);
    node.resume();
    await done;
    const last = told();
    // Some of its intervals, for what must not come.
    await sleep(5 * tell);
    assert.equal(told(), last);
    void enrollment.close();
  });

  test("a pod that failed is tried again while a step of another pod hangs", async () => {
    const { node, enrollment, start } = setUp(null, [web, api]);
    node.hanging.add("prepare uid-web");
    node.absent.add("10.0.0.2");
    void start();
    await until(() => enrollment.states().some(({ note }) => note === "10.0.0.2 is not there"));
    node.absent.clear();
    await until(() => node.captured().some(({ uid }) => uid === api.podUid));
    void enrollment.close();
  });

  test("a pod leaves: capture first, then the threads, then all that was held for it", async (t) => {
    const { node, remove, start } = setUp(t, [web]);
    await start();
    node.calls.length = 0;
    await remove(web);
    assert.deepEqual(node.calls, ["release 1", "leave 1", "unserve 1", "pods changed"]);
    assert.deepEqual([node.held.size, node.verdicts.size, node.served.size], [0, 0, 0]);
  });

  test("a pod that leaves is shown as leaving until it has left, and as pending if the mesh wants it again meanwhile", async (t) => {
    const { node, enrollment, change, remove, start } = setUp(t, [web]);
    await start();
    const states = (): readonly string[] => enrollment.states().map(({ state }) => state);
    node.hanging.add("release 1");
    const outside = { ...web, protocol: "none" } as const;
    void change(outside);
    await until(() => node.calls.includes("release 1"));
    assert.deepEqual(states(), ["leaving"]);
    void change(web);
    assert.deepEqual(states(), ["pending"]);
    void change(outside);
    assert.deepEqual(states(), ["leaving"]);
    node.resume();
    await until(() => states().length === 0);
    await remove(web);
    assert.equal(node.kernel.size, 0);
  });

  test("fail mode and identity change in place", async (t) => {
    const { node, change, start } = setUp(t, [web]);
    await start();
    node.calls.length = 0;
    node.open.add("web");
    await change({ ...web, identity: api.identity });
    assert.deepEqual(node.calls, ["capture 1 direct", "pods changed"]);
    assert.deepEqual([...node.held], [[api.identity.text, 1]]);
  });

  test("a restarted agent takes over what the mesh names and releases the rest", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    node.capturedBefore("uid-web");
    node.capturedBefore("uid-old");
    const started = start();
    assert.equal(node.calls[0], "pods changed");
    assert.deepEqual(enrollment.localPods(), [{ podIdx: 1, workload: web }], "before it is served");
    await started;
    assert.deepEqual(enrollment.localPods(), enrollment.pods.local());
    assert.deepEqual(node.captured(), [{ podIdx: 1, uid: "uid-web" }]);
    assert.deepEqual([...node.served], [1]);
  });

  test("another keeper: the listeners of the former are closed before it opens its own; no connection is cut", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    await start();
    node.keeperGoes();
    node.calls.length = 0;
    assert.equal(enrollment.states()[0]?.state, "captured");
    const again = enrollment.keeperCame(node.keeperComes());
    await until(() => node.calls.includes("prepare uid-web"));
    assert.ok(node.verdicts.has(1), "its verdicts stay");
    await again;
    assert.deepEqual(
      node.calls.filter((call) => !call.startsWith("log")),
      [
        "pods changed",
        "guard uid-web",
        "known of 1",
        "unserve 1",
        "prepare uid-web",
        "serve 1",
        "capture 1",
        "sever 1",
        "pods changed",
      ],
    );
    assert.deepEqual([...node.held], [[web.identity.text, 1]]);
  });

  test("a keeper that is lost in between is no failure of the pod; the difference is worked off afterwards", async (t) => {
    const { node, enrollment, remove, start } = setUp(t, [web]);
    await start();
    const removed = remove(web);
    node.keeperGoes();
    await removed;
    assert.deepEqual(node.warnings, ["enrollment interrupted"]);
    assert.equal(enrollment.states()[0]?.state, "captured", "its capture was not turned off");
    await enrollment.keeperCame(node.keeperComes());
    assert.deepEqual([node.captured(), node.served.size, node.held.size], [[], 0, 0]);
  });

  test("a pod whose namespace has gone: its connections end, and the agent asks for it until it is there again", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    await start();
    node.calls.length = 0;
    node.missing.add("uid-web");
    const { gone, guarded } = node.podGoes("uid-web");
    enrollment.podGone(gone ?? 0, "uid-web");
    enrollment.podGuarded(guarded ?? 0, "uid-web");
    enrollment.podGone(99, "uid-web");
    await until(() => enrollment.states()[0]?.state === "failed");
    assert.deepEqual([node.calls[0], node.held.size, node.served.size], ["cut 1", 0, 0]);
    node.missing.clear();
    await until(() => node.captured().length === 1);
    assert.deepEqual([node.captured(), [...node.served]], [[{ podIdx: 2, uid: "uid-web" }], [2]]);
  });

  test("a pod that is to refuse plaintext, and cannot be enrolled, is guarded until the mesh lets it go", async (t) => {
    const { node, remove, change, start } = setUp(t, [web]);
    node.absent.add("10.0.0.1");
    await start();
    assert.deepEqual([node.captured(), [...node.protectedPods]], [[], [["uid-web", web.uid]]]);
    node.open.add("web");
    await change();
    assert.deepEqual([node.kernel.size, node.protectedPods.size], [0, 0]);
    node.open.clear();
    await change();
    assert.equal(node.protectedPods.size, 1);
    await remove(web);
    assert.deepEqual([node.kernel.size, node.protectedPods.size], [0, 0]);
  });

  test("a pod under policy alone is protected from its capture on, and guarded in its next namespace", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    node.underPolicy.add("web");
    await start();
    const asked = node.calls.filter((call) => /^(guard|prepare|capture)/.test(call));
    assert.deepEqual(asked, ["prepare uid-web", "capture 1", "guard uid-web"]);
    assert.deepEqual([...node.protectedPods], [["uid-web", web.uid]]);
    const { gone, guarded } = node.podGoes("uid-web");
    enrollment.podGone(gone ?? 0, "uid-web");
    enrollment.podGuarded(guarded ?? 0, "uid-web");
    await until(() => node.captured().length === 1);
    assert.deepEqual(node.captured(), [{ podIdx: 2, uid: "uid-web" }]);
  });

  test("a closed enrollment ends its step and begins no other", async (t) => {
    const { node, enrollment, change, start } = setUp(t, [web]);
    await start();
    void change(api);
    await until(() => node.calls.includes("prepare uid-api"));
    await enrollment.close();
    const calls = node.calls.length;
    await change(workload("late", { addresses: ["10.0.0.3"] }));
    assert.equal(node.calls.length, calls);
    assert.equal(node.captured().length, 2);
  });
});

type Change =
  | { readonly op: "add" | "remove" | "rename" | "move" | "open" | "miss" | "slow"; readonly pod: number }
  | { readonly op: "keeper" | "gone" | "wait" | "certificates"; readonly pod: number };
const changes: fc.Arbitrary<Change> = fc.record({
  op: fc.constantFrom(
    "add",
    "remove",
    "rename",
    "move",
    "open",
    "miss",
    "slow",
    "keeper",
    "gone",
    "wait",
    "certificates",
  ),
  pod: fc.nat(3),
});

test("whatever happens in whatever order: in the end the kernel captures exactly the mesh's pods, and nothing is left over", async () => {
  const property = fc.asyncProperty(fc.array(changes, { maxLength: 25 }), async (sequence) => {
    const { node, enrollment, change, remove, start } = setUp(null);
    const names = ["a", "b", "c", "d"];
    const now = new Map<string, Workload>();
    void start();
    for (const { op, pod } of sequence) {
      const name = names[pod] ?? "";
      const present = now.get(name) ?? workload(name, { addresses: [`10.0.0.${pod}`] });
      if (op === "keeper") {
        node.keeperGoes();
        void enrollment.keeperCame(node.keeperComes());
      } else if (op === "gone") {
        const { gone, guarded } = node.podGoes(present.podUid);
        if (gone !== undefined) enrollment.podGone(gone, present.podUid);
        if (guarded !== undefined) enrollment.podGuarded(guarded, present.podUid);
      } else if (op === "wait") await turn();
      else if (op === "slow") node.withoutCertificate.add(present.identity.text);
      else if (op === "certificates") node.certificatesCome();
      else if (op === "miss") node.missing.add(present.podUid);
      else if (op === "open") {
        node.open.add(name);
        void change();
      } else if (op === "remove") {
        now.delete(name);
        void remove(present);
      } else {
        const renamed = op === "rename" ? { identity: workload(`${name}-2`).identity } : {};
        const moved = op === "move" ? { addresses: [`10.0.1.${pod}`] } : {};
        const next = { ...present, ...renamed, ...moved };
        now.set(name, next);
        void change(next);
      }
    }
    node.missing.clear();
    node.certificatesCome();
    const want = [...now.values()].map(({ podUid }) => podUid).toSorted();
    const have = (): string[] =>
      node
        .captured()
        .map(({ uid }) => uid)
        .toSorted();
    // An interrupted worker is idle until the next reason to look, and a pod that was not found rests until then.
    for (let look = 0; look < 5; look += 1) {
      await enrollment.reconcile();
      await turn();
    }
    // A guard that a keeper did not answer is asked for once more when it has rested, and goes then.
    const isSettled = (): boolean => node.kernel.size === want.length;
    const isDue = sequence.some(({ op }) => op === "keeper");
    for (let look = isDue ? 0 : 1; look < 50 && (look === 0 || !isSettled()); look += 1) {
      await sleep(2);
      await enrollment.reconcile();
    }
    assert.deepEqual(have(), want);
    assert.equal(node.kernel.size, want.length, "the keeper holds nothing for any other pod");
    const idx = node.captured().map(({ podIdx }) => podIdx);
    assert.deepEqual([[...node.served].toSorted(), [...node.verdicts].toSorted()], [idx.toSorted(), idx.toSorted()]);
    for (const podIdx of idx) assert.equal(node.accepting.get(podIdx)?.size, 2, "its :15008 too");
    assert.deepEqual([node.accepting.size, node.lent.size], [want.length, 0]);
    const identities = [...now.values()].map(({ identity }) => identity.text).toSorted();
    assert.deepEqual([...node.held].flatMap(([text, count]) => Array(count).fill(text)).toSorted(), identities);
    for (const { uid, failDirect } of node.kernel.values()) assert.equal(failDirect, node.open.has(uid.slice(4)), uid);
    await enrollment.close();
  });
  await fc.assert(property, { numRuns: 2_000 });
});
