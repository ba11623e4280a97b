// test cluster · what is on the machine of a cluster: to know while it runs, and to find nothing of afterwards.
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { hierarchies, processesOf } from "./cgroups.ts";
import type { ClusterPlan } from "./plan.ts";
import { startOf } from "./process-start.ts";

/** Who is in a cluster's own network, mount and cgroup namespaces, in or out of its cgroups. */
export type Inhabitants = {
  readonly namespaces: ReadonlySet<string>;
  /** Start time of each process by its pid: both together are never given again until the machine starts anew. */
  readonly processes: ReadonlyMap<string, string>;
};

export function inhabitantsOf(plan: ClusterPlan): Inhabitants {
  const namespaces = new Set(processesOf(hierarchies(), plan).flatMap((pid) => namespacesOf(pid)));
  for (const own of namespacesOf("self")) namespaces.delete(own);
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const inside = pids.filter((pid) => namespacesOf(pid).some((namespace) => namespaces.has(namespace)));
  return { namespaces, processes: new Map(inside.map((pid) => [pid, startOf(pid)])) };
}

/**
 * Everything of the cluster that is still there, in words; empty: nothing. A namespace lives as long as a process in it, or a mount.
 * @param before as `inhabitantsOf` found them while the cluster ran
 */
export function leftOf(plan: ClusterPlan, before: Inhabitants): readonly string[] {
  const all = hierarchies();
  const left = processesOf(all, plan).map((pid) => `process ${pid} in its cgroup`);
  for (const [pid, start] of before.processes)
    if (start !== "" && startOf(pid) === start) left.push(`process ${pid} of its namespaces`);
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n"))
    if (line.includes(`${plan.dir}/`) || line.includes(`/${plan.cgroup}`)) left.push(`mount ${line}`);
  for (const { point } of all)
    if (existsSync(path.join(point, plan.cgroup))) left.push(`cgroup ${path.join(point, plan.cgroup)}`);
  if (existsSync(plan.dir)) left.push(`files in ${plan.dir}`);
  return left;
}

/** None when it has ended. */
function namespacesOf(pid: number | string): readonly string[] {
  try {
    return ["net", "mnt", "cgroup"].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
  } catch {
    return []; // It ended meanwhile, and with it its hold on namespaces.
  }
}
