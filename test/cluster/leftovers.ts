// test cluster · what is on the machine of a cluster: to know while it runs, and to find nothing of afterwards.
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { hierarchies, processesOf } from "./cgroups.ts";
import type { ClusterPlan } from "./plan.ts";

/** Network, mount and cgroup namespaces in which only processes of the cluster are. */
export function namespacesOf(plan: ClusterPlan): ReadonlySet<string> {
  const namespaces = new Set(processesOf(hierarchies(), plan).flatMap((pid) => namespacesOfProcess(pid)));
  for (const own of namespacesOfProcess("self")) namespaces.delete(own);
  return namespaces;
}

/**
 * Everything of the cluster that is still there, in words; empty: nothing.
 * @param namespaces as `namespacesOf` found them while the cluster ran
 */
export function leftOf(plan: ClusterPlan, namespaces: ReadonlySet<string>): readonly string[] {
  const all = hierarchies();
  const left = processesOf(all, plan).map((pid) => `process ${pid} in its cgroup`);
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    if (namespacesOfProcess(pid).some((namespace) => namespaces.has(namespace)))
      left.push(`process ${pid} in a namespace of it`);
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n"))
    if (line.includes(plan.dir) || line.includes(plan.cgroup)) left.push(`mount ${line}`);
  for (const { point } of all)
    if (existsSync(path.join(point, plan.cgroup))) left.push(`cgroup ${path.join(point, plan.cgroup)}`);
  if (existsSync(plan.dir)) left.push(`files in ${plan.dir}`);
  return left;
}

/** None when it has ended. */
function namespacesOfProcess(pid: number | string): readonly string[] {
  try {
    return ["net", "mnt", "cgroup"].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
  } catch {
    return []; // It ended meanwhile, and with it its hold on namespaces.
  }
}
