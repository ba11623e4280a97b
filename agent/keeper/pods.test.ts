// pods.ts against a laid-out cgroup tree and /proc, and once against a real namespace (root).
import assert from "node:assert/strict";
import { closeSync, openSync, rmSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { FakeNode } from "./pods.fake.ts";
import {
  findPod,
  isPodDirectory,
  nowOf,
  type PodTree,
  podDirectories,
  podUidOf,
  startTicksOf,
  walkedOnce,
} from "./pods.ts";

const nodes: FakeNode[] = [];
after(() => {
  for (const node of nodes) node.remove();
});
function fakeNode(): FakeNode {
  const node = new FakeNode();
  nodes.push(node);
  return node;
}
const uid = "0a1b2c3d-1111-2222-3333-444455556666";

function found(tree: PodTree, which = uid) {
  const pod = findPod(tree, which);
  assert.ok(!("refused" in pod), "refused" in pod ? pod.message : "");
  closeSync(pod.netnsFd);
  return pod;
}

test("both spellings of Kubernetes are found, and the oldest process speaks for the pod", () => {
  for (const path of [
    `burstable/pod${uid}`,
    `kubepods-burstable.slice/kubepods-burstable-pod${uid.replaceAll("-", "_")}.slice`,
  ]) {
    const node = fakeNode();
    node.cgroup(path);
    node.cgroup(`${path}/app`, [0, 30, 20]);
    node.cgroup(`${path}/pause`, [40]);
    node.process(20, { ticks: 500, netns: "pod" });
    node.process(30, { ticks: 400, netns: "elsewhere" });
    node.process(40, { ticks: 300, netns: "pod" });
    assert.deepEqual(found(node).process, { pid: 40, startTicks: 300n });
  }
});

test("a directory's name says the pod's UID in either spelling, below any cgroup root, also of a static pod", () => {
  const hash = "5fb2a1a4e9b8a7a0b5c6d7e8f9a0b1c2";
  for (const [name, expected] of [
    [`pod${uid}`, uid],
    [`kubepods-pod${uid.replaceAll("-", "_")}.slice`, uid],
    [`kubepods-besteffort-pod${uid.replaceAll("-", "_")}.slice`, uid],
    [`kubelet-kubepods-burstable-pod${uid.replaceAll("-", "_")}.slice`, uid],
    [`pod${hash}`, hash],
    [`kubepods-burstable-pod${hash}.slice`, hash],
    ["kubepods", undefined],
    ["kubepods-burstable.slice", undefined],
    ["burstable", undefined],
    ["cri-containerd-4fd1.scope", undefined],
    ["pod", undefined],
  ] as const) {
    assert.equal(podUidOf(name), expected, name);
    if (expected !== undefined) assert.ok(isPodDirectory(name, expected), name);
  }
});

test("what is no pod, no process or no namespace of its own is refused", () => {
  const node = fakeNode();
  assert.partialDeepStrictEqual(findPod(node, uid), { refused: "pod-not-found" });
  node.cgroup(`pod${uid}`);
  assert.partialDeepStrictEqual(findPod(node, uid), { refused: "pod-not-found" });
  node.cgroup(`pod${uid}`, [5]);
  node.process(5, { ticks: 1, netns: "pod", state: "Z" });
  assert.partialDeepStrictEqual(findPod(node, uid), { refused: "pod-not-found" });
  node.process(5, { ticks: 1, netns: "host" });
  assert.partialDeepStrictEqual(findPod(node, uid), { refused: "host-network" });
  node.process(1, { ticks: 0, netns: "node" });
  node.process(5, { ticks: 1, netns: "node" });
  assert.partialDeepStrictEqual(findPod(node, uid), { refused: "host-network" });
  node.process(5, { ticks: 1, netns: "pod" });
  found(node);
  node.cgroup(`besteffort/pod${uid}`, [5]);
  assert.partialDeepStrictEqual(findPod(node, uid), { refused: "pod-not-found" });
  assert.partialDeepStrictEqual(findPod({ ...node, podsCgroup: join(node.root, "nothing"), proc: node.proc }, uid), {
    refused: "pod-not-found",
  });
});

test("a directory made inside a pod is not another pod", () => {
  const node = fakeNode();
  node.cgroup("podattacker", [7]);
  node.cgroup(`podattacker/pod${uid}`, [7]);
  node.cgroup(`besteffort.slice/besteffort-podattacker.slice/besteffort-pod${uid.replaceAll("-", "_")}.slice`, [7]);
  node.process(7, { ticks: 9, netns: "attacker" });
  assert.deepEqual(podDirectories(node, uid), []);
});

test("a pod lives as long as a process in its namespace, and not a tick longer", () => {
  const node = fakeNode();
  node.cgroup(`pod${uid}`, [5, 6]);
  node.process(5, { ticks: 100, netns: "pod" });
  node.process(6, { ticks: 200, netns: "pod" });
  const pod = found(node);
  assert.deepEqual(nowOf(node, pod)?.process, { pid: 5, startTicks: 100n });
  node.end(5);
  assert.deepEqual(nowOf(node, pod)?.process, { pid: 6, startTicks: 200n });
  node.end(6);
  assert.equal(nowOf(node, pod), undefined);
  // The same pid again, in the same cgroup, with another start: a new sandbox in another namespace.
  node.process(5, { ticks: 300, netns: "second-sandbox" });
  assert.equal(nowOf(node, pod), undefined);
  rmSync(pod.cgroup ?? assert.fail(), { recursive: true });
  assert.equal(nowOf(node, pod), undefined);
});

test("a pod without a process is found by the namespace that was named for it, until its first process runs in it", () => {
  const node = fakeNode();
  node.process(9, { ticks: 1, netns: "pod" });
  const begun = (): number => openSync(join(node.proc, "9", "ns", "net"), "r");
  const netns = node.unborn.set(uid, "c1", begun());
  const pod = found(node);
  assert.deepEqual([pod.cgroup, pod.process, pod.netns], [undefined, undefined, netns]);
  assert.deepEqual(nowOf(node, pod), { cgroup: undefined, process: undefined });
  const cgroup = node.cgroup(`pod${uid}`, [5]);
  // It is in the node's namespace for a moment.
  node.process(5, { ticks: 2, netns: "host" });
  assert.deepEqual(nowOf(node, pod), { cgroup: undefined, process: undefined });
  node.process(5, { ticks: 2, netns: "pod" });
  assert.deepEqual(nowOf(node, pod), { cgroup, process: { pid: 5, startTicks: 2n } });
  // What runs counts, before what was said.
  node.process(5, { ticks: 2, netns: "elsewhere" });
  assert.equal(nowOf(node, pod), undefined);
  node.end(5);
  node.unborn.delete(uid);
  assert.equal(nowOf(node, pod), undefined);
});

test("the node's own namespace is nobody's beginning", () => {
  const node = fakeNode();
  node.unborn.set(uid, "c1", openSync(join(node.proc, "self", "ns", "net"), "r"));
  assert.partialDeepStrictEqual(findPod(node, uid), { refused: "host-network" });
});

test("a UID never matches the directory of another", () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  const uids = fc.stringMatching(/^[a-f0-9][a-f0-9-]{0,40}$/);
  fc.assert(
    fc.property(uids, uids, (a, b) => {
      assert.equal(isPodDirectory(`pod${a}`, b), a === b);
      assert.ok(isPodDirectory(`kubepods-pod${a.replaceAll("-", "_")}.slice`, a));
    }),
    { seed },
  );
});

test("start times survive any process name", () => {
  const node = fakeNode();
  node.process(9, { ticks: 123456789012, netns: "x" });
  assert.equal(startTicksOf(node.proc, 9), 123456789012n);
  unlinkSync(join(node.proc, "9", "stat"));
  assert.equal(startTicksOf(node.proc, 9), undefined);
  assert.ok((startTicksOf("/proc", process.pid) ?? 0n) > 0n);
});

test("a tree that is walked once finds what each search by itself finds, in either spelling", () => {
  const node = fakeNode();
  const uids = ["a-1", "b_2", "c", "none"];
  node.cgroup("poda-1");
  node.cgroup("kubepods-besteffort.slice/kubepods-besteffort-poda_1.slice");
  node.cgroup("kubepods.slice/kubepods-podb_2.slice/podc");
  node.cgroup("burstable/podc/podb_2");
  const tree: PodTree = node;
  const walked = walkedOnce(tree);
  for (const uid of uids) {
    const here = walked.directoriesOf?.(uid).toSorted();
    assert.deepEqual(here, podDirectories(node, uid).toSorted(), uid);
  }
});
