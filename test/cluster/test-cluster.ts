// test cluster · the cluster of a test file: planned, with its programs built; nothing of it stays, however the file ends.
import { rmSync } from "node:fs";
import path from "node:path";
import { after } from "node:test";
import { installDebian } from "../peers/support/debian.ts";
import { built } from "../peers/support/projects.ts";
import { stopCluster } from "./cluster.ts";
import { endWithParent, startJanitor } from "./janitor.ts";
import { Kubectl } from "./kubectl.ts";
import { type ClusterPlan, kubeconfigOf, planCluster } from "./plan.ts";
import type { Binaries } from "./programs.ts";

export type TestCluster = {
  readonly plan: ClusterPlan;
  readonly binaries: Binaries;
  /** Of the cluster's administrator. */
  readonly kubeconfig: string;
  readonly kubectl: Kubectl;
  /** An operator's shell: `kubectl` is in its path and talks to this cluster. */
  readonly shell: NodeJS.ProcessEnv;
};

/**
 * It does not start the cluster: the test does, with `startCluster`. An `after` that ends programs which use the cluster comes before this call,
 * because Node runs them in order.
 * @param name of the cluster; the number of this process follows it
 * @param folder what else to remove at the end
 */
export function testCluster(name: string, nodes: number, folder?: string): TestCluster {
  const plan = planCluster(`${name}-${process.pid}`, nodes);
  endWithParent();
  const janitor = startJanitor(plan);
  after(async () => {
    await stopCluster(plan);
    janitor.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });
  installDebian(["containerd", "runc", "containernetworking-plugins"]);
  const binaries = { etcd: built("etcd", console.log), kube: built("kube", console.log) };
  const kubeconfig = kubeconfigOf(plan);
  return {
    ...{ plan, binaries, kubeconfig, kubectl: new Kubectl(binaries.kube, kubeconfig) },
    shell: {
      ...process.env,
      PATH: `${path.join(binaries.kube, "bin")}:${process.env.PATH}`,
      KUBECONFIG: kubeconfig,
    },
  };
}
