// What the keeper reads of /proc and of the cgroup tree about programs of the node, in directories that the test lays out.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, test } from "node:test";
import { NodeTree } from "./node-tree.ts";

const root = mkdtempSync(join(tmpdir(), "orlop-node-tree-"));
after(() => rmSync(root, { recursive: true }));
const proc = join(root, "proc");
const mount = join(root, "cgroup");
const podsCgroup = join(mount, "kubepods.slice");

function cgroup(path: string, pids: readonly number[] = []): string {
  mkdirSync(join(mount, path), { recursive: true });
  writeFileSync(join(mount, path, "cgroup.procs"), pids.map((pid) => `${pid}\n`).join(""));
  return join(mount, path);
}

type Laid = { readonly comm?: string; readonly uids?: string; readonly path?: string; readonly ticks?: number };

function process(pid: number | "self", { comm = "kubelet", uids = "0\t0\t0\t0", path = "/", ticks = 7 }: Laid): void {
  const directory = join(proc, String(pid));
  mkdirSync(join(directory, "ns"), { recursive: true });
  writeFileSync(join(directory, "ns", "net"), "");
  writeFileSync(join(directory, "comm"), `${comm}\n`);
  writeFileSync(join(directory, "status"), `Name:\t${comm}\nUid:\t${uids}\n`);
  writeFileSync(join(directory, "stat"), `${pid} (${comm}) S${" 0".repeat(18)} ${ticks} 0\n`);
  writeFileSync(join(directory, "cgroup"), `12:cpu:/elsewhere\n0::${path}\n`);
}

beforeEach(() => {
  process("self", {});
  writeFileSync(join(proc, "self", "mountinfo"), `30 24 0:26 / ${mount} rw,nosuid - cgroup2 cgroup2 rw\n`);
  process(1, { comm: "systemd" });
});
afterEach(() => {
  for (const directory of [proc, mount]) rmSync(directory, { recursive: true, force: true });
});
const tree = new NodeTree({ proc, podsCgroup });

test("of a process called kubelet: pid, start, users, namespace, cgroup; others are not looked at", () => {
  const directory = cgroup("system.slice/kubelet.service", [40]);
  process(40, { path: "/system.slice/kubelet.service", uids: "0\t1000\t0\t0" });
  process(41, { comm: "bash", path: "/system.slice/kubelet.service" });
  const [kubelet, ...more] = tree.kubelets();
  assert.deepEqual(more, []);
  const { dev, ino } = statSync(join(proc, "40", "ns", "net"), { bigint: true });
  assert.deepEqual(kubelet, {
    process: { pid: 40, startTicks: 7n },
    name: "kubelet",
    uids: [0, 1000],
    netns: { dev, ino },
    cgroup: directory,
  });
  assert.equal(tree.cgroupId(directory), statSync(directory, { bigint: true }).ino);
});

test("a path that a cgroup namespace hides is found by the list of processes, never among pods", () => {
  const directory = cgroup("system.slice/k3s.service", [50]);
  cgroup("kubepods.slice/podx", [51]);
  for (const pid of [50, 51]) process(pid, { comm: "k3s-server", path: "/../../system.slice/k3s.service" });
  const found = tree.kubelets().filter(({ process: { pid } }) => pid >= 50);
  assert.deepEqual(
    found.map(({ process: { pid }, cgroup: at }) => [pid, at]),
    [[50, directory]],
  );
});

test("still there: the same start, name and cgroup", () => {
  cgroup("system.slice/kubelet.service", [40]);
  process(40, { path: "/system.slice/kubelet.service" });
  const [kubelet] = tree.kubelets();
  assert.ok(kubelet);
  assert.ok(tree.isStill(kubelet));
  process(40, { path: "/system.slice/kubelet.service", ticks: 8 });
  assert.ok(!tree.isStill(kubelet), "another process with its pid");
  process(40, { path: "/system.slice/kubelet.service", comm: "sh" });
  assert.ok(!tree.isStill(kubelet));
  cgroup("system.slice/kubelet.service", []);
  cgroup("system.slice/moved.service", [40]);
  process(40, { path: "/system.slice/moved.service" });
  assert.ok(!tree.isStill(kubelet), "it went to another cgroup");
  rmSync(join(proc, "40"), { recursive: true });
  assert.ok(!tree.isStill(kubelet));
});

test("a named cgroup: a path, or a unit in slices of root's, and never within a unit", () => {
  const exporter = cgroup("system.slice/node-exporter.service");
  cgroup("user.slice/user-7.slice/user@7.service/app.slice/evil.service");
  assert.deepEqual(tree.named("node-exporter.service"), { state: "found", directory: exporter });
  assert.deepEqual(tree.named("/system.slice/node-exporter.service"), { state: "found", directory: exporter });
  assert.deepEqual(tree.named(exporter), { state: "found", directory: exporter });
  assert.deepEqual(tree.named("evil.service"), { state: "absent" }, "a user's own manager has made it");
  assert.deepEqual(tree.named("/nowhere"), { state: "absent" });
  cgroup("other.slice/node-exporter.service");
  assert.deepEqual(tree.named("node-exporter.service"), { state: "several" });
});
