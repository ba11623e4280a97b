// bench · a running agent whose directory holds 100,000 workloads, against one with ten: its memory, and what one change
// takes until new connections meet it.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { version } from "../../agent/process/version.ts";
import { pidOf, startMesh } from "../../demo/mesh/mesh-run.ts";
import { createCluster, type Pod } from "../../test/box/cluster.ts";
import type { Running } from "../../test/box/process.ts";
import type { Figures } from "../figures/pairs.ts";
import { quantileOf } from "../figures/statistics.ts";
import { startLoad } from "../load/load.ts";
import { type LargeMesh, VIP, VIP_PORT, writeLargeMesh } from "../world/large-mesh.ts";
import { residentMb } from "../world/memory.ts";
import { podsOf, SERVER_PORT, startSink } from "../world/world.ts";
import { type Scenario, unknownPeer } from "./scenario.ts";

const MANY = 100_000;
const FEW = 10;
/** The peer's name: ourselves, with few. */
const SELF = `orlop-${FEW}`;

/** Of each kind: a Service's only endpoint falls ill and recovers; a policy forbids and allows. */
const CHANGES = 20;
/** Asks of a new connection per second: what a figure may be too long by is half a millisecond. */
const ASKS_PER_SECOND = 2_000;
const MET_MS = 10_000;
const BETWEEN_MS = 25;
const READY_MS = 60_000;

type LargeAgent = {
  readonly pid: number;
  readonly client: Pod;
  readonly mesh: LargeMesh;
  close(): Promise<void>;
};

async function openAgent(workloads: number, seed: number): Promise<LargeAgent> {
  const nodes = [{ name: "node-a", pods: podsOf(["client", "neighbour"]) }];
  const cluster = await createCluster({ nodes, nodeConfig: "  dataThreads: 1\n" });
  try {
    const node = cluster.node("node-a");
    const mesh = writeLargeMesh(cluster, SERVER_PORT, workloads, seed);
    const config = readFileSync(node.configFile, "utf8").replace(/mesh: .*/, `mesh: ${mesh.folder}`);
    writeFileSync(node.configFile, config.replace(/access: .*/, "access: off").replace("level: info", "level: warn"));
    await startMesh(cluster, READY_MS);
    await startSink(cluster.pod("neighbour"), "0.0.0.0", SERVER_PORT);
    const pid = pidOf(node, "agent");
    if (pid === undefined) throw new Error("the agent is not running");
    return { pid, mesh, client: cluster.pod("client"), close: () => cluster.close() };
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

async function measure({ pid, client, mesh }: LargeAgent): Promise<Figures> {
  const mb = residentMb([pid]);
  const plan = { mode: "flip", rate: ASKS_PER_SECOND, seconds: 1, warmup: 0, watch: [] } as const;
  const asking = startLoad(client, { host: VIP, port: VIP_PORT }, plan);
  try {
    await asking.line(MET_MS, (line) => line.startsWith("through"));
    const endpoint = await timesUntilMet(asking, mesh.setHealthy);
    const policy = await timesUntilMet(asking, mesh.setAllowed);
    asking.endInput();
    await asking.finished;
    return {
      ...{ p50Ms: quantileOf(endpoint, 0.5), p99Ms: quantileOf(endpoint, 0.99) },
      ...{ policyP50Ms: quantileOf(policy, 0.5), policyP99Ms: quantileOf(policy, 0.99) },
      cpuUsPerChange: await cpuPerChange(pid, mesh.setHealthy),
      mb,
    };
  } finally {
    await asking.stop();
  }
}

/** From a file's being in place to the begin of the first connection that met what it says, in milliseconds. */
async function timesUntilMet(asking: Running, set: (good: boolean) => bigint): Promise<number[]> {
  const times: number[] = [];
  for (let change = 0; change < CHANGES; change++) {
    const good = change % 2 === 1;
    const placed = set(good);
    const line = await asking.line(MET_MS, (line) => line.startsWith(good ? "through" : "refused"));
    times.push(Number(BigInt(line.split(" ")[1] ?? 0) - placed) / 1e6);
    await sleep(BETWEEN_MS);
  }
  return times;
}

/** Microseconds of all threads of the agent, less what it takes in the same time without a change; nobody connects. */
async function cpuPerChange(pid: number, set: (good: boolean) => bigint): Promise<number> {
  const idle = await cpuOf(pid, () => sleep(CHANGES * BETWEEN_MS));
  const busy = await cpuOf(pid, async () => {
    for (let change = 0; change < CHANGES; change++) {
      set(change % 2 === 1);
      await sleep(BETWEEN_MS);
    }
  });
  return (busy - idle) / CHANGES;
}

async function cpuOf(pid: number, body: () => Promise<unknown>): Promise<number> {
  const before = cpuUs(pid);
  await body();
  return cpuUs(pid) - before;
}

function cpuUs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  const ns = readdirSync(folder).map((task) =>
    Number(readFileSync(`${folder}/${task}/schedstat`, "utf8").split(" ")[0]),
  );
  return ns.reduce((sum, count) => sum + count, 0) / 1000;
}

const open: Scenario["open"] = async (_world, peer, { seed }) => {
  if (peer !== SELF) throw unknownPeer(peer, [SELF]);
  const many = await openAgent(MANY, seed);
  try {
    const few = await openAgent(FEW, seed);
    return {
      ours: { name: "orlop", measure: () => measure(many) },
      peer: { name: SELF, measure: () => measure(few) },
      versions: { orlop: `Orlop ${version}, Node ${process.version}` },
      close: async () => {
        await Promise.all([many.close(), few.close()]);
      },
    };
  } catch (error) {
    await many.close();
    throw error;
  }
};

const large = { better: "less", defaultPeer: SELF, targets: {}, series: "large", open, pairs: 3 } as const;

export const largeScenarios: readonly Scenario[] = [
  {
    name: "enforce-100k",
    figure: `an endpoint's file changes among ${MANY} workloads of a running agent: until a new connection meets it, p99`,
    ...large,
    ...{ unit: "ms", key: "p99Ms" },
    limits: { p99Ms: 10, cpuUsPerChange: 500 },
  },
  {
    name: "agent-rss-100k",
    figure: `memory of a running agent with ${MANY} workloads`,
    ...large,
    ...{ unit: "MB", key: "mb" },
    limits: { mb: 250 },
  },
];
