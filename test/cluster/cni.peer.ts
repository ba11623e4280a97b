// test cluster · the CNI plug-in and its installer on a real cluster: pods under STRICT that listen and dial in their first millisecond
// send nothing around the mesh and let nobody in; the installer is killed, the primary plug-in replaced, the namespace deleted, and the
// DaemonSet taken away, and pods start all the same. `make interop PEERS=cni` runs it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { OWN_CONFLIST, PLUGIN } from "../../agent/cni/conflist.ts";
import { installDebian } from "../peers/support/debian.ts";
import { built } from "../peers/support/projects.ts";
import { soak } from "../peers/support/soak.ts";
import { type Holdings, heldBy, noMoreThan } from "../support/short-pods.ts";
import { hierarchies, processesOf } from "./cgroups.ts";
import { kubeletOf, startCluster, stopCluster } from "./cluster.ts";
import { DAWN_PORT, type Dawn, Dawns, type Pace, podObject, quantiles, type Turn } from "./dawns.ts";
import { endWithParent, startJanitor } from "./janitor.ts";
import { Kubectl } from "./kubectl.ts";
import { orlopArchive } from "./orlop-image.ts";
import { sectionsOf } from "./page.ts";
import { makePageFolder, pageText } from "./page-folder.ts";
import { PageRunner } from "./page-runner.ts";
import { kubeconfigOf, planCluster } from "./plan.ts";
import { cniDirectories } from "./programs.ts";
import { cgroupOf } from "./scripts.ts";
import { say, sayAdded } from "./start-words.ts";

/**
 * `ORLOP_START_PAIRS=100 make interop PEERS=cni` is the measurement of what a start costs, for a machine without other work: so many pairs,
 * each pod only once the pod before it has ended.
 */
const PAIRS = Number(process.env.ORLOP_START_PAIRS ?? 0);
/** Starts of pods that are counted, beside as many outside of the mesh, and how long after each the next begins. */
const STARTS = PAIRS > 0 ? PAIRS : soak(100, 1_000);
const PACE: Pace = PAIRS > 0 ? { everyMs: 0, atOnce: 1 } : { everyMs: 500, atOnce: 6 };
/** Started at once. */
const WITHOUT = soak(5, 100);
/** Pods of the mesh, and others that dial the same server, all at once; and how often. */
const CROWD = soak(27, 90);
const STRANGERS = soak(3, 10);
const CROWDS = 3;
const PATIENCE_MS = 120_000;
/** Of what agents have logged about pods that saw what they should not. */
const SHOWN_LINES = 30;
const WAIT = "--timeout=180s";
/** Of docs/kubernetes.md. */
const SECTION = "The first packet";
/** Where the pods of the mesh dial, and the others. */
const API = 8080;
const OPEN = 8081;

const plan = planCluster(`cni-${process.pid}`, 2);
endWithParent();
const janitor = startJanitor(plan);
const folder = makePageFolder();
after(async () => {
  await stopCluster(plan);
  janitor.stop();
  rmSync(folder, { recursive: true, force: true });
});
installDebian(["containerd", "runc", "containernetworking-plugins"]);
const binaries = { etcd: built("etcd", console.log), kube: built("kube", console.log) };
const kubectl = new Kubectl(binaries.kube, kubeconfigOf(plan));
const section = sectionsOf(pageText()).get(SECTION) ?? [];
assert.ok(section.length > 0, `docs/kubernetes.md has no commands in "${SECTION}"`);
const page = new PageRunner(folder, {
  ...process.env,
  PATH: `${path.join(binaries.kube, "bin")}:${process.env.PATH}`,
  KUBECONFIG: kubeconfigOf(plan),
});
const [near, far] = plan.nodes;
assert.ok(near !== undefined && far !== undefined);
const dawns = new Dawns(kubeconfigOf(plan), near.name);
const confDir = path.join(near.dir, cniDirectories.confDir);
const manifest = (name: string): string => fileURLToPath(new URL(`../../daemonset/${name}`, import.meta.url));

async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS / 1_000} s`);
    await sleep(200);
  }
}

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
/** Packets that the node has forwarded to this port. */
const forwarded = (port: number): number =>
  inNode(near, ["iptables", "-w", "-nvxL", "FORWARD"])
    .split("\n")
    .filter((line) => line.includes(`dpt:${port}`))
    .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[0]), 0);

/** Attempts of pods of the mesh that the container runtime had to make again. */
const failedStarts = (): readonly string[] => {
  const text = kubectl.run([
    "-n",
    "shop",
    "get",
    "events",
    "--field-selector",
    "reason=FailedCreatePodSandBox",
    "-o",
    "json",
  ]);
  const { items } = JSON.parse(text) as { readonly items: readonly { readonly message: string }[] };
  return items.map(({ message }) => message);
};

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
const wasAskedFor = (): boolean => keeperLog().includes(`"name":"shop/${dawns.last}"`);

const plugins = (): readonly string[] => {
  const { plugins: all } = JSON.parse(readFileSync(path.join(confDir, OWN_CONFLIST), "utf8"));
  return (all as readonly { readonly type: string }[]).map(({ type }) => type);
};
/** Whatever has happened to plug-in and installer, a pod starts within so long, ms. */
const STARTS_WITHIN_MS = 60_000;

/** The plug-in has waited for a pod that starts now, which was served in its first millisecond. */
async function startsThroughUs(): Promise<void> {
  const [dawn] = await dawns.wave(api, 1);
  assert.partialDeepStrictEqual(dawn, { heard: "api", reached: 0 });
  assert.ok((dawn?.startMs ?? Number.NaN) < STARTS_WITHIN_MS, `it began after ${dawn?.startMs} ms`);
  console.log(`  a pod begins ${dawn?.startMs} ms after it was made`);
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

/** Of the programs of both nodes, which run as containers of theirs. */
function held(): Holdings {
  const all = processesOf(hierarchies(), plan);
  const sumOf = (program: "keeper" | "agent"): Holdings["agent"] => {
    const sum: Record<string, number> = {};
    for (const pid of all.filter((one) => isOrlop(one, program)))
      for (const [kind, count] of Object.entries(heldBy(pid))) sum[kind] = (sum[kind] ?? 0) + count;
    assert.ok(sum.threads !== undefined, `no ${program}`);
    return sum;
  };
  return { keeper: sumOf("keeper"), agent: sumOf("agent") };
}

const isOrlop = (pid: number, program: string): boolean => {
  const words = wordsOf(pid);
  return words.includes("/opt/orlop/agent/main.js") && words.includes(program);
};

/** The agent on the node of the pods. */
const agentPod = (): string => {
  const words = `-n orlop-system get pods -l app=orlop-agent --field-selector spec.nodeName=${near?.name} -o name`;
  return kubectl.run(words.split(" "));
};

/** Of the last minutes, what the agents of both nodes have logged about pods that saw what they should not. */
function logged(dawns: readonly Dawn[]): string {
  const agents = kubectl.run(["-n", "orlop-system", "get", "pods", "-l", "app=orlop-agent", "-o", "name"]).split("\n");
  const lines = agents.flatMap((name) =>
    kubectl.run(["-n", "orlop-system", "logs", name, "-c", "agent", "--since=5m"]).split("\n"),
  );
  const about = lines.filter((line) => dawns.some(({ name }) => line.includes(`"${name}"`)));
  return [JSON.stringify(dawns), ...about.slice(0, SHOWN_LINES)].join("\n");
}

/** Each pod of the mesh was answered by its first call, and nobody from outside has reached it. */
function assertServed(dawns: readonly Dawn[]): void {
  const others = dawns.filter(({ heard, reached }) => heard !== "api" || reached > 0);
  assert.equal(others.length, 0, others.length > 0 ? logged(others) : "");
}

/** Of the pods that have begun under a guard without the plug-in, how many had only their first process when the guard was put. */
function begun(): string {
  const [, name = ""] = agentPod().split("/");
  const url = `http://${addressOf("orlop-system", name)}:15020/metrics`;
  const page = inNode(near, [process.execPath, "-e", `fetch("${url}").then((r) => r.text()).then(console.log)`]);
  const rows = [...page.matchAll(/^orlop_pods_begun_total\{guarded="(.+)"\} (\d+)$/gm)];
  assert.equal(rows.length, 3, page);
  return rows.map(([, how, count]) => `${how} ${count}`).join(", ");
}

/** Of maps of the kernel that name pods, and their links, on the node of the pods. */
function entries(): string {
  const get = ["-n", "orlop-system", "exec", agentPod(), "-c", "agent", "--", "orlop", "get", "bpf"];
  type Item = { readonly type: string; readonly name: string; readonly entries?: number };
  const { items } = JSON.parse(kubectl.run([...get, "-o", "json"])) as { readonly items: readonly Item[] };
  return ["pod_by_netns", "pod_by_ip", "inbound_socket", "in_by_port"]
    .map((name) => `${name} ${items.find((item) => item.type === "map" && item.name === name)?.entries}`)
    .join(", ");
}

let api: Turn = { namespace: "shop", target: { address: "", port: API } };
let open: Turn = { namespace: "legacy", target: { address: "", port: OPEN } };

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
    podObject("legacy", "open-0", far.name, ["serve", `${OPEN}`, "open"]),
  ]);
  const prefix = near.pods.ip4.split(".").slice(0, 3).join(".");
  create([podObject("legacy", "knock-0", far.name, ["knock", `${DAWN_PORT}`, prefix, "2", "250"])]);
  kubectl.run(["-n", "shop", "wait", "pod/api-0", "--for=condition=Ready", WAIT]);
  kubectl.run(["-n", "legacy", "wait", "pod/knock-0", "pod/open-0", "--for=condition=Ready", WAIT]);
  api = { ...api, target: { address: addressOf("shop", "api-0"), port: API } };
  open = { ...open, target: { address: addressOf("legacy", "open-0"), port: OPEN } };
  for (const { address, port } of [api.target, open.target])
    inNode(near, ["iptables", "-w", "-I", "FORWARD", "1", "-p", "tcp", "--dport", `${port}`, "-d", address]);
  const without = await dawns.wave(api, WITHOUT);
  const unserved = without.filter(({ heard }) => heard !== "api").length;
  const reached = without.reduce((sum, dawn) => sum + dawn.reached, 0);
  console.log(`without the plug-in, guards that were put: ${begun()}`);
  console.log(
    `without the plug-in: ${forwarded(API)} packets around the mesh, ${reached} connections let in, ${unserved} of ${WITHOUT} pods not served`,
  );
});

test(`of ${STARTS} pods that listen and dial in their first millisecond none goes around the mesh, and each is served`, async () => {
  await page.run(section);
  assert.deepEqual(plugins(), ["bridge", "portmap", PLUGIN]);
  const before = forwarded(API);
  const [inMesh = [], outside = []] = await dawns.inTurns([api, open], STARTS, PACE);
  // These count as they should: by pods outside of the mesh.
  assert.ok(forwarded(OPEN) > outside.length);
  assert.deepEqual(
    outside.filter(({ heard }) => heard !== "open"),
    [],
  );
  assert.ok(outside.filter(({ reached }) => reached > 0).length > outside.length / 2);
  assert.equal(forwarded(API), before, "packets around the mesh");
  assertServed(inMesh);
  assert.deepEqual(failedStarts(), []);
  const waited = waits();
  assert.ok(waited.length >= STARTS, `the plug-in has waited for ${waited.length} pods`);
  console.log(
    `with the plug-in: 0 packets around the mesh, 0 connections let in, ${inMesh.length} pods served, 0 failed to start`,
  );
  say("in the mesh", inMesh);
  say("outside of it, in turns", outside);
  console.log(`  the plug-in has waited for the capture ${quantiles(waited)}`);
  sayAdded(
    inMesh.map(({ startMs }, at) => ({ inMesh: startMs, outside: outside[at]?.startMs ?? Number.NaN })),
    PACE,
  );
});

test(`${CROWDS} times ${CROWD} pods of the mesh and ${STRANGERS} others at once: served and refused, and nothing of them is left`, async () => {
  const [before, rows] = [held(), entries()];
  const began = performance.now();
  for (let round = 0; round < CROWDS; round += 1) {
    const [served, refused] = await Promise.all([
      dawns.wave(api, CROWD),
      dawns.wave({ namespace: "legacy", target: api.target }, STRANGERS),
    ]);
    assertServed(served);
    // STRICT, and the address of a stranger may have been that of a pod of the mesh in the round before.
    assert.deepEqual(
      refused.filter(({ heard }) => heard !== "nothing"),
      [],
    );
    say(`${CROWD} at once`, served);
  }
  const pods = CROWDS * (CROWD + STRANGERS);
  console.log(`${pods} pods added and deleted in ${Math.round((performance.now() - began) / 1_000)} s`);
  console.log(`  attempts that the container runtime had to make again: ${failedStarts().length}`);
  await until("entries as before", () => entries() === rows);
  await noMoreThan(held, before);
});

test("the installer is killed: its configuration stays, and pods start through it", async () => {
  const installers = processesOf(hierarchies(), plan).filter((pid) => isOrlop(pid, "cni"));
  assert.equal(installers.length, plan.nodes.length);
  for (const pid of installers) process.kill(pid, "SIGKILL");
  assert.ok(plugins().includes(PLUGIN));
  await startsThroughUs();
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
  await startsThroughUs();
});

test("the namespace is deleted while pods start in it: pods of another, and of its successor, start", async () => {
  const commands = ["dawn", `${DAWN_PORT}`, api.target.address, `${API}`];
  kubectl.run(["create", "namespace", "bank"]);
  kubectl.run(["label", "namespace", "bank", "orlop.dev/dataplane-mode=ambient"]);
  create(Array.from({ length: 3 }, (_, at) => podObject("bank", `gone-${at}`, near.name, commands)));
  kubectl.run(["delete", "namespace", "bank", WAIT]);
  await startsThroughUs();
  kubectl.run(["create", "namespace", "bank"]);
  kubectl.run(["label", "namespace", "bank", "orlop.dev/dataplane-mode=ambient"]);
  create([podObject("bank", "again-0", near.name, commands)]);
  kubectl.run([
    "-n",
    "bank",
    "wait",
    "pod/again-0",
    "--for=jsonpath={.status.phase}=Succeeded",
    `--timeout=${STARTS_WITHIN_MS / 1_000}s`,
  ]);
});

test("with its manifest the plug-in goes from every node, though its rights go at the same time, and pods start without it", async () => {
  kubectl.run(["delete", "-f", path.join(folder, "daemonset/cni.yaml")]);
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
  await dawns.wave(api, 1);
  assert.equal(wasAskedFor(), false);
});
