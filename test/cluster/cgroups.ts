// test cluster · the cluster's directories in every cgroup hierarchy of the machine: made, and removed with every process in them.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseMountinfo } from "../../agent/process/mounts.ts";
import type { ClusterPlan } from "./plan.ts";
import { startOf } from "./process-start.ts";
import { cgroupOf, type Hierarchy } from "./scripts.ts";

const REMOVE_DEADLINE_MS = 30_000;

/** Those below /sys/fs/cgroup, as containerd and kubelet look for them. */
export function hierarchies(mountinfo = readFileSync("/proc/self/mountinfo", "utf8")): readonly Hierarchy[] {
  const found = new Map<string, Hierarchy>();
  for (const { point, type } of parseMountinfo(mountinfo)) {
    if (!/^\/sys\/fs\/cgroup(\/|$)/.test(point)) continue;
    if (type === "cgroup") found.set(point, { point, version: 1 });
    if (type === "cgroup2") found.set(point, { point, version: 2 });
  }
  return [...found.values()];
}

/**
 * Beside other work on the machine a cgroup counts as a single process, and a cluster is some thirty: this many. It changes nothing where
 * nothing else wants the processors.
 */
const WEIGHT = { "cpu.shares": 30 * 1_024, "cpu.weight": 30 * 100 } as const;

/** Makes the directory of one part of the cluster everywhere. */
export function makeCgroups(all: readonly Hierarchy[], plan: ClusterPlan, part: string): void {
  for (const hierarchy of all) {
    let dir = hierarchy.point;
    for (const name of [plan.cgroup, ...part.split("/")]) {
      const above = dir;
      dir = path.join(dir, name);
      mkdirSync(dir, { recursive: true });
      if (name === plan.cgroup) weigh(dir);
      // A new v1 cpuset is empty, and no process can join it before it has processors and memory.
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        const own = path.join(dir, file);
        if (hierarchy.version === 1 && existsSync(own) && readFileSync(own, "utf8").trim() === "")
          writeFileSync(own, readFileSync(path.join(above, file)));
      }
    }
  }
}

function weigh(dir: string): void {
  for (const [file, weight] of Object.entries(WEIGHT)) {
    const own = path.join(dir, file);
    if (existsSync(own)) writeFileSync(own, String(weight));
  }
}

/** Pids of all processes in the cluster, from every hierarchy. A pid of 0 belongs to another pid namespace and is left out. */
export function processesOf(all: readonly Hierarchy[], plan: ClusterPlan): readonly number[] {
  const pids = new Set<number>();
  for (const dir of all.flatMap((hierarchy) => treeOf(cgroupOf(hierarchy, plan)))) {
    for (const line of readLines(path.join(dir, "cgroup.procs"))) if (Number(line) > 1) pids.add(Number(line));
  }
  return [...pids];
}

/**
 * Kills all processes of the cluster and removes its directories. A process leaves its cgroup before it has ended: the last of a
 * namespace takes mounts and what is in them away by then, so that is waited for as well.
 * @throws Error when something is left at the deadline
 */
export async function removeCgroups(all: readonly Hierarchy[], plan: ClusterPlan): Promise<void> {
  const end = performance.now() + REMOVE_DEADLINE_MS;
  const killed = new Map<number, string>();
  for (;;) {
    // The whole cluster dies at once, so nothing is left that could start or wait for another part.
    for (const pid of processesOf(all, plan)) {
      killed.set(pid, startOf(pid));
      kill(pid);
    }
    const dirs = all.flatMap((hierarchy) => treeOf(cgroupOf(hierarchy, plan)));
    for (const dir of dirs) remove(dir);
    const dying = [...killed].filter(([pid, start]) => start !== "" && startOf(pid) === start);
    const left = [...dirs.filter((dir) => existsSync(dir)), ...dying.map(([pid]) => `process ${pid}`)];
    if (left.length === 0) return;
    if (performance.now() > end) throw new Error(`cannot remove ${left.join(", ")}`);
    await sleep(20);
  }
}

/** A directory and all below it, the deepest first; none when it is not there. */
function treeOf(dir: string): readonly string[] {
  try {
    const below = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...below.flatMap((entry) => treeOf(path.join(dir, entry.name))), dir];
  } catch {
    return []; // It went away meanwhile, or never was: nothing is below it.
  }
}

function readLines(file: string): readonly string[] {
  try {
    return readFileSync(file, "utf8").split("\n");
  } catch {
    return []; // The directory went away meanwhile: no process is in it.
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function remove(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // A process in it has not ended yet; the caller tries again.
  }
}
