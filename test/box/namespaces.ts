// test box · the namespaces of a cluster in a box: made, joined by veth, each set up by its own shell, which then stays.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import type { BoxDirs } from "./host.ts";
import { nodeLines, outsideLines, podLines, vethLine, wireLines } from "./network.ts";
import { type Place, type Running, startNamespace, tail } from "./process.ts";

/** `index` counts from 1: nodes in the cluster, pods on their node. */
export type PodPlan = { readonly name: string; readonly index: number; readonly uid: string };
export type NodePlan = { readonly name: string; readonly index: number; readonly pods: readonly PodPlan[] };

/** Mounted only in the node's own mount namespace, so pins vanish with it. */
export const bpffsOf = (box: BoxDirs, node: string): string => path.join(box.runDir, node, "bpf");
export const podsCgroupOf = (box: BoxDirs, node: string): string => path.join(box.cgroup, node, "pods");

const START_DEADLINE_MS = 20_000;

type Kind = "wire" | "outside" | "node" | "pod";
type Namespace = { readonly kind: Kind; readonly place: Place; readonly holder: Running };

/** Makes everything; resolves to the places by name. Nodes, pods, `wire` and `outside` share one set of names. */
export async function makeNamespaces(box: BoxDirs, nodes: readonly NodePlan[]): Promise<ReadonlyMap<string, Place>> {
  const all = new Map<string, Namespace>();
  const hold = (kind: Kind, name: string, cgroup: string): void => {
    if (all.has(name)) throw new Error(`two things in the cluster are called ${name}`);
    mkdirSync(cgroup, { recursive: true });
    const mounts = kind === "node";
    const holder = startNamespace(name, cgroup, mounts);
    all.set(name, { kind, holder, place: { name, pid: holder.pid, cgroup, mounts } });
  };
  hold("wire", "wire", path.join(box.cgroup, "wire"));
  hold("outside", "outside", path.join(box.cgroup, "outside"));
  for (const node of nodes) {
    mkdirSync(bpffsOf(box, node.name), { recursive: true });
    mkdirSync(podsCgroupOf(box, node.name), { recursive: true });
    hold("node", node.name, path.join(box.cgroup, node.name, "orlop"));
    // As Kubernetes lays it out with cgroupfs: the keeper finds a pod by this name.
    for (const pod of node.pods) hold("pod", pod.name, path.join(podsCgroupOf(box, node.name), `pod${pod.uid}`));
  }
  await Promise.all([...all.values()].map(({ holder }) => holder.line(START_DEADLINE_MS, (line) => line === "up")));
  joinByVeth(all, nodes);

  const set = (name: string, lines: readonly string[], before = ""): Promise<string> => {
    const { holder } = found(all, name);
    holder.write(
      `${noDad}${before}ip -batch - <<'LINES'\n${lines.join("\n")}\nLINES\necho ready\nexec sleep infinity\n`,
    );
    return holder.line(START_DEADLINE_MS, (line) => line === "ready");
  };
  // From the leaves to the wire: a bridge port can be set to forward only once its peer is up.
  await Promise.all([
    set("outside", outsideLines(nodes.length)),
    ...nodes.flatMap((node) => node.pods.map((pod) => set(pod.name, podLines(node.index, pod.index)))),
  ]);
  await Promise.all(
    nodes.map((node) => {
      const ports = node.pods.map((pod) => `pod${pod.index}`);
      const bpffs = `mount -t bpf bpf '${bpffsOf(box, node.name)}'\n`;
      return set(node.name, nodeLines(node.index, nodes.length, ports), bpffs + forward);
    }),
  );
  await set("wire", wireLines(["outside", ...nodes.map((node) => `node${node.index}`)]));
  return new Map([...all].map(([name, { place }]) => [name, place]));
}

/** Both ends appear straight in their namespaces: the machine's own never sees a name or an address of ours. */
function joinByVeth(all: ReadonlyMap<string, Namespace>, nodes: readonly NodePlan[]): void {
  const end = (namespace: string, name: string) => ({ pid: found(all, namespace).place.pid, name });
  const lines = [vethLine(end("wire", "outside"), end("outside", "eth0"))];
  for (const node of nodes) {
    lines.push(vethLine(end("wire", `node${node.index}`), end(node.name, "eth0")));
    for (const pod of node.pods) lines.push(vethLine(end(node.name, `pod${pod.index}`), end(pod.name, "eth0")));
  }
  const done = spawnSync("ip", ["-batch", "-"], { input: lines.join("\n"), encoding: "utf8" });
  if (done.status !== 0) throw new Error(`ip link add: ${done.error?.message ?? tail(done.stderr)}`);
}

function found<T>(all: ReadonlyMap<string, T>, name: string): T {
  const place = all.get(name);
  if (place === undefined) throw new Error(`the cluster has no ${name}`);
  return place;
}

/** Duplicate address detection would hold up the first second of every address; here all of them are ours. */
const noDad = 'for dad in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 > "$dad"; done\n';
const forward = "echo 1 > /proc/sys/net/ipv4/ip_forward\necho 1 > /proc/sys/net/ipv6/conf/all/forwarding\n";
