// journey · pod starts through the CNI plug-in: how long it waits when pods of a node begin at once under STRICT, and what processor time
// keeper and agent need for each. A real keeper and agent, no kubelet: `node test/journey/cni-starts.ts [together] [rounds]`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { pidOf, startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { createCluster } from "../box/cluster.ts";
import { type ApiChange, ClusterApi, runningPod } from "../support/cluster-api.ts";

const [together = 10, rounds = 10] = process.argv.slice(2).map(Number);
const plugin = fileURLToPath(new URL("../../build/orlop-cni", import.meta.url));
const DEADLINE_MS = 60_000;
/** Clock ticks of /proc/<pid>/stat (USER_HZ), ms. */
const TICK_MS = 10;

const cluster = await createCluster({
  nodes: [{ name: "node-a", pods: [{ name: "web" }] }],
  nodeConfig: "  dataThreads: 1\n",
});
const node = cluster.node("node-a");
const api = new ClusterApi(cluster, node);

const podOf = (name: string, isThere: boolean): ApiChange => ({
  ...{ kind: "Pod", namespace: "demo", name },
  body: isThere
    ? {
        metadata: { uid: `uid-${name}`, labels: {} },
        spec: { nodeName: node.name, containers: [{ name: "app" }] },
        status: { phase: "Pending" },
      }
    : null,
});

async function namespaceWith(ip4: string) {
  const made = `ip link set lo up && ip link add eth0 type bridge && ip addr add ${ip4}/24 dev eth0 && ip link set eth0 up`;
  const child = spawn("unshare", ["--net", "sh", "-c", `${made} && echo made && exec sleep 600`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

/** As the container runtime calls it; how long it took, ms. */
async function call(command: "ADD" | "DEL", name: string, pid: number): Promise<number> {
  const began = performance.now();
  const child = spawn(plugin, {
    env: {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: name, CNI_IFNAME: "eth0", CNI_NETNS: `/proc/${pid}/ns/net` },
      CNI_ARGS: `K8S_POD_NAMESPACE=demo;K8S_POD_NAME=${name};K8S_POD_UID=uid-${name}`,
    },
    stdio: ["pipe", "ignore", "inherit"],
  });
  const ours = { socket: `${node.runDir}-keeper/cni.sock`, list: path.join(cluster.dir, "namespaces") };
  child.stdin.end(JSON.stringify({ cniVersion: "1.0.0", name: "box", type: "orlop-cni", prevResult: {}, ...ours }));
  const [status] = (await once(child, "exit")) as [number];
  if (status !== 0) throw new Error(`${command} of ${name} failed`);
  return performance.now() - began;
}

/** Processor time of a program of the node so far, ms. */
function usedMs(program: "agent" | "keeper"): number {
  const stat = readFileSync(`/proc/${pidOf(node, program)}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

const captured = (wanted: number): Promise<true> =>
  until(`${wanted} pods captured`, DEADLINE_MS, async () =>
    (await view(node, "status")).pods.captured === wanted ? true : undefined,
  );

function say(what: string, values: readonly number[]): void {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(1);
  console.log(`${what}: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms of ${sorted.length}`);
}

/** By the keeper's log. */
function captureTimes(log: string): readonly number[] {
  const begun = new Map<string, number>();
  const found: number[] = [];
  for (const line of log.split("\n").filter((text) => text.startsWith("{"))) {
    const { message, pod, time } = JSON.parse(line) as Record<"message" | "pod" | "time", string>;
    if (message === "a pod begins") begun.set(pod, Date.parse(time));
    const since = message === "captured" ? begun.get(pod) : undefined;
    if (since !== undefined && begun.delete(pod)) found.push(Date.parse(time) - since);
  }
  return found;
}

try {
  const labels = { "orlop.dev/dataplane-mode": "ambient" };
  await api.start([
    { kind: "Namespace", namespace: "", name: "demo", body: { metadata: { labels } } },
    { kind: "PeerAuthentication", namespace: "demo", name: "all", body: { spec: { mtls: { mode: "STRICT" } } } },
    ...node.pods.map((pod) => runningPod(pod, [pod.ip4, pod.ip6])),
  ]);
  const program = (await startMesh(cluster)).get(node.name);
  writeFileSync(path.join(cluster.dir, "namespaces"), "orlop namespaces 1\ndemo\nend\n");
  const waits: number[] = [];
  const used = { agent: 0, keeper: 0 };
  for (let round = 0; round < rounds; round++) {
    const names = Array.from({ length: together }, (_, at) => `start-${round}-${at}`);
    const holders = await Promise.all(
      names.map((_, at) => namespaceWith(`10.90.${1 + (at >> 7)}.${100 + (at & 127)}`)),
    );
    for (const name of names) api.tell(podOf(name, true));
    // The scheduler binds a pod some 100 ms before its sandbox is made.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = { agent: usedMs("agent"), keeper: usedMs("keeper") };
    waits.push(...(await Promise.all(names.map((name, at) => call("ADD", name, holders[at]?.pid ?? 0)))));
    for (const program of ["agent", "keeper"] as const) used[program] += usedMs(program) - before[program];
    await captured(1 + together);
    for (const [at, name] of names.entries()) {
      await call("DEL", name, holders[at]?.pid ?? 0);
      api.tell(podOf(name, false));
    }
    for (const holder of holders) holder.kill("SIGKILL");
    await captured(1);
  }
  say(`${together} pods at once, from the plug-in's start to its end`, waits);
  say("of that, from the keeper's first word to the capture", captureTimes(program?.stderr ?? ""));
  const each = (ms: number): string => (ms / waits.length).toFixed(1);
  console.log(`processor time of a start: keeper ${each(used.keeper)} ms, agent ${each(used.agent)} ms`);
} finally {
  await cluster.close();
}
