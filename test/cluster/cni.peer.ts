// test cluster · the CNI plug-in and its installer on a real cluster: pods under STRICT that listen and dial in their first millisecond
// send nothing around the mesh and let nobody in; the installer is killed, the primary plug-in replaced, the namespace deleted, and the
// DaemonSet taken away, and pods start all the same. `make interop PEERS=cni` runs it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { OWN_CONFLIST, PLUGIN } from "../../agent/cni/conflist.ts";
import { installDebian } from "../peers/support/debian.ts";
import { built } from "../peers/support/projects.ts";
import { soak } from "../peers/support/soak.ts";
import { hierarchies, processesOf } from "./cgroups.ts";
import { kubeletOf, startCluster, stopCluster } from "./cluster.ts";
import { endWithParent, startJanitor } from "./janitor.ts";
import { Kubectl } from "./kubectl.ts";
import { orlopArchive } from "./orlop-image.ts";
import { sectionsOf } from "./page.ts";
import { PageRunner } from "./page-runner.ts";
import { kubeconfigOf, POD_IMAGE, planCluster } from "./plan.ts";
import { cniDirectories } from "./programs.ts";
import { cgroupOf } from "./scripts.ts";

/** Starts of pods that are counted, and how many of them at once. */
const STARTS = soak(30, 1_000);
const TOGETHER = 10;
const WITHOUT = 10;
const PATIENCE_MS = 120_000;
const WAIT = "--timeout=180s";
/** Of docs/kubernetes.md. */
const SECTION = "The first packet";
/** What the pods listen on, and where they dial. */
const DAWN = 9090;
const API = 8080;

const plan = planCluster(`cni-${process.pid}`, 2);
endWithParent();
const janitor = startJanitor(plan);
const folder = mkdtempSync(path.join(tmpdir(), "orlop-cni-page-"));
after(async () => {
  await stopCluster(plan);
  janitor.stop();
  rmSync(folder, { recursive: true, force: true });
});
installDebian(["containerd", "runc", "containernetworking-plugins"]);
const binaries = { etcd: built("etcd", console.log), kube: built("kube", console.log) };
const kubectl = new Kubectl(binaries.kube, kubeconfigOf(plan));
const section =
  sectionsOf(readFileSync(new URL("../../docs/kubernetes.md", import.meta.url), "utf8")).get(SECTION) ?? [];
assert.ok(section.length > 0, `docs/kubernetes.md has no commands in "${SECTION}"`);
const page = new PageRunner(folder, {
  ...process.env,
  PATH: `${path.join(binaries.kube, "bin")}:${process.env.PATH}`,
  KUBECONFIG: kubeconfigOf(plan),
});
const [near, far] = plan.nodes;
assert.ok(near !== undefined && far !== undefined);
const confDir = path.join(near.dir, cniDirectories.confDir);
const manifest = (name: string): string => fileURLToPath(new URL(`../../daemonset/${name}`, import.meta.url));

async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS / 1_000} s`);
    await sleep(200);
  }
}

const podObject = (namespace: string, name: string, node: string, command: readonly string[]) => ({
  ...{ apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels: { app: name.split("-")[0] } } },
  spec: {
    nodeSelector: { "kubernetes.io/hostname": node },
    ...{ automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, restartPolicy: "Never" },
    containers: [{ name: "pod", image: POD_IMAGE, imagePullPolicy: "Never", command: ["/pod", ...command] }],
  },
});
const create = (items: readonly object[]): void => {
  kubectl.run(["create", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
};
const addressOf = (namespace: string, name: string): string =>
  kubectl.run(["-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.podIP}"]);

/** In the network namespace of a node. */
function inNode(node: typeof near, argv: readonly string[]): string {
  const [hierarchy] = hierarchies();
  assert.ok(hierarchy !== undefined && node !== undefined);
  const procs = readFileSync(path.join(cgroupOf(hierarchy, plan, kubeletOf(node)), "cgroup.procs"), "utf8");
  const done = spawnSync("nsenter", ["--target", procs.split("\n")[0] ?? "", "--net", "--", ...argv], {
    encoding: "utf8",
  });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout;
}
/** Packets that the node has forwarded to the application's own port, by both rules. */
const around = (): number =>
  inNode(near, ["iptables", "-w", "-nvxL", "FORWARD"])
    .split("\n")
    .filter((line) => line.includes(`dpt:${API}`))
    .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[0]), 0);

/** How often a pod outside the mesh has reached a pod of the near node. */
const knocked = (): number =>
  kubectl
    .run(["-n", "legacy", "logs", "knock-0"])
    .split("\n")
    .filter((line) => line.startsWith("in ")).length;

let started = 0;
/** Times from the pod's creation: to its first instruction, and to the answer to its first call. */
type Dawn = {
  readonly heard: string;
  readonly reached: number;
  readonly startMs: number;
  readonly answerMs: number;
};

/** Starts pods on the near node, and gives what each has seen. */
async function dawns(count: number, address: string): Promise<readonly Dawn[]> {
  const all: Dawn[] = [];
  while (all.length < count) {
    const names = Array.from({ length: Math.min(TOGETHER, count - all.length) }, () => `dawn-${++started}`);
    const createdMs = Date.now();
    create(names.map((name) => podObject("shop", name, near?.name ?? "", ["dawn", `${DAWN}`, address, `${API}`])));
    for (const name of names) {
      kubectl.run(["-n", "shop", "wait", `pod/${name}`, "--for=jsonpath={.status.phase}=Succeeded", WAIT]);
      const log = kubectl.run(["-n", "shop", "logs", name]);
      const said = new Map(log.split("\n").map((line) => line.split(" ", 2) as [string, string]));
      const since = (what: string): number => Number(said.get(what)) - createdMs;
      const times = { startMs: since("began"), answerMs: since("answered") };
      all.push({ heard: said.get("heard") ?? "", reached: Number(said.get("reached")), ...times });
    }
    // The end of these would take the processor from the next.
    kubectl.run(["-n", "shop", "delete", WAIT, ...names.map((name) => `pod/${name}`)]);
  }
  return all;
}

function quantiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms of ${sorted.length}`;
}

/** Of the near node. */
function keeperLog(): string {
  const pods = kubectl.run([
    ...[
      "-n",
      "orlop-system",
      "get",
      "pods",
      "-l",
      "app=orlop-keeper",
      "--field-selector",
      `spec.nodeName=${near?.name}`,
    ],
    ...["-o", "name"],
  ]);
  return kubectl.run(["-n", "orlop-system", "logs", pods, "-c", "keeper"]);
}

/** Of pods that were made together, so that each waited for the processor. */
function timesOf(dawns: readonly Dawn[]): string {
  const [starts, answers] = [dawns.map(({ startMs }) => startMs), dawns.map(({ answerMs }) => answerMs)];
  return `from its creation to a pod's first instruction ${quantiles(starts)}; to its first answer ${quantiles(answers)}`;
}

/** From the plug-in's question to the pod's capture, by that log. */
function waits(): readonly number[] {
  const begun = new Map<string, number>();
  const found: number[] = [];
  for (const line of keeperLog()
    .split("\n")
    .filter((text) => text.startsWith("{"))) {
    const { message, pod, time } = JSON.parse(line) as Record<"message" | "pod" | "time", string>;
    const at = Date.parse(time);
    if (message === "a pod begins") begun.set(pod, at);
    const since = message === "captured" ? begun.get(pod) : undefined;
    if (since !== undefined && begun.delete(pod)) found.push(at - since);
  }
  return found;
}

/** Has the plug-in asked for the pod that was started last? */
const wasAskedFor = (): boolean => keeperLog().includes(`"name":"shop/dawn-${started}"`);

const plugins = (): readonly string[] => {
  const { plugins: all } = JSON.parse(readFileSync(path.join(confDir, OWN_CONFLIST), "utf8"));
  return (all as readonly { readonly type: string }[]).map(({ type }) => type);
};
/** The plug-in has waited for a pod that starts now, which was served in its first millisecond. */
async function startsThroughUs(address: string): Promise<void> {
  const [dawn] = await dawns(1, address);
  assert.partialDeepStrictEqual(dawn, { heard: "api", reached: 0 });
  assert.ok(wasAskedFor(), "the plug-in was not called");
}

/** None of a process that has ended. */
function wordsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}

let api = "";

test("Orlop and pods under STRICT on a cluster of two nodes; without the plug-in, for comparison", async () => {
  await startCluster(plan, binaries, console.log, () => [orlopArchive(path.join(plan.dir, "image"))]);
  kubectl.run(["apply", "-f", manifest("crds.yaml"), "-f", manifest("manifest.yaml"), "-f", manifest("control.yaml")]);
  kubectl.run(["-n", "orlop-system", "rollout", "status", "daemonset/orlop-agent", WAIT]);
  kubectl.run(["create", "namespace", "shop"]);
  kubectl.run(["create", "namespace", "legacy"]);
  kubectl.run(["label", "namespace", "shop", "orlop.dev/dataplane-mode=ambient"]);
  const strict = {
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: { name: "all", namespace: "shop" },
  };
  create([
    { ...strict, spec: { mtls: { mode: "STRICT" } } },
    podObject("shop", "api-0", far.name, ["serve", `${API}`, "api"]),
  ]);
  const prefix = near.pods.ip4.split(".").slice(0, 3).join(".");
  create([podObject("legacy", "knock-0", far.name, ["knock", `${DAWN}`, prefix, "2", `${soak(120, 250)}`])]);
  kubectl.run(["-n", "shop", "wait", "pod/api-0", "--for=condition=Ready", WAIT]);
  kubectl.run(["-n", "legacy", "wait", "pod/knock-0", "--for=condition=Ready", WAIT]);
  api = addressOf("shop", "api-0");
  inNode(near, ["iptables", "-w", "-I", "FORWARD", "1", "-p", "tcp", "--dport", `${API}`, "-d", api]);
  const without = await dawns(WITHOUT, api);
  const unserved = without.filter(({ heard }) => heard !== "api").length;
  const reached = without.reduce((sum, dawn) => sum + dawn.reached, 0);
  console.log(
    `without the plug-in: ${around()} packets around the mesh, ${reached} connections let in, ${unserved} pods not served`,
  );
  console.log(`  ${timesOf(without)}`);
});

test(`of ${STARTS} pods that listen and dial in their first millisecond none goes around the mesh, and each is served`, async () => {
  // The page's paths begin at the checkout. The nodes have other directories for plug-ins than the manifest says.
  mkdirSync(path.join(folder, "daemonset"));
  const text = readFileSync(manifest("cni.yaml"), "utf8")
    .replace("path: /etc/cni/net.d, type", `path: ${cniDirectories.confDir}, type`)
    .replace("path: /opt/cni/bin, type", `path: ${cniDirectories.binDir}, type`);
  writeFileSync(path.join(folder, "daemonset/cni.yaml"), text);
  await page.run(section);
  assert.deepEqual(plugins(), ["bridge", "portmap", PLUGIN]);
  const before = { around: around(), knocked: knocked() };
  const seen = await dawns(STARTS, api);
  assert.deepEqual({ around: around(), knocked: knocked() }, before, "packets around the mesh");
  assert.deepEqual(
    seen.filter(({ heard, reached }) => heard !== "api" || reached > 0),
    [],
  );
  const waited = waits();
  assert.ok(waited.length >= STARTS, `the plug-in has waited for ${waited.length} pods`);
  console.log(`with the plug-in: 0 packets around the mesh, 0 connections let in, ${seen.length} pods served`);
  console.log(`  the plug-in has waited ${quantiles(waited)}`);
  console.log(`  ${timesOf(seen)}`);
});

test("the installer is killed: its configuration stays, and pods start through it", async () => {
  const installers = processesOf(hierarchies(), plan).filter((pid) => {
    const words = wordsOf(pid);
    return words.includes("cni") && words.includes("/opt/orlop/agent/main.ts");
  });
  assert.equal(installers.length, plan.nodes.length);
  for (const pid of installers) process.kill(pid, "SIGKILL");
  assert.ok(plugins().includes(PLUGIN));
  await startsThroughUs(api);
  kubectl.run(["-n", "orlop-system", "rollout", "status", "daemonset/orlop-cni", WAIT]);
});

test("the primary plug-in's configuration is replaced by another: ours follows, and pods start through it", async () => {
  const before = path.join(confDir, "10-cluster.conflist");
  const conflist = JSON.parse(readFileSync(before, "utf8"));
  const draft = path.join(confDir, ".05-next.new");
  writeFileSync(draft, JSON.stringify({ ...conflist, plugins: [conflist.plugins[0]] }));
  rmSync(before);
  renameSync(draft, path.join(confDir, "05-next.conflist"));
  await until("a configuration of the next primary", () => plugins().length === 2);
  assert.deepEqual(plugins(), ["bridge", PLUGIN]);
  await startsThroughUs(api);
});

test("the namespace is deleted while pods start in it: pods of another, and of its successor, start", async () => {
  const commands = ["dawn", `${DAWN}`, api, `${API}`];
  kubectl.run(["create", "namespace", "bank"]);
  kubectl.run(["label", "namespace", "bank", "orlop.dev/dataplane-mode=ambient"]);
  create(Array.from({ length: 3 }, (_, at) => podObject("bank", `gone-${at}`, near.name, commands)));
  kubectl.run(["delete", "namespace", "bank", WAIT]);
  await startsThroughUs(api);
  kubectl.run(["create", "namespace", "bank"]);
  kubectl.run(["label", "namespace", "bank", "orlop.dev/dataplane-mode=ambient"]);
  create([podObject("bank", "again-0", near.name, commands)]);
  kubectl.run(["-n", "bank", "wait", "pod/again-0", "--for=jsonpath={.status.phase}=Succeeded", WAIT]);
});

test("with its DaemonSet the plug-in goes from every node, and pods start without it", async () => {
  kubectl.run(["-n", "orlop-system", "delete", "daemonset", "orlop-cni", WAIT]);
  for (const { dir } of plan.nodes) {
    const [confs, bins] = [cniDirectories.confDir, cniDirectories.binDir].map((name) => path.join(dir, name)) as [
      string,
      string,
    ];
    await until(
      "the plug-in has gone",
      () => !existsSync(path.join(confs, OWN_CONFLIST)) && !existsSync(path.join(bins, PLUGIN)),
    );
    assert.equal(readdirSync(confs).filter((name) => name.endsWith(".conflist")).length, 1);
  }
  await dawns(1, api);
  assert.equal(wasAskedFor(), false);
});
