// test cluster · a real cluster of two nodes: pods on each reach each other by both families, and nothing of it stays.
// `make cluster-test` runs it. It needs programs that take minutes to build, so `make test` does not.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { after, test } from "node:test";
import { installDebian } from "../peers/support/debian.ts";
import { built } from "../peers/support/projects.ts";
import { hierarchies, processesOf } from "./cgroups.ts";
import { startCluster, stopCluster } from "./cluster.ts";
import { kubeconfigOf, POD_IMAGE, planCluster } from "./plan.ts";

const PORT = 8080;
const WAIT = "--timeout=180s";

const plan = planCluster(`test-${process.pid}`, 2);
after(() => stopCluster(plan));
installDebian(["containerd", "runc", "containernetworking-plugins"]);
const binaries = { etcd: built("etcd", console.log), kube: built("kube", console.log) };

/** @throws Error with what kubectl says */
function kubectl(words: readonly string[], input = ""): string {
  const argv = ["--kubeconfig", kubeconfigOf(plan), ...words];
  const done = spawnSync(path.join(binaries.kube, "bin/kubectl"), argv, { input, encoding: "utf8", timeout: 200_000 });
  if (done.status === 0) return done.stdout.trim();
  throw new Error(`kubectl ${words.join(" ")}: ${done.error?.message ?? done.stderr}`);
}

const podOn = (node: string) => ({
  ...{ apiVersion: "v1", kind: "Pod", metadata: { name: `on-${node}` } },
  spec: {
    ...{ nodeSelector: { "kubernetes.io/hostname": node }, automountServiceAccountToken: false },
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        ...{ name: "pod", image: POD_IMAGE, imagePullPolicy: "Never" },
        ...{ command: ["/pod", "serve", String(PORT), `on-${node}`], ports: [{ containerPort: PORT }] },
        readinessProbe: { tcpSocket: { port: PORT }, periodSeconds: 1 },
      },
    ],
  },
});

test("two nodes are Ready, a pod runs on each, and each reaches the other by IPv4 and IPv6", async () => {
  await startCluster(plan, binaries, console.log);
  const names = plan.nodes.map(({ name }) => name);
  kubectl(["wait", "--for=condition=Ready", WAIT, ...names.map((name) => `node/${name}`)]);
  kubectl(["create", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items: names.map(podOn) }));
  kubectl(["wait", "--for=condition=Ready", WAIT, ...names.map((name) => `pod/on-${name}`)]);
  for (const from of names) {
    for (const to of names) {
      const addresses = kubectl(["get", "pod", `on-${to}`, "-o", "jsonpath={.status.podIPs[*].ip}"]).split(" ");
      assert.equal(addresses.length, 2, `${to} has ${addresses}`);
      for (const address of addresses) {
        const said = kubectl(["exec", `on-${from}`, "--", "/pod", "ask", address, String(PORT)]);
        assert.equal(said, `on-${to}`, `${from} asked ${address}`);
      }
    }
  }
});

test("afterwards no process, namespace, mount, cgroup or file of it is left", async () => {
  const all = hierarchies();
  const pids = processesOf(all, plan);
  assert.ok(pids.length > 10, `${pids.length} processes`);
  const namespaces = new Set(pids.flatMap((pid) => namespacesOf(pid)));
  for (const own of namespacesOf("self")) namespaces.delete(own);
  assert.ok(namespaces.size >= 2 + 3 * plan.nodes.length, `${namespaces.size} namespaces`);
  await stopCluster(plan);
  assert.deepEqual(processesOf(all, plan), []);
  const alive = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid));
  const inside = alive.filter((pid) => namespacesOf(pid).some((namespace) => namespaces.has(namespace)));
  assert.deepEqual(inside, [], "processes in namespaces of the cluster");
  assert.doesNotMatch(readFileSync("/proc/self/mountinfo", "utf8"), new RegExp(plan.name));
  for (const { point } of all) assert.ok(!existsSync(path.join(point, plan.cgroup)), point);
  assert.ok(!existsSync(plan.dir));
});

/** Network, mount and cgroup namespace of a process; none when it has ended. */
function namespacesOf(pid: number | string): readonly string[] {
  try {
    return ["net", "mnt", "cgroup"].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
  } catch {
    return []; // It ended meanwhile, and with it its hold on namespaces.
  }
}
