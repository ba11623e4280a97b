// test cluster · the commands of `make cluster` and `make cluster-down`; `hold` is a cluster that goes with the command's process.
//   node test/cluster/main.ts up|hold [--name NAME] [--nodes 2] [--orlop] | down [--name NAME]
import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { installDebian } from "../peers/support/debian.ts";
import { built } from "../peers/support/projects.ts";
import { startCluster, stopCluster } from "./cluster.ts";
import { startJanitor } from "./janitor.ts";
import { orlopArchive } from "./orlop-image.ts";
import { kubeconfigOf, planCluster } from "./plan.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: "string", default: "default" },
    nodes: { type: "string", default: "2" },
    // With the image that daemonset/manifest.yaml names, made of this checkout.
    orlop: { type: "boolean", default: false },
  },
});
const plan = planCluster(values.name, Number(values.nodes));
const [command] = positionals;

if (command === "down") {
  await stopCluster(plan);
  console.log(`cluster ${plan.name} is gone`);
} else if (command === "up") {
  await up();
} else if (command === "hold") {
  startJanitor(plan);
  await up();
  // Until a signal.
  setInterval(() => {}, 3_600_000);
} else {
  console.error("usage: node test/cluster/main.ts up|hold [--name NAME] [--nodes 2] [--orlop] | down [--name NAME]");
  process.exitCode = 64;
}

async function up(): Promise<void> {
  installDebian(["containerd", "runc", "containernetworking-plugins"]);
  const binaries = { etcd: built("etcd", report), kube: built("kube", report) };
  if (existsSync(plan.dir)) {
    console.log(`cluster ${plan.name} was started before: KUBECONFIG=${kubeconfigOf(plan)}`);
    return;
  }
  const start = performance.now();
  const seconds = (): string => ((performance.now() - start) / 1_000).toFixed(1).padStart(5);
  const onSignal = (): void => {
    void stopCluster(plan).finally(() => process.exit(130));
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
  const images = (): readonly string[] => (values.orlop ? [orlopArchive(path.join(plan.dir, "image"))] : []);
  await startCluster(plan, binaries, (done) => console.log(`${seconds()} s  ${done}`), images);
  console.log(`KUBECONFIG=${kubeconfigOf(plan)}`);
  console.log(`kubectl: ${binaries.kube}/bin/kubectl`);
}

function report(line: string): void {
  console.log(line);
}
