// test cluster · starts a Kubernetes cluster on this machine and takes it away: control plane and nodes in namespaces of their own.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { vethLine } from "../box/network.ts";
import { tail } from "../box/process.ts";
import { ask, readyNodes } from "./api.ts";
import { makeCertificates } from "./certificates.ts";
import { hierarchies, makeCgroups, removeCgroups } from "./cgroups.ts";
import { imageArchive, tar } from "./image.ts";
import { API_PORT, type ClusterPlan, kubeconfigOf, type NodePlan, POD_IMAGE, staticPodsOf } from "./plan.ts";
import { Programs, type Started } from "./processes.ts";
import * as programs from "./programs.ts";
import { cgroupOf, controlScript, nodeScript } from "./scripts.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
/** Of the package containernetworking-plugins. */
const DEBIAN_PLUGINS = "/usr/lib/cni";
const START_DEADLINE_MS = 180_000;
const SHORT_DEADLINE_MS = 120_000;
/** Cgroup of the control plane, and of a node's own programs below the node's. */
const CONTROL = "control";
const systemOf = (node: NodePlan): string => `${node.name}/system`;
/** The kubelet has a cgroup to itself, as a unit of systemd has: by it Orlop lets its probes in. */
export const kubeletOf = (node: NodePlan): string => `${node.name}/kubelet`;

type Progress = (done: string) => void;

/**
 * Resolves when every node is Ready and pods can be made. On failure the processes and cgroups are removed; the logs stay for
 * the operator until `stopCluster`.
 * @param makeImages makes archives of images that the nodes get beside that of the pods (image.ts), while etcd and API server start
 * @throws Error when a cluster of that name is there, or with what did not start
 */
export async function startCluster(
  plan: ClusterPlan,
  binaries: programs.Binaries,
  progress: Progress,
  makeImages: () => readonly string[] = () => [],
): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("a cluster needs root: it makes namespaces and cgroups");
  if (existsSync(plan.dir)) throw new Error(`${plan.dir} is there: a cluster of that name was started before`);
  mkdirSync(plan.dir, { recursive: true, mode: 0o700 });
  const all = hierarchies();
  try {
    for (const part of [CONTROL, ...plan.nodes.flatMap((node) => [systemOf(node), kubeletOf(node)])])
      makeCgroups(all, plan, part);
    await start(plan, { ...binaries, makeImages }, new Programs(plan, all), progress);
  } catch (error) {
    await removeCgroups(all, plan);
    throw error;
  }
}

/** Ends every process of the cluster; namespaces and mounts go with the last of them. Idempotent. */
export async function stopCluster(plan: ClusterPlan): Promise<void> {
  await removeCgroups(hierarchies(), plan);
  rmSync(plan.dir, { recursive: true, force: true });
  try {
    rmdirSync(path.dirname(plan.dir));
  } catch {
    // Another cluster lies there, or none ever did.
  }
}

type Contents = programs.Binaries & { readonly makeImages: () => readonly string[] };

async function start(plan: ClusterPlan, binaries: Contents, all: Programs, progress: Progress): Promise<void> {
  const pod = compilePod(plan);
  const { control, nodes } = await makeNamespaces(plan, all, pod);
  const inControl = { part: CONTROL, namespaceOf: control };
  const door = await openDoor();
  makeCertificates(plan, door.port);
  all.start(
    "doorway",
    inControl,
    [process.execPath, path.join(here, "doorway.ts"), plan.control.ip4, String(API_PORT)],
    door.fd,
  );
  door.close();
  progress("namespaces and certificates");

  all.start("etcd", inControl, programs.etcdArgv(plan, binaries));
  all.start("apiserver", inControl, programs.apiServerArgv(plan, binaries));
  const archives = [archiveOf(plan, pod), ...binaries.makeImages()];
  for (const { node, holder } of nodes) {
    layOutCni(node);
    mkdirSync(staticPodsOf(node));
    writeFileSync(path.join(node.dir, "containerd.toml"), programs.containerdConfig());
    writeFileSync(path.join(node.dir, "kubelet.yaml"), programs.kubeletConfig(plan, node));
    all.start(`${node.name}-containerd`, inside(node, holder), programs.containerdArgv(node));
  }
  for (const { node, holder } of nodes) {
    const socket = path.join(node.dir, programs.CONTAINERD_SOCKET);
    await all.until(`containerd of ${node.name}`, SHORT_DEADLINE_MS, () => existsSync(socket));
    for (const archive of archives) all.run(inside(node, holder), programs.importArgv(archive), SHORT_DEADLINE_MS);
  }
  progress("containerd, with the images of the pods");

  const answers = async (url: string): Promise<boolean> => (await ask(kubeconfigOf(plan), url)).status === 200;
  await all.until("the API server", START_DEADLINE_MS, () => answers("/readyz"));
  progress("etcd and API server");

  all.start("controller-manager", inControl, programs.controllerManagerArgv(plan, binaries));
  all.start("scheduler", inControl, programs.schedulerArgv(plan, binaries));
  all.start("dns", inControl, programs.dnsArgv(plan));
  for (const { node, holder } of nodes) {
    all.start(
      `${node.name}-kubelet`,
      { ...inside(node, holder), part: kubeletOf(node) },
      programs.kubeletArgv(plan, node, binaries),
    );
    all.start(`${node.name}-proxy`, inside(node, holder), programs.proxyArgv(plan, node, binaries));
  }
  await all.until("all nodes Ready", START_DEADLINE_MS, async () => {
    const { status, body } = await ask(kubeconfigOf(plan), "/api/v1/nodes");
    return status === 200 && readyNodes(body).length === plan.nodes.length;
  });
  progress(`${plan.nodes.map(({ name }) => name).join(", ")} Ready`);
  const account = "/api/v1/namespaces/default/serviceaccounts/default";
  await all.until("the default service account", START_DEADLINE_MS, () => answers(account));
}

/** Each node has plug-ins and configurations of its own, which an installer may change. */
function layOutCni(node: NodePlan): void {
  const { confDir, binDir } = programs.cniDirectories;
  for (const dir of [confDir, binDir]) mkdirSync(path.join(node.dir, dir), { recursive: true });
  writeFileSync(path.join(node.dir, confDir, "10-cluster.conflist"), programs.cniConfig(node));
  for (const name of readdirSync(DEBIAN_PLUGINS))
    symlinkSync(path.join(DEBIAN_PLUGINS, name), path.join(node.dir, binDir, name));
}

type Holders = {
  readonly control: Started;
  readonly nodes: readonly { readonly node: NodePlan; readonly holder: Started }[];
};

const inside = (node: NodePlan, holder: Started) => ({ part: systemOf(node), namespaceOf: holder, mounts: true });

/** A process that only waits holds each set of namespaces; links between them appear straight in place. */
async function makeNamespaces(plan: ClusterPlan, all: Programs, pod: string): Promise<Holders> {
  const hold = (name: string, part: string, flags: readonly string[]): Started =>
    all.start(`${name}-holder`, { part }, ["unshare", ...flags, pod, "pause"]);
  const control = hold("control", CONTROL, ["--net"]);
  const starting = plan.nodes.map((node) => {
    mkdirSync(node.dir, { recursive: true });
    // The cgroup namespace's root is the cgroup of its first process, so that process starts in the node's own directory.
    const flags = ["--net", "--mount", "--cgroup", "--propagation", "private", "--pid", "--fork", "--mount-proc"];
    return { node, outside: hold(node.name, node.name, flags) };
  });
  const isPaused = (pid: number | undefined): pid is number =>
    pid !== undefined && readFileSync(`/proc/${pid}/comm`, "utf8").trim() === path.basename(pod);
  await all.until(
    "namespaces",
    SHORT_DEADLINE_MS,
    () => isPaused(control.pid) && starting.every(({ outside }) => isPaused(childOf(outside.pid))),
  );
  const nodes = starting.map(({ node, outside }) => ({
    node,
    holder: { ...outside, pid: childOf(outside.pid) ?? outside.pid },
    outside: outside.pid,
  }));
  // A v2 directory that has processes of its own gives no controllers to those below it.
  for (const { node, holder, outside } of nodes)
    for (const hierarchy of hierarchies())
      for (const pid of [outside, holder.pid])
        writeFileSync(path.join(cgroupOf(hierarchy, plan, systemOf(node)), "cgroup.procs"), String(pid));
  const lines = nodes.map(({ node, holder }) =>
    vethLine({ pid: control.pid, name: node.name }, { pid: holder.pid, name: "eth0" }),
  );
  const linked = spawnSync("ip", ["-batch", "-"], { input: lines.join("\n"), encoding: "utf8" });
  if (linked.status !== 0) throw new Error(`ip link add: ${linked.error?.message ?? tail(linked.stderr)}`);
  all.run({ part: CONTROL, namespaceOf: control }, ["sh", "-c", `set -e\n${controlScript(plan)}`], SHORT_DEADLINE_MS);
  for (const { node, holder } of nodes)
    all.run(inside(node, holder), ["sh", "-c", nodeScript(plan, node, hierarchies())], SHORT_DEADLINE_MS);
  return { control, nodes };
}

/** The first child of a process; undefined: it has none, or has ended. */
function childOf(pid: number): number | undefined {
  try {
    const [child = ""] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
    return child === "" ? undefined : Number(child);
  } catch {
    return undefined; // It has ended.
  }
}

/** A listening socket on the machine's loopback, to be handed to a process of the control plane's namespace. */
async function openDoor(): Promise<{ readonly port: number; readonly fd: number; close(): void }> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  // Node hands descriptors to children by number, and names the number of a socket nowhere in its documented interface.
  const { fd } = (server as unknown as { readonly _handle: { readonly fd: number } })._handle;
  if (typeof address !== "object" || address === null || fd < 0) throw new Error("no listening socket on loopback");
  return { port: address.port, fd, close: () => void server.close() };
}

/** The program of the pods, which is also process 1 of each node: it waits, and reaps what was left to it. */
function compilePod(plan: ClusterPlan): string {
  const program = path.join(plan.dir, "pod");
  const words = ["-static", "-Os", "-s", "-o", program, path.join(here, "pod.c")];
  const done = spawnSync("gcc", words, { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`gcc ${words.join(" ")}: ${done.error?.message ?? tail(done.stderr)}`);
  return program;
}

function archiveOf(plan: ClusterPlan, pod: string): string {
  const archive = path.join(plan.dir, "pod.tar");
  const layer = tar([{ name: "pod", data: readFileSync(pod), mode: 0o755 }]);
  writeFileSync(archive, imageArchive(POD_IMAGE, layer, { Cmd: ["/pod", "pause"], Env: ["PATH=/"] }));
  return archive;
}
