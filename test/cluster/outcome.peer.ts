// test cluster · what Orlop is for, twice from nothing: `make cluster`, then every command of docs/kubernetes.md in the page's order, the CNI
// plug-in included. Running pods and pods that come enter the mesh by a label, policies and probes live together, pods leave as the processes
// that they were, and of Orlop nothing stays on a node. Times are printed. `make interop PEERS=outcome` runs it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { NODE_TAINT } from "../../agent/authority/node-taints.ts";
import { OWN_CONFLIST, PLUGIN } from "../../agent/cni/conflist.ts";
import { tail } from "../box/process.ts";
import { hierarchies } from "./cgroups.ts";
import { kubeletOf, stopCluster } from "./cluster.ts";
import { Dawns, podObject } from "./dawns.ts";
import { inhabitantsOf, leftOf } from "./leftovers.ts";
import { sectionsOf } from "./page.ts";
import { makePageFolder, pageText } from "./page-folder.ts";
import { PageRunner } from "./page-runner.ts";
import { kubeconfigOf, type NodePlan } from "./plan.ts";
import { cniDirectories } from "./programs.ts";
import { cgroupOf } from "./scripts.ts";
import { testCluster } from "./test-cluster.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const ECHO = 7070;
const PATIENCE_MS = 60_000;
const WAIT = "--timeout=180s";

const folder = makePageFolder();
const { plan, kubectl, shell } = testCluster("outcome", 2, folder);
const [near, far] = plan.nodes;
assert.ok(near !== undefined && far !== undefined);
const sections = sectionsOf(pageText());

function makeTarget(target: string): void {
  const flags = `CLUSTER_FLAGS=--name ${plan.name} ${target === "cluster" ? "--orlop" : ""}`;
  const done = spawnSync("make", ["--no-print-directory", "-C", checkout, target, flags], { encoding: "utf8" });
  assert.equal(done.status, 0, `make ${target}: ${done.error?.message ?? tail(done.stdout + done.stderr)}`);
}

/** Each container of a pod, with how often it was started. */
const livesOf = (app: string): string => {
  const fields =
    "{.metadata.uid} {.status.containerStatuses[*].containerID} {.status.containerStatuses[*].restartCount}";
  return kubectl.run([
    "-n",
    "shop",
    "get",
    "pods",
    "-l",
    `app=${app}`,
    "-o",
    `jsonpath={range .items[*]}${fields};{end}`,
  ]);
};

/** The node's own view of its files. */
function rootOf(node: NodePlan): string {
  const [hierarchy] = hierarchies();
  assert.ok(hierarchy !== undefined);
  const procs = readFileSync(path.join(cgroupOf(hierarchy, plan, kubeletOf(node)), "cgroup.procs"), "utf8");
  return `/proc/${procs.split("\n")[0]}/root`;
}

/** What of Orlop acts on a node, or would: configuration, plug-in, list of namespaces, sockets, pinned programs. */
function onNode(node: NodePlan): readonly string[] {
  const root = rootOf(node);
  const inside = (folder: string): readonly string[] => {
    try {
      return readdirSync(path.join(root, folder)).map((name) => path.join(folder, name));
    } catch {
      return [];
    }
  };
  const wanted = [
    ...[path.join(cniDirectories.confDir, OWN_CONFLIST), path.join(cniDirectories.binDir, PLUGIN)],
    ...["/var/lib/orlop-cni/namespaces", "/sys/fs/bpf/orlop"],
  ];
  const sockets = ["/run/orlop", "/run/orlop-keeper"].flatMap(inside).filter((name) => name.endsWith(".sock"));
  return [...wanted.filter((name) => inside(path.dirname(name)).includes(name)), ...sockets];
}

async function untilNothingIsOn(node: NodePlan): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (onNode(node).length > 0) {
    assert.ok(performance.now() < end, `${node.name} still has ${onNode(node).join(", ")}`);
    await sleep(200);
  }
}

async function untilUntainted(): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (kubectl.run(["get", "nodes", "-o", "jsonpath={.items[*].spec.taints[*].key}"]).includes(NODE_TAINT)) {
    assert.ok(performance.now() < end, "the taint stays");
    await sleep(200);
  }
}

function refusesOtherChanges(): void {
  const node = near?.name ?? "";
  for (const change of [
    ["label", "node", node, "a=b"],
    ["annotate", "node", node, "a=b"],
    ["taint", "node", node, "a=b:NoSchedule"],
    ["taint", "node", node, `${NODE_TAINT}=:NoSchedule`],
    ["patch", "node", node, "--patch", '{"spec":{"unschedulable":true}}'],
  ]) {
    const as = "--as=system:serviceaccount:orlop-system:orlop-control";
    assert.throws(
      () => kubectl.run([...change, as]),
      /ValidatingAdmissionPolicy 'orlop-node-taint'.* denied request/,
      change.join(" "),
    );
  }
}

async function round(): Promise<void> {
  const began = performance.now();
  const followed = new Set<string>();
  const say = (what: string): void =>
    console.log(`${((performance.now() - began) / 1_000).toFixed(1).padStart(6)} s  ${what}`);
  const page = new PageRunner(folder, shell);
  const follow = async (section: string): Promise<void> => {
    const steps = sections.get(section);
    assert.ok(steps !== undefined && steps.length > 0, `docs/kubernetes.md has no commands in "${section}"`);
    await page.run(steps);
    followed.add(section);
    say(section);
  };
  makeTarget("cluster");
  say("make cluster");
  const inhabitants = inhabitantsOf(plan);
  for (const node of plan.nodes) assert.deepEqual(onNode(node), []);

  await follow("Install");
  for (const account of ["orlop-agent", "orlop-keeper"]) {
    const as = `--as=system:serviceaccount:orlop-system:${account}`;
    assert.equal(kubectl.denies(["-n", "orlop-system", "auth", "can-i", "get", "secret/orlop-control-root", as]), "no");
  }
  await follow("An application to try it on");
  const lives = { api: livesOf("api"), web: livesOf("web") };
  await follow("Into the mesh");
  assert.deepEqual({ api: livesOf("api"), web: livesOf("web") }, lives, "running pods enter as they are");
  await follow("The first packet");
  await follow("Policies");

  // Under STRICT a plaintext call is refused: what answers the first call of a process came through the mesh.
  const items = [podObject("shop", "echo-0", far?.name ?? "", ["serve", String(ECHO), "echo"])];
  kubectl.run(["create", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  kubectl.run(["-n", "shop", "wait", "pod/echo-0", "--for=condition=Ready", WAIT]);
  const address = kubectl.run(["-n", "shop", "get", "pod/echo-0", "-o", "jsonpath={.status.podIP}"]);
  const dawns = await new Dawns(kubeconfigOf(plan), near?.name ?? "").wave(
    { namespace: "shop", target: { address, port: ECHO } },
    5,
  );
  assert.deepEqual(
    dawns.map(({ heard, reached }) => [heard, reached]),
    dawns.map(() => ["echo", 0]),
  );
  say("5 pods that dial in their first millisecond, through the mesh");

  await follow("New pods");
  kubectl.run(["taint", "node", far?.name ?? "", `${NODE_TAINT}=:NoSchedule`]);
  await follow("Nodes that join");
  await untilUntainted();
  refusesOtherChanges();
  say("a node's taint taken off by the control program, which can change nothing else of a node");
  await follow("A look at it");
  const renewed = livesOf("api");
  await follow("Out of the mesh");
  assert.deepEqual(
    { api: livesOf("api"), web: livesOf("web") },
    { api: renewed, web: lives.web },
    "they leave as they are",
  );
  await follow("Remove");
  for (const node of plan.nodes) await untilNothingIsOn(node);
  say("nothing of Orlop acts on a node");
  assert.deepEqual(
    [...sections].flatMap(([name, steps]) => (steps.length === 0 || followed.has(name) ? [] : [name])),
    [],
  );

  makeTarget("cluster-down");
  assert.deepEqual(leftOf(plan, inhabitants), []);
  say("make cluster-down: nothing of the cluster is left");
}

test("make cluster, the manifests and a label do what the page says, from nothing to nothing", round);

test("and again", async () => {
  // What the first has left when it failed.
  await stopCluster(plan);
  await round();
});
