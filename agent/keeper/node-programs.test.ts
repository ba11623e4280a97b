// The kubelet among the processes of a node.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isInPods, KUBELET_NAMES, kubeletAmong, type NodeProcess } from "./node-programs.ts";

const tree = { mount: "/cg", podsCgroup: "/cg/kubepods.slice" };
const node = { dev: 4n, ino: 100n };
const kubelet: NodeProcess = {
  process: { pid: 10, startTicks: 5n },
  name: "kubelet",
  uids: [0, 0],
  netns: node,
  cgroup: "/cg/system.slice/kubelet.service",
};

test("the process that is root's, of the node's namespace, outside the pods and called like a kubelet", () => {
  for (const name of KUBELET_NAMES) {
    const process = { ...kubelet, name };
    assert.deepEqual(kubeletAmong([process], node, tree), { state: "found", process });
  }
});

test("whatever lacks one of these is nobody", () => {
  const others: Partial<NodeProcess>[] = [
    { name: "kubectl" },
    { name: "Kubelet" },
    { name: "kubelet2" },
    { uids: [1000, 1000] },
    { uids: [1000, 0] },
    { uids: [0, 65534] },
    { netns: { dev: 4n, ino: 101n } },
    { netns: { dev: 5n, ino: 100n } },
    { cgroup: "/cg/kubepods.slice" },
    { cgroup: "/cg/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope" },
  ];
  for (const other of others) {
    assert.deepEqual(kubeletAmong([{ ...kubelet, ...other }], node, tree), { state: "absent" });
  }
  assert.deepEqual(kubeletAmong([], node, tree), { state: "absent" });
  assert.equal(kubeletAmong([{ ...kubelet, cgroup: "/cg/kubepods.slices" }], node, tree).state, "found");
});

test("two in two cgroups are nobody, two in a single cgroup are the older", () => {
  const other = { ...kubelet, process: { pid: 11, startTicks: 4n }, name: "k3s-server", cgroup: "/cg/k3s.service" };
  const several = kubeletAmong([kubelet, other], node, tree);
  assert.deepEqual(several, { state: "several", processes: [other, kubelet] });
  const child = { ...other, cgroup: kubelet.cgroup };
  assert.deepEqual(kubeletAmong([kubelet, child], node, tree), { state: "found", process: child });
});

test("with the root of the tree as the pods' cgroup a pod is known by its directory", () => {
  const plain = { mount: "/cg", podsCgroup: "/cg" };
  for (const directory of ["/cg/podweb", "/cg/mesh/podweb/child", "/cg/kubepods.slice/kubepods-podaa_bb.slice"]) {
    assert.ok(isInPods(directory, plain), directory);
  }
  for (const directory of ["/cg", "/cg/system.slice/kubelet.service", "/cg/pod"]) {
    assert.ok(!isInPods(directory, plain), directory);
  }
});

test("of any processes: found is able and alone in its cgroup's name, and more processes never add a kubelet's reach", () => {
  const process = fc.record({
    process: fc.record({ pid: fc.integer({ min: 1, max: 50 }), startTicks: fc.bigInt({ min: 1n, max: 9n }) }),
    name: fc.constantFrom("kubelet", "k3s", "bash"),
    uids: fc.constantFrom<readonly [number, number]>([0, 0], [0, 0], [7, 0]),
    netns: fc.constantFrom(node, node, { dev: 4n, ino: 7n }),
    cgroup: fc.constantFrom("/cg/a", "/cg/b", "/cg/kubepods.slice/podx"),
  });
  fc.assert(
    fc.property(fc.array(process, { maxLength: 6 }), process, (processes, more) => {
      const before = kubeletAmong(processes, node, tree);
      const after = kubeletAmong([...processes, more], node, tree);
      if (before.state === "several") assert.equal(after.state, "several");
      if (before.state === "found" && after.state === "found") {
        assert.equal(after.process.cgroup, before.process.cgroup);
      }
      if (after.state === "found") {
        assert.ok(["/cg/a", "/cg/b"].includes(after.process.cgroup));
        assert.deepEqual([after.process.uids, after.process.netns], [[0, 0], node]);
      }
    }),
  );
});
