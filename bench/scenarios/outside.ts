// bench · what a captured pod pays for a destination outside the mesh, against a pod of the same node that is in no mesh.
import { setTimeout as sleep } from "node:timers/promises";
import { view } from "../../demo/mesh/mesh-run.ts";
import type { Pod } from "../../test/box/cluster.ts";
import type { Running } from "../../test/box/process.ts";
import type { Figures } from "../figures/pairs.ts";
import { finishLoad, type LoadPlan, runLoad, startLoad, type Target } from "../load/load.ts";
import { openOrlop } from "../sides/orlop.ts";
import { type Box, startSink } from "../world/world.ts";
import { type Scenario, type Settings, unknownPeer } from "./scenario.ts";

const SINK_PORT = 7_102;
const PEER = "not-enrolled";
/** Few enough for the queue of a sink that is stopped. */
const CONNECTS_PER_SECOND = 1_500;
const STARTED_MS = 80;
const DRAINED_MS = 300;

type MeasureFrom = (from: Pod, to: Target, sink: Running, settings: Settings) => Promise<Figures>;

/** Half of the connects on each processor. The sink stops meanwhile: it wakes on the processor of the caller, and its work
 * would be read as connect()'s. */
const connects: MeasureFrom = async (from, to, sink, { windowSeconds: seconds, warmupSeconds: warmup }) => {
  let connectUs = 0;
  for (const core of [0, 1]) {
    const pace = { rate: CONNECTS_PER_SECOND, spin: true, core };
    const plan: LoadPlan = { mode: "connect", ...pace, seconds, warmup, watch: [] };
    const load = startLoad(from, to, plan);
    try {
      await sleep(STARTED_MS);
      process.kill(sink.pid, "SIGSTOP");
      connectUs += ((await finishLoad(load, plan)).p50Us ?? Number.NaN) / 2;
    } finally {
      process.kill(sink.pid, "SIGCONT");
      await load.stop();
      await sleep(DRAINED_MS);
    }
  }
  return { connectUs };
};

const bulk: MeasureFrom = (from, to, _sink, { windowSeconds: seconds, warmupSeconds: warmup }) =>
  runLoad(from, to, { mode: "bulk", seconds, warmup, watch: [] });

/** How often the hook of the client's node left a connect alone because its destination is outside the mesh. */
async function wentDirect({ cluster }: Box): Promise<number> {
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("the cluster has no node");
  const { items } = await view(node, "bpf");
  const counter = items.find((item) => item.type === "counter" && item.name === "connect_outside");
  return counter?.type === "counter" ? counter.value : 0;
}

const openWith =
  (measure: MeasureFrom): Scenario["open"] =>
  async (world, peer, settings) => {
    if (peer !== PEER) throw unknownPeer(peer, [PEER]);
    const mesh = await openOrlop(world, "cross-node");
    const { outside } = mesh.box.cluster;
    const target = { host: outside.ip4, port: SINK_PORT };
    const sink = await startSink(outside, "0.0.0.0", SINK_PORT);
    return {
      ours: {
        name: "orlop",
        measure: async () => {
          const before = await wentDirect(mesh.box);
          const figures = await measure(mesh.client, target, sink, settings);
          if ((await wentDirect(mesh.box)) === before) throw new Error("no connection went direct");
          return figures;
        },
      },
      peer: { name: PEER, measure: () => measure(mesh.box.cluster.pod("redirected"), target, sink, settings) },
      versions: { orlop: mesh.version },
      close: async () => {
        await sink.stop();
        await mesh.stop();
      },
    };
  };

export const outsideScenarios: readonly Scenario[] = [
  {
    name: "direct-outside",
    figure: "connect() of a captured pod to a host outside the mesh, p50, against a pod that is not enrolled",
    ...{ unit: "µs", better: "less", key: "connectUs" },
    defaultPeer: PEER,
    targets: { [PEER]: { atMost: 1.1 } },
    series: "direct-outside",
    open: openWith(connects),
  },
  {
    name: "direct-outside-bulk",
    figure: "throughput of a captured pod to a host outside the mesh, 1 stream, against a pod that is not enrolled",
    ...{ unit: "Gb/s", better: "more", key: "gbps" },
    defaultPeer: PEER,
    targets: { [PEER]: { atLeast: 0.97 } },
    series: "direct-outside bulk",
    open: openWith(bulk),
  },
];
