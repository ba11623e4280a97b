// bench · what a pass over all pods of a node costs the keeper: 110 pods with 10,000 joined connections among them, and a
// mesh that turns STRICT, so that everything is judged again and nothing has to end.
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { version } from "../../agent/process/version.ts";
import { pidOf, startMesh } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Pod } from "../../test/box/cluster.ts";
import { type Running, tail } from "../../test/box/process.ts";
import type { Figures } from "../figures/pairs.ts";
import { startLoad } from "../load/load.ts";
import { podsOf, SERVER_PORT, startSink } from "../world/world.ts";
import { type Scenario, unknownPeer } from "./scenario.ts";

const PODS = 110;
const CONNECTIONS = 10_000;
/** Pods of the other side, which is Orlop too, with a tenth of the connections. */
const FEW = 11;
const SELF = `orlop-${FEW}`;

const PASSES = 5;
const READY_MS = 120_000;
/** Longer than a change takes until it is in force everywhere, its sweeps included. */
const SETTLE_MS = 1_500;

type Node = {
  readonly cluster: Cluster;
  readonly keeper: number;
  readonly holders: readonly Running[];
};

function meshText(pods: readonly Pod[], mode: "STRICT" | "PERMISSIVE"): string {
  return [
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: bench, labels: {orlop.dev/dataplane-mode: ambient}}\n",
    ...pods.map(
      ({ name, uid, ip4, ip6, node }) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: bench, uid: ${uid}}
spec: {addresses: ["${ip4}", "${ip6}"], node: ${node}, serviceAccount: ${name}}
`,
    ),
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: mode, namespace: bench}
spec: {mtls: {mode: ${mode}}}
`,
  ].join("---\n");
}

async function openNode(count: number, connections: number): Promise<Node> {
  const names = Array.from({ length: count }, (_, at) => `pod-${at}`);
  const cluster = await createCluster({
    nodes: [{ name: "node-a", pods: podsOf(names) }],
    nodeConfig: "  dataThreads: 1\n",
  });
  try {
    const node = cluster.node("node-a");
    cluster.writeMesh(meshText(node.pods, "PERMISSIVE"));
    await Promise.all([
      startMesh(cluster, READY_MS),
      ...node.pods.map((pod) => startSink(pod, "0.0.0.0", SERVER_PORT)),
    ]);
    const each = Math.ceil(connections / count);
    const holders: Running[] = [];
    for (const [at, pod] of node.pods.entries()) {
      const next = node.pods[(at + 1) % count] ?? pod;
      const plan = { mode: "idle", connections: each, seconds: 1, warmup: 0, watch: [] } as const;
      const holder = startLoad(pod, { host: next.ip4, port: SERVER_PORT }, plan);
      holders.push(holder);
      await holder.line(READY_MS, (line) => line === "ready");
    }
    const keeper = pidOf(node, "keeper");
    if (keeper === undefined) throw new Error("the keeper is not running");
    return { cluster, keeper, holders };
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

/** Milliseconds of all threads of the keeper for a pass. */
async function measure({ cluster, keeper }: Node): Promise<Figures> {
  const { pods } = cluster.node("node-a");
  const idle = await cpuOf(keeper, () => sleep(SETTLE_MS));
  let busy = 0;
  for (let pass = 0; pass < PASSES; pass++) {
    busy += await cpuOf(keeper, async () => {
      cluster.writeMesh(meshText(pods, "STRICT"));
      await sleep(SETTLE_MS);
    });
    cluster.writeMesh(meshText(pods, "PERMISSIVE"));
    // In force at once, although it weakens: the file is renamed into place.
    await sleep(SETTLE_MS);
  }
  return { ms: busy / PASSES - idle };
}

async function cpuOf(pid: number, body: () => Promise<unknown>): Promise<number> {
  const before = cpuMs(pid);
  await body();
  return cpuMs(pid) - before;
}

function cpuMs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  const ns = readdirSync(folder).map((task) =>
    Number(readFileSync(`${folder}/${task}/schedstat`, "utf8").split(" ")[0]),
  );
  return ns.reduce((sum, count) => sum + count, 0) / 1e6;
}

/** Every connection must have lived through it: nothing was to end. */
async function close({ cluster, holders }: Node): Promise<void> {
  try {
    for (const holder of holders) holder.endInput();
    for (const holder of holders) {
      const { status, stdout, stderr } = await holder.wait(READY_MS);
      if (status !== 0) throw new Error(`connections ended that are allowed: ${tail(stderr) || tail(stdout)}`);
    }
  } finally {
    await cluster.close();
  }
}

const open: Scenario["open"] = async (_world, peer) => {
  if (peer !== SELF) throw unknownPeer(peer, [SELF]);
  const many = await openNode(PODS, CONNECTIONS);
  try {
    const few = await openNode(FEW, CONNECTIONS / 10);
    return {
      ours: { name: "orlop", measure: () => measure(many) },
      peer: { name: SELF, measure: () => measure(few) },
      versions: { orlop: `Orlop ${version}` },
      close: async () => {
        await close(few);
        await close(many);
      },
    };
  } catch (error) {
    await many.cluster.close();
    throw error;
  }
};

export const severScenarios: readonly Scenario[] = [
  {
    name: "sever-10k",
    figure: `keeper's CPU for judging ${CONNECTIONS} joined connections of ${PODS} pods again, when all turn STRICT`,
    ...{ unit: "ms", better: "less", key: "ms" },
    defaultPeer: SELF,
    targets: {},
    limits: { ms: 50 },
    series: "sever",
    pairs: 3,
    open,
  },
];
