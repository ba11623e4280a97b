// enrollment.ts against a node of plain state: static pods, whose UIDs every user who may create pods can claim by a made-up mirror. A claim alone
// is no proof: a static pod is its claimant's whom the container runtime has named, or whose address the kubelet has written.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { StartAnswer } from "../keeper/cni-protocol.ts";
import { emptyRow } from "../keeper/enrollment-states.ts";
import { PodStarts } from "../keeper/pod-starts.ts";
import { workload } from "../mesh/mesh.fake.ts";
import type { Workload } from "../mesh/workload.ts";
import { setUp, until } from "./enrolled-node.fake.ts";

const hash = "5fb2a1a4e9b8a7a0b5c6d7e8f9a0b1c2";
const own = workload("web-n1", { podUid: hash, addresses: ["10.0.0.1"] });
const early: Workload = { ...own, addresses: [] };
const madeUp = workload("aaa", { podUid: hash, addresses: [] });
const called = { namespace: own.namespace, name: own.name };

test("a made-up mirror alone takes no static pod: it is guarded, and captured as its own once the kubelet has written its address", async (t) => {
  const { node, enrollment, change, start } = setUp(t, [madeUp]);
  node.namespaceAddresses.set(hash, own.addresses);
  await start();
  assert.deepEqual([node.captured(), node.held.size, enrollment.localPods()], [[], 0, []]);
  assert.deepEqual([...node.protectedPods], [[hash, madeUp.uid]]);
  const why = "claims this static pod, of which the kubelet has said no address yet: it is enrolled as nobody's";
  assert.deepEqual(
    enrollment.states().map(({ workloadUid, state, note }) => [workloadUid, state, note]),
    [[madeUp.uid, "failed", `shop/aaa ${why}`]],
  );
  await change(early);
  assert.deepEqual(node.captured(), []);
  await change(own);
  await until(() => node.captured().length === 1);
  assert.deepEqual([...node.held.keys()], [own.identity.text]);
});

test("a made-up mirror that passes plaintext takes none either, and what an earlier agent captured as its own goes", async (t) => {
  const { node, start } = setUp(t, [madeUp]);
  node.open.add(madeUp.name);
  node.capturedBefore(hash);
  await start();
  assert.deepEqual([node.captured(), [...node.protectedPods]], [[], []]);
});

test("once the container runtime has named a static pod it is that claimant's, before the kubelet has written any address", async (t) => {
  for (const protocol of ["hbone", "none"] as const) {
    const { node, enrollment, change, start } = setUp(t, [{ ...madeUp, protocol }]);
    node.namespaceAddresses.set(hash, own.addresses);
    await start();
    const podIdx = [...node.kernel.keys()][0] ?? node.begins(hash);
    enrollment.podStarting(podIdx, hash, called);
    await enrollment.reconcile();
    await turn();
    assert.deepEqual(node.captured(), [], protocol);
    assert.deepEqual([...node.kernel.keys()], [podIdx], "a claim outside the mesh does not let it begin unguarded");
    await change(early);
    await until(() => node.captured().length === 1);
    assert.deepEqual([...node.held.keys()], [own.identity.text]);
    // Nor does an address help the made-up mirror.
    await change({ ...madeUp, protocol, addresses: ["10.0.0.9"] });
    assert.deepEqual([...node.held.keys()], [own.identity.text]);
  }
});

test("an agent that takes the node hears the names of the pods that begin", async (t) => {
  const { node, enrollment, change } = setUp(t, [madeUp, early]);
  node.keeperComes();
  node.namespaceAddresses.set(hash, own.addresses);
  const podIdx = node.begins(hash);
  await enrollment.meshChanged();
  await enrollment.keeperCame([{ podIdx, uid: hash, starting: true, called }]);
  await until(() => node.captured().length === 1);
  assert.deepEqual([...node.held.keys()], [own.identity.text]);
  await change({ ...own, protocol: "none" });
  await until(() => node.captured().length === 0);
});

test("a pod that the API server has named itself needs no address and no name", async (t) => {
  const { node, start } = setUp(t, [{ ...early, podUid: "uid-web" }]);
  node.namespaceAddresses.set("uid-web", own.addresses);
  await start();
  assert.equal(node.captured().length, 1);
});

/** The keeper's answers to the CNI plug-in, on a clock that the test moves. */
function plugin(t: TestContext, claimants: readonly Workload[]) {
  const set = setUp(t, claimants);
  const { node, enrollment } = set;
  const answers: StartAnswer[] = [];
  const waits: { readonly ms: number; readonly call: () => void }[] = [];
  const starts = new PodStarts({
    opened: () => ({
      begin: async (uid) => ({
        begun: emptyRow(node.begins(uid), uid),
        gone: undefined,
      }),
      end: async () => undefined,
      all: () => [],
      isAskedFor: (uid) => node.protectedPods.has(uid),
    }),
    isHeld: () => true,
    notify: ({ podIdx, uid, called }) => enrollment.podStarting(podIdx, uid, called),
    after: (ms, call) => {
      const wait = { ms, call };
      waits.push(wait);
      return () => void waits.splice(waits.indexOf(wait), 1);
    },
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
  });
  const begin = async (): Promise<void> => {
    const channel = {
      peer: { pid: 1, uid: 0 },
      send: (answer: StartAnswer) => void answers.push(answer),
      close: () => {},
    };
    const request = { op: "add", uid: hash, container: "c1", ...called };
    const { openSync } = await import("node:fs");
    await starts.packet(channel, JSON.stringify(request), [openSync("/proc/self/ns/net", "r")]);
  };
  /** Milliseconds that have passed until the answer, during which the agent works. */
  const last = async (): Promise<number> => {
    let passed = 0;
    for (let next = waits.shift(); next !== undefined; next = waits.shift()) {
      passed += next.ms;
      await enrollment.reconcile();
      const [captured] = node.captured();
      if (captured !== undefined) starts.captured(captured.podIdx);
      else next.call();
    }
    return passed;
  };
  return { ...set, answers, begin, last };
}

test("the plug-in of a static pod that only a made-up mirror claims waits 35 s, and then it begins guarded where policy says anything", async (t) => {
  for (const guarded of [true, false]) {
    const { node, answers, start, begin, last } = plugin(t, [madeUp]);
    if (!guarded) node.open.add(madeUp.name);
    await start();
    await begin();
    assert.equal(await last(), 35_000);
    assert.deepEqual(
      answers.map(({ op }) => op),
      ["wait", "wait", "wait", "wait", guarded ? "in-force" : "refused"],
    );
    assert.deepEqual([node.captured(), node.kernel.size, node.held.size], [[], 1, 0], "it stays guarded");
  }
});

test("the plug-in of a static pod that two claim waits no longer than for any pod: the runtime's name says whose it is", async (t) => {
  const { node, answers, start, begin, last } = plugin(t, [madeUp, early]);
  node.namespaceAddresses.set(hash, own.addresses);
  await start();
  await begin();
  assert.equal(await last(), 7_000);
  assert.deepEqual(answers, [{ op: "in-force" }]);
  assert.deepEqual([...node.held.keys()], [own.identity.text]);
});
