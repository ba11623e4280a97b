// bench · a pod's requests beside a pod that asks as fast as it can: both are judged by a single data thread of their node.
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { cpus, setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pod } from "../../test/box/cluster.ts";
import type { Figures } from "../figures/pairs.ts";
import { finishLoad, type LoadPlan, startLoad, type Target } from "../load/load.ts";
import { openJudging } from "../sides/orlop.ts";
import type { Side } from "../sides/side.ts";
import { installed } from "../world/programs.ts";
import { SERVER_PORT, startSink } from "../world/world.ts";
import { type Scenario, type Settings, unknownPeer } from "./scenario.ts";

/** Its server is not the flood's, which has enough to do. */
const BYSTANDER_PORT = SERVER_PORT + 1;
const BYSTANDER_PER_SECOND = 2_000;
const BYSTANDER_CONNECTIONS = 16;
const FLOOD_CONNECTIONS = 256;
/** Microseconds that a pod which floods the thread may add to the p99 of another. */
const ADDED_US = 1_000;

/**
 * What is measured is the thread and no lack of processors: the programs of both loads have this processor, the agents the others. The
 * bystander's programs take theirs from the flood's as soon as they can run (SCHED_FIFO). Niceness alone does not do that: Linux lets a
 * program of the flood finish its slice first, and three such waits of up to some milliseconds were most of a request's time.
 */
const LOAD_CORE = 0;
/** Niceness of the agents and of the flood's programs: before what else runs here. */
const FIRST = -20;
const LAST = -10;

type Ways = { readonly flood: Side; readonly client: Pod; readonly target: Target };

function rank(pid: number, nice: number): void {
  setPriority(pid, nice);
  // Where Linux groups processes by session, a process's nice counts in its group alone.
  const group = `/proc/${pid}/autogroup`;
  if (existsSync(group)) writeFileSync(group, String(nice));
}

/** All threads of a program run before any program without a real-time policy, as soon as they can. */
function preferred(pid: number): void {
  execFileSync(installed("chrt"), ["--all-tasks", "--fifo", "--pid", "1", String(pid)]);
}

function pin(pids: readonly number[], first: number, last = first): void {
  for (const pid of pids) execFileSync(installed("taskset"), ["-a", "-p", "-c", `${first}-${last}`, String(pid)]);
}

async function alone({ client, target }: Ways, settings: Settings): Promise<Figures> {
  const { windowSeconds: seconds, warmupSeconds: warmup } = settings;
  const plan = {
    mode: "paced",
    http: true,
    connections: BYSTANDER_CONNECTIONS,
    rate: BYSTANDER_PER_SECOND,
    seconds,
    warmup,
    core: LOAD_CORE,
    watch: [],
  } as const;
  const load = startLoad(client, target, plan);
  preferred(load.pid);
  const { p50Us = Number.NaN, p99Us = Number.NaN } = await finishLoad(load, plan);
  return { p50Us, p99Us, addedP99Us: 0, floodRate: 0 };
}

async function besideFlood(ways: Ways, settings: Settings): Promise<Figures> {
  const before = await alone(ways, settings);
  const seconds = settings.windowSeconds + settings.warmupSeconds + 0.5;
  const load = { connections: FLOOD_CONNECTIONS, seconds, warmup: 0, core: LOAD_CORE, watch: [] } as const;
  const plan: LoadPlan = { mode: "rr", http: true, ...load };
  const flood = startLoad(ways.flood.client, ways.flood.target, plan);
  try {
    rank(flood.pid, LAST);
    await sleep(settings.warmupSeconds * 1000);
    const beside = await alone(ways, settings);
    const { rate: floodRate = 0 } = await finishLoad(flood, plan);
    return { ...beside, floodRate, addedP99Us: (beside.p99Us ?? Number.NaN) - (before.p99Us ?? Number.NaN) };
  } finally {
    flood.kill("SIGKILL");
  }
}

export const bystanderScenarios: readonly Scenario[] = [
  {
    name: "l7-bystander",
    figure: `p99 of ${BYSTANDER_PER_SECOND} requests/s of one pod beside a pod of ${FLOOD_CONNECTIONS} connections in a closed loop, one data thread`,
    ...{ unit: "µs", better: "less", key: "p99Us" },
    defaultPeer: "alone",
    targets: {},
    limits: { addedP99Us: ADDED_US },
    series: "l7-bystander",
    pairs: 3,
    open: async (world, peer, settings) => {
      if (peer !== "alone") throw unknownPeer(peer, ["alone"]);
      const flood = await openJudging(world, "same-node");
      const { cluster, judgedNeighbour } = flood.box;
      const sink = await startSink(judgedNeighbour, "0.0.0.0", BYSTANDER_PORT);
      const target = { host: judgedNeighbour.ip4, port: BYSTANDER_PORT };
      const floods = flood.box.sinks.get(judgedNeighbour.name)?.pid ?? 0;
      const last = cpus().length - 1;
      const agents = flood.carriers?.() ?? [];
      pin(agents, Math.min(1, last), last);
      for (const pid of agents) rank(pid, FIRST);
      pin([sink.pid, floods], LOAD_CORE);
      rank(floods, LAST);
      preferred(sink.pid);
      const ways = { flood, client: cluster.pod("bystander"), target };
      return {
        ours: { name: flood.name, measure: () => besideFlood(ways, settings) },
        peer: { name: "the same without the flood", measure: () => alone(ways, settings) },
        versions: { [flood.name]: flood.version },
        close: async () => {
          await sink.stop();
          for (const pid of [floods, ...agents]) rank(pid, 0);
          pin([floods, ...agents], 0, last);
          await flood.stop();
        },
      };
    },
  },
];
