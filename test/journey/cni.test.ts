// The CNI plug-in on a node with `source: kubernetes`: a network namespace without a process is captured before the plug-in ends, or let
// go, as the API says what the pod is; and what the installer writes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { OWN_CONFLIST, PLUGIN } from "../../agent/cni/conflist.ts";
import { startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Node } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import { type ApiChange, ClusterApi, runningPod } from "../support/cluster-api.ts";

const DEADLINE_MS = 60_000;
const plugin = fileURLToPath(new URL("../../build/orlop-cni", import.meta.url));
const PASSED = { status: 0, said: '{"ips":[]}' };

let cluster: Cluster;
let node: Node;
let api: ClusterApi;
let program: Running | undefined;
const ends: (() => Promise<void>)[] = [];

before(async () => {
  cluster = await createCluster({
    nodes: [{ name: "node-a", pods: [{ name: "web" }] }],
    nodeConfig: "  dataThreads: 1\n",
  });
  node = cluster.node("node-a");
  api = new ClusterApi(cluster, node);
  const labels = { "orlop.dev/dataplane-mode": "ambient" };
  await api.start([
    { kind: "Namespace", namespace: "", name: "demo", body: { metadata: { labels } } },
    { kind: "PeerAuthentication", namespace: "demo", name: "all", body: { spec: { mtls: { mode: "STRICT" } } } },
    ...node.pods.map((pod) => runningPod(pod, [pod.ip4, pod.ip6])),
  ]);
  program = (await startMesh(cluster)).get(node.name);
  writeFileSync(path.join(cluster.dir, "namespaces"), "orlop namespaces 1\ndemo\nshop\nend\n");
});
after(async () => {
  for (const end of ends) await end();
  await cluster?.close();
});

/** A pod that the API has bound to the node, and that has no address yet. */
const bound = (name: string, label: "ambient" | "none"): ApiChange => ({
  ...{ kind: "Pod", namespace: "demo", name },
  body: {
    metadata: { uid: `uid-${name}`, labels: { "orlop.dev/dataplane-mode": label } },
    spec: { nodeName: node.name, containers: [{ name: "app" }] },
    status: { phase: "Pending" },
  },
});

type Holder = { readonly pid: number; end(): Promise<void> };

/** A network namespace with an address, whose only process is no pod's. */
async function namespaceWith(ip4: string): Promise<Holder> {
  const made = `ip link set lo up && ip link add eth0 type bridge && ip addr add ${ip4}/24 dev eth0 && ip link set eth0 up`;
  const script = `${made} && echo made && exec sleep 600`;
  const child = spawn("unshare", ["--net", "sh", "-c", script], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const end = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
  };
  ends.push(end);
  await Promise.race([once(child.stdout, "data"), ended]);
  if (child.exitCode !== null || child.pid === undefined) throw new Error("no namespace was made");
  return { pid: child.pid, end };
}

/** As the container runtime calls it. */
async function run(command: "ADD" | "DEL", name: string, { pid }: Pick<Holder, "pid">, namespace = "demo") {
  const child = spawn(plugin, {
    env: {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: name, CNI_IFNAME: "eth0", CNI_NETNS: `/proc/${pid}/ns/net` },
      CNI_ARGS: `K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_UID=uid-${name}`,
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const status = once(child, "exit");
  const config = { cniVersion: "1.0.0", name: "box", type: "orlop-cni", prevResult: { ips: [] } };
  const ours = { socket: `${node.runDir}-keeper/cni.sock`, list: path.join(cluster.dir, "namespaces") };
  child.stdin.end(JSON.stringify({ ...config, ...ours }));
  const said = await text(child.stdout);
  return { status: (await status)[0] as number, said: said.trim() };
}

const captured = (wanted: number): Promise<true> =>
  until(`${wanted} pods captured`, DEADLINE_MS, async () => {
    const { pods } = await view(node, "status");
    return pods.captured === wanted ? true : undefined;
  });
const keeperSays = (word: string): Promise<true> =>
  until(word, DEADLINE_MS, () => (program?.stderr.includes(word) ? true : undefined));

const read = (file: string): string => (existsSync(file) ? readFileSync(file, "utf8") : "");

describe("its installer", () => {
  const daemonSet = (body: object | null): ApiChange => ({
    ...{ kind: "DaemonSet", namespace: "orlop-system", name: "orlop-cni" },
    body,
  });
  const at = (name: string): string => path.join(cluster.dir, "cni", name);
  const conflist = (): string => at(`net.d/${OWN_CONFLIST}`);
  const list = (): string => read(at("state/namespaces"));
  const start = (): Running => node.orlop(["cni", "-c", at("installer.yaml")]);
  const stop = async (installer: Running): Promise<void> => {
    installer.kill("SIGTERM");
    assert.equal((await installer.wait(DEADLINE_MS)).status, 0);
  };

  test("chains the plug-in, keeps the list, takes nothing away when it ends, and all when its DaemonSet has gone, or its namespace goes", async () => {
    for (const name of ["net.d", "bin"]) mkdirSync(at(name), { recursive: true });
    const primary = { cniVersion: "1.0.0", name: "box", plugins: [{ type: "bridge" }] };
    writeFileSync(at("net.d/10-box.conflist"), JSON.stringify(primary));
    const directories = `confDir: ${at("net.d")}, binDir: ${at("bin")}, stateDir: ${at("state")}`;
    // The agent has the other port.
    const own = `  cni: { ${directories} }\n  ready: { port: 15121 }\n`;
    writeFileSync(at("installer.yaml"), `${readFileSync(node.configFile, "utf8")}${own}`);
    api.tell(daemonSet({}));
    const first = start();
    await until("a configuration", DEADLINE_MS, () => (read(conflist()) === "" ? undefined : true));
    const plugins = JSON.parse(read(conflist())).plugins as readonly { readonly type: string }[];
    assert.deepEqual(
      plugins.map(({ type }) => type),
      ["bridge", PLUGIN],
    );
    assert.deepEqual(plugins[1], {
      ...{ type: PLUGIN, socket: `${node.runDir}-keeper/cni.sock`, list: at("state/namespaces") },
      ...{ withoutList: "pass", exempt: ["orlop-system"] },
    });
    assert.deepEqual(readFileSync(at(`bin/${PLUGIN}`)), readFileSync(plugin));
    assert.equal(list(), "orlop namespaces 1\ndemo\nend\n");
    const labelled = (labels: object): ApiChange => ({
      ...{ kind: "Namespace", namespace: "", name: "bank", body: { metadata: { labels } } },
    });
    api.tell(labelled({ "orlop.dev/dataplane-mode": "ambient" }));
    await until("a longer list", DEADLINE_MS, () => (list().includes("bank\n") ? true : undefined));
    api.tell(labelled({}));
    await until("the list as it was", DEADLINE_MS, () => (list().includes("bank\n") ? undefined : true));
    await stop(first);
    assert.ok(existsSync(conflist()));
    const second = start();
    const gone = (): Promise<true> =>
      until("nothing of it", DEADLINE_MS, () =>
        existsSync(conflist()) || existsSync(at(`bin/${PLUGIN}`)) ? undefined : true,
      );
    api.tell(daemonSet(null));
    await gone();
    assert.deepEqual(readdirSync(at("net.d")), ["10-box.conflist"]);
    api.tell(daemonSet({}));
    await until("a configuration", DEADLINE_MS, () => (existsSync(conflist()) ? true : undefined));
    const metadata = { deletionTimestamp: "2026-01-01T00:00:00Z" };
    api.tell({ kind: "Namespace", namespace: "", name: "orlop-system", body: { metadata } });
    await gone();
    await stop(second);
  });
});

describe("the CNI plug-in", () => {
  test("a pod without a process is captured before the plug-in ends, and stays so with its first process", async () => {
    const holder = await namespaceWith("10.90.1.90");
    api.tell(bound("early", "ambient"));
    assert.deepEqual(await run("ADD", "early", holder), PASSED);
    await captured(2);
    mkdirSync(path.join(node.podsCgroup, "poduid-early"));
    writeFileSync(path.join(node.podsCgroup, "poduid-early", "cgroup.procs"), String(holder.pid));
    await captured(2);
    await holder.end();
    assert.deepEqual(await run("DEL", "early", holder), { status: 0, said: "" });
    await captured(1);
    api.tell({ ...bound("early", "ambient"), body: null });
  });

  test("a pod that the API has not named yet waits until it does", async () => {
    const holder = await namespaceWith("10.90.1.91");
    const adding = run("ADD", "late", holder);
    await keeperSays("uid-late");
    api.tell(bound("late", "ambient"));
    assert.deepEqual(await adding, PASSED);
    await captured(2);
    assert.deepEqual(await run("DEL", "late", holder), { status: 0, said: "" });
    await captured(1);
    api.tell({ ...bound("late", "ambient"), body: null });
  });

  test("a pod that does not belong to the mesh passes, and is not captured", async () => {
    const holder = await namespaceWith("10.90.1.92");
    const adding = run("ADD", "other", holder);
    await keeperSays("uid-other");
    api.tell(bound("other", "none"));
    assert.deepEqual(await adding, PASSED);
    await captured(1);
  });

  test("a pod that was made after its namespace's label is captured, also where the agent's watch sees the pod first", async () => {
    const namespace = (labels: object): ApiChange => ({
      ...{ kind: "Namespace", namespace: "", name: "shop", body: { metadata: { labels } } },
    });
    const pod = { ...bound("first", "ambient"), namespace: "shop" };
    const body = { ...pod.body, metadata: { uid: "uid-first", labels: {} } };
    api.tell(namespace({}));
    api.hold("Namespace");
    api.tell(namespace({ "orlop.dev/dataplane-mode": "ambient" }));
    api.tell({ ...pod, body });
    // The mesh says by now that the pod is outside.
    await until("the pod known", DEADLINE_MS, async () => {
      const { items } = await view(node, "workloads");
      return items.some(({ name, capture }) => name === "first" && capture === "not-enrolled") ? true : undefined;
    });
    const holder = await namespaceWith("10.90.1.93");
    let hasEnded = false;
    const adding = run("ADD", "first", holder, "shop").then((ended) => {
      hasEnded = true;
      return ended;
    });
    await keeperSays("uid-first");
    await sleep(1_500);
    assert.equal(hasEnded, false, "the plug-in was answered before the label was here");
    api.pass("Namespace");
    assert.deepEqual(await adding, PASSED);
    await captured(2);
  });
});
