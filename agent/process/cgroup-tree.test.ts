// cgroup-tree.ts on texts of /proc as nodes have them, and on trees that the test lays out in memory.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type CgroupReader,
  cgroup2Mounts,
  cgroup2Path,
  foundPodsCgroup,
  isKubepods,
  ownCgroup,
  placeBelow,
  podsCgroup,
} from "./cgroup-tree.ts";

const uid = "0f6f8a7c_1b2c_4d3e_9f00_112233445566";
const uidWithDashes = uid.replaceAll("_", "-");

/** A line of mountinfo, as systemd and containerd mount the tree. */
const v2 = (root: string, point = "/sys/fs/cgroup"): string =>
  `1021 1013 0:28 ${root} ${point} ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot`;
const hybrid = [
  "31 23 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,size=4096k,nr_inodes=1024,mode=755",
  "32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate",
  "33 31 0:30 / /sys/fs/cgroup/systemd rw,nosuid shared:10 - cgroup cgroup rw,xattr,name=systemd",
  "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:13 - cgroup cgroup rw,cpu,cpuacct",
].join("\n");
const hybridLine = (path: string): string => `12:cpu,cpuacct:${path}\n1:name=systemd:${path}\n0::${path}\n`;

/** A tree in memory: `holds` is the one directory that lists this process; every other directory of it is given in `others`. */
function treeOf(holds: string, others: readonly string[] = [], foreign: readonly string[] = []): CgroupReader {
  const all = new Set<string>();
  for (const path of [holds, ...others, ...foreign]) {
    const names = path.split("/");
    for (let at = 2; at <= names.length; at++) all.add(names.slice(0, at).join("/"));
  }
  return {
    holdsUs: (directory) => directory === holds,
    subdirectories: (directory) =>
      [...all]
        .filter((path) => path.startsWith(`${directory}/`) && !path.slice(directory.length + 1).includes("/"))
        .map((path) => path.slice(directory.length + 1)),
    ownerOf: (directory) => (!all.has(directory) ? undefined : foreign.includes(directory) ? 1000 : 0),
  };
}

type Sample = {
  readonly mountinfo: string;
  readonly procCgroup: string;
  /** The keeper's own directory. */
  readonly own: string;
  readonly pods: string;
  readonly others?: readonly string[];
};

const systemdPod = `kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${uid}.slice`;
const cgroupfsPod = `kubepods/besteffort/pod${uidWithDashes}`;

const samples: Readonly<Record<string, Sample>> = {
  "v2, systemd driver, private namespace, node's tree over the pod's own": {
    mountinfo: `${v2("/")}\n${v2("/../../../..")}`,
    procCgroup: "0::/\n",
    own: `/sys/fs/cgroup/${systemdPod}/cri-containerd-4fd1.scope`,
    pods: "/sys/fs/cgroup/kubepods.slice",
    others: ["/sys/fs/cgroup/system.slice/system-getty.slice/getty@tty1.service/x", "/sys/fs/cgroup/init.scope"],
  },
  "v2, cgroupfs driver, private namespace": {
    mountinfo: v2("/../../../.."),
    procCgroup: "0::/\n",
    own: `/sys/fs/cgroup/${cgroupfsPod}/9c0d`,
    pods: "/sys/fs/cgroup/kubepods",
  },
  "v2, guaranteed pod, cgroupfs driver: one level less": {
    mountinfo: v2("/../../.."),
    procCgroup: "0::/\n",
    own: `/sys/fs/cgroup/kubepods/pod${uidWithDashes}/9c0d`,
    pods: "/sys/fs/cgroup/kubepods",
  },
  "v2, the process went to a child of its container's cgroup": {
    mountinfo: v2("/../../../.."),
    procCgroup: "0::/init\n",
    own: `/sys/fs/cgroup/${cgroupfsPod}/9c0d/init`,
    pods: "/sys/fs/cgroup/kubepods",
  },
  "v2, the node's tree mounted elsewhere, the pod's own view left alone": {
    mountinfo: `${v2("/")}\n${v2("/../../../..", "/host/cgroup")}`,
    procCgroup: "0::/\n",
    own: `/host/cgroup/${systemdPod}/cri-containerd-4fd1.scope`,
    pods: "/host/cgroup/kubepods.slice",
  },
  "v2, the node's cgroup namespace": {
    mountinfo: v2("/"),
    procCgroup: `0::/${systemdPod}/cri-containerd-4fd1.scope\n`,
    own: `/sys/fs/cgroup/${systemdPod}/cri-containerd-4fd1.scope`,
    pods: "/sys/fs/cgroup/kubepods.slice",
  },
  "v2, --cgroup-root=/kubelet of kind, systemd driver": {
    mountinfo: v2("/../../../../.."),
    procCgroup: "0::/\n",
    own: `/sys/fs/cgroup/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${uid}.slice/cri-containerd-1.scope`,
    pods: "/sys/fs/cgroup/kubelet.slice/kubelet-kubepods.slice",
  },
  "v2, --cgroup-root=/a/b, cgroupfs driver": {
    mountinfo: v2("/../../../../../.."),
    procCgroup: "0::/\n",
    own: `/sys/fs/cgroup/a/b/${cgroupfsPod}/77`,
    pods: "/sys/fs/cgroup/a/b/kubepods",
    others: ["/sys/fs/cgroup/kubepods/burstable/podother/1/2/3"],
  },
  "v2, a node inside a pod of another node: the nearest": {
    mountinfo: v2("/../../../../../../.."),
    procCgroup: "0::/\n",
    own: `/sys/fs/cgroup/${cgroupfsPod}/kubelet/kubepods/podinner/1`,
    pods: `/sys/fs/cgroup/${cgroupfsPod}/kubelet/kubepods`,
  },
  "k3s on a v2 machine": {
    mountinfo: v2("/../../../.."),
    procCgroup: "0::/\n",
    own: `/sys/fs/cgroup/${systemdPod}/cri-containerd-5.scope`,
    pods: "/sys/fs/cgroup/kubepods.slice",
    others: ["/sys/fs/cgroup/system.slice/k3s.service"],
  },
  "hybrid, cgroupfs driver, the node's cgroup namespace": {
    mountinfo: hybrid,
    procCgroup: hybridLine(`/${cgroupfsPod}/aa`),
    own: `/sys/fs/cgroup/unified/${cgroupfsPod}/aa`,
    pods: "/sys/fs/cgroup/unified/kubepods",
  },
  "hybrid, systemd driver": {
    mountinfo: hybrid,
    procCgroup: hybridLine(`/${systemdPod}/cri-containerd-1.scope`),
    own: `/sys/fs/cgroup/unified/${systemdPod}/cri-containerd-1.scope`,
    pods: "/sys/fs/cgroup/unified/kubepods.slice",
  },
  "a service of systemd beside the kubelet": {
    mountinfo: v2("/"),
    procCgroup: "0::/system.slice/orlop.service\n",
    own: "/sys/fs/cgroup/system.slice/orlop.service",
    pods: "/sys/fs/cgroup/kubepods.slice",
    others: [`/sys/fs/cgroup/${systemdPod}`, "/sys/fs/cgroup/system.slice/x.service/kubepods"],
  },
  "the same with --cgroup-root=/a/b and the systemd driver": {
    mountinfo: v2("/"),
    procCgroup: "0::/system.slice/orlop.service\n",
    own: "/sys/fs/cgroup/system.slice/orlop.service",
    pods: "/sys/fs/cgroup/a.slice/a-b.slice/a-b-kubepods.slice",
    others: ["/sys/fs/cgroup/a.slice/a-b.slice/a-b-kubepods.slice/a-b-kubepods-burstable.slice"],
  },
};

describe("a node's texts of /proc", () => {
  for (const [name, { mountinfo, procCgroup, own, pods, others }] of Object.entries(samples)) {
    test(name, () => {
      const texts = { mountinfo, procCgroup };
      const reader = treeOf(own, others);
      assert.equal(ownCgroup(texts, reader).directory, own);
      assert.deepEqual(podsCgroup(texts, reader), { state: "found", directory: pods });
    });
  }
});

test("a process that no mount shows is an error, with what is mounted", () => {
  const nobody = treeOf("/nowhere");
  assert.throws(
    () => ownCgroup({ mountinfo: v2("/../.."), procCgroup: "0::/\n" }, nobody),
    /mounted at \/sys\/fs\/cgroup/,
  );
  assert.throws(() => ownCgroup({ mountinfo: v2("/pod"), procCgroup: "0::/other\n" }, nobody), /not visible/);
  assert.throws(() => ownCgroup({ mountinfo: "", procCgroup: "0::/\n" }, nobody), /not mounted/);
  assert.throws(() => ownCgroup({ mountinfo: hybrid, procCgroup: "4:memory:/\n" }, nobody), /no line 0::/);
});

test("the pods' cgroup is refused when there are several and none is above the keeper, and when there is none", () => {
  const texts = { mountinfo: v2("/"), procCgroup: "0::/system.slice/orlop.service\n" };
  const own = "/sys/fs/cgroup/system.slice/orlop.service";
  const two = ["/sys/fs/cgroup/a/kubepods", "/sys/fs/cgroup/b/kubepods"];
  assert.deepEqual(podsCgroup(texts, treeOf(own, two)), { state: "several", directories: two });
  assert.throws(
    () => foundPodsCgroup(podsCgroup(texts, treeOf(own, two))),
    /several cgroups of pods \(.*a\/kubepods, /,
  );
  assert.deepEqual(podsCgroup(texts, treeOf(own)), { state: "absent", looked: ["/sys/fs/cgroup"] });
  assert.throws(() => foundPodsCgroup(podsCgroup(texts, treeOf(own))), /no kubepods cgroup is below \/sys\/fs\/cgroup/);
  const foreign = ["/sys/fs/cgroup/user.slice/kubepods"];
  assert.equal(podsCgroup(texts, treeOf(own, [], foreign)).state, "absent", "a user's own directory is no kubelet's");
  assert.equal(foundPodsCgroup({ state: "found", directory: "/x" }), "/x");
});

test("what is below a mount, of paths that go up as the kernel writes them", () => {
  const at = (root: string, path: string) => placeBelow({ point: "/m", root }, path);
  assert.deepEqual(at("/", "/a/b"), { state: "known", directory: "/m/a/b" });
  assert.deepEqual(at("/a", "/a/b"), { state: "known", directory: "/m/b" });
  assert.deepEqual(at("/a", "/ab"), { state: "elsewhere" });
  assert.deepEqual(at("/../..", "/../../system.slice/kubelet.service"), {
    state: "known",
    directory: "/m/system.slice/kubelet.service",
  });
  assert.deepEqual(at("/../..", "/../other"), { state: "hidden", hidden: 1, tail: "/other" });
  assert.deepEqual(at("/../..", "/"), { state: "hidden", hidden: 2, tail: "" });
  assert.deepEqual(at("/", "/../x"), { state: "elsewhere" });
  assert.deepEqual(at("/../x", "/../x/y"), { state: "known", directory: "/m/y" });
  assert.deepEqual(at("/../../x", "/y"), { state: "elsewhere" });
});

test("a mount that another file system covers is none", () => {
  const tmpfs = "9 8 0:5 / /sys/fs/cgroup rw - tmpfs tmpfs rw";
  assert.deepEqual(cgroup2Mounts(`${v2("/")}\n${tmpfs}`), []);
  assert.deepEqual(cgroup2Mounts(`${v2("/a")}\n${v2("/..", "/host")}`), [
    { point: "/host", root: "/.." },
    { point: "/sys/fs/cgroup", root: "/a" },
  ]);
  assert.equal(cgroup2Path("3:cpu:/x\n0::/y z\n"), "/y z");
});

test("names of the kubelet's cgroup", () => {
  for (const name of ["kubepods", "kubepods.slice", "kubelet-kubepods.slice", "a-b_c-kubepods.slice"])
    assert.ok(isKubepods(name), name);
  for (const name of ["kubepods-burstable.slice", "xkubepods.slice", "-kubepods.slice", "kubepods.scope", "burstable"])
    assert.ok(!isKubepods(name), name);
});
