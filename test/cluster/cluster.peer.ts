// test cluster · a real cluster of two nodes: pods on each reach each other by both families, and nothing of it stays.
// `make cluster-test` runs it. It needs programs that take minutes to build, so `make test` does not.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startCluster, stopCluster } from "./cluster.ts";
import { inhabitantsOf, leftOf } from "./leftovers.ts";
import { POD_IMAGE, planCluster } from "./plan.ts";
import { testCluster } from "./test-cluster.ts";

const PORT = 8080;
const WAIT = "--timeout=180s";

const { plan, binaries, kubectl } = testCluster("test", 2);

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
  kubectl.run(["wait", "--for=condition=Ready", WAIT, ...names.map((name) => `node/${name}`)]);
  kubectl.run(["create", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items: names.map(podOn) }));
  kubectl.run(["wait", "--for=condition=Ready", WAIT, ...names.map((name) => `pod/on-${name}`)]);
  for (const from of names) {
    for (const to of names) {
      const addresses = kubectl.run(["get", "pod", `on-${to}`, "-o", "jsonpath={.status.podIPs[*].ip}"]).split(" ");
      assert.equal(addresses.length, 2, `${to} has ${addresses}`);
      for (const address of addresses) {
        const said = kubectl.run(["exec", `on-${from}`, "--", "/pod", "ask", address, String(PORT)]);
        assert.equal(said, `on-${to}`, `${from} asked ${address}`);
      }
    }
  }
});

test("afterwards no process, namespace, mount, cgroup or file of it is left", async () => {
  const before = inhabitantsOf(plan);
  assert.ok(before.namespaces.size >= 2 + 3 * plan.nodes.length, `${before.namespaces.size} namespaces`);
  assert.ok(before.processes.size > 10, `${before.processes.size} processes`);
  await stopCluster(plan);
  assert.deepEqual(leftOf(plan, before), []);
});

test("a cluster goes with the process that holds it, however that ends and whenever", async (t) => {
  for (const [index, [end, when]] of (
    [
      ["SIGKILL", "namespaces and certificates"],
      ["SIGTERM", "KUBECONFIG="],
    ] as const
  ).entries()) {
    const held = planCluster(`held-${index}-${process.pid}`, 1);
    t.after(() => stopCluster(held));
    const argv = [path.join(import.meta.dirname, "main.ts"), "hold", "--name", held.name, "--nodes", "1"];
    const holder = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(holder, "exit");
    const lines = createInterface({ input: holder.stdout });
    let isUp = false;
    for await (const line of lines) {
      isUp = line.includes(when);
      if (isUp) break;
    }
    assert.ok(isUp, "the cluster did not start");
    const before = inhabitantsOf(held);
    assert.ok(before.processes.size > 0);
    holder.kill(end);
    await ended;
    const deadline = performance.now() + 120_000;
    while (leftOf(held, before).length > 0 && performance.now() < deadline) await sleep(50);
    assert.deepEqual(leftOf(held, before), [], `after ${end}`);
  }
});
