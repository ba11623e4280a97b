// bench · latency at a rate that the peer can bear, and a small stream beside a big one in the same tunnel.
import { setTimeout as sleep } from "node:timers/promises";
import type { Figures } from "../figures/pairs.ts";
import { finishLoad, type LoadPlan, runLoad, startLoad } from "../load/load.ts";
import { openOrlop } from "../sides/orlop.ts";
import type { Side } from "../sides/side.ts";
import { type MeasureSide, type Scenario, type Settings, sideBySide } from "./scenario.ts";
import { loadOf, requests64 } from "./streams.ts";

/** Half of what the peer does at most. Measured once per contest. */
const halfRates = new WeakMap<Side, Promise<number>>();

const atHalfLoad: MeasureSide = async (side, settings, peer) => {
  const most = halfRates.get(peer) ?? maxRate(peer, settings);
  halfRates.set(peer, most);
  const rate = Math.floor((await most) / 2);
  const measure = await loadOf({ ...requests64, mode: "paced", rate })(side, settings, peer);
  return async () => ({ ...(await measure()), intendedRate: rate });
};

async function maxRate(side: Side, settings: Settings): Promise<number> {
  const measure = await loadOf(requests64)(side, settings, side);
  const { rate } = await measure();
  if (rate === undefined) throw new Error(`${side.name} has no rate`);
  return rate;
}

/** Open loop. */
const INTERACTIVE_PER_SECOND = 2_000;
/** Bytes per second: enough to fill every buffer on the way, too little to fill the machine's processors. */
const BULK_PER_SECOND = 125_000_000;

async function interactive(side: Side, settings: Settings, besideBulk: boolean): Promise<Figures> {
  const { windowSeconds: seconds, warmupSeconds: warmup } = settings;
  const small = { mode: "paced", rate: INTERACTIVE_PER_SECOND, seconds, warmup, watch: side.pids() } as const;
  if (!besideBulk) return runLoad(side.client, side.target, small);
  const bulk: LoadPlan = { mode: "bulk", rate: BULK_PER_SECOND, seconds: seconds + 0.5, warmup, watch: [] };
  const beside = startLoad(side.client, side.target, bulk);
  try {
    await sleep(warmup * 1000);
    const figures = await runLoad(side.client, side.target, small);
    const { gbps } = await finishLoad(beside, bulk);
    // Without its bulk the figure would answer another question.
    if (gbps === undefined || gbps * 1e9 < BULK_PER_SECOND * 8 * 0.9)
      throw new Error(`the bulk stream ran at ${gbps} Gb/s`);
    return figures;
  } finally {
    beside.kill("SIGKILL");
  }
}

const besideBulk: MeasureSide = (side, settings) => () => interactive(side, settings, true);

export const latencyScenarios: readonly Scenario[] = [
  {
    name: "p99-half-load",
    figure: "p99 at half of the peer's highest rate, open loop, 64 connections, 1 KB each way",
    ...{ unit: "µs", better: "less", key: "p99Us" },
    defaultPeer: "haproxy",
    targets: {},
    series: "p99-half-load",
    open: sideBySide("cross-node", atHalfLoad),
  },
  {
    name: "interactive-beside-bulk",
    figure: `p99 of ${INTERACTIVE_PER_SECOND} requests/s on one connection beside a bulk stream of 1 Gb/s to the same server`,
    ...{ unit: "µs", better: "less", key: "p99Us" },
    defaultPeer: "alone",
    targets: { alone: { atMost: 2 } },
    series: "interactive-beside-bulk",
    open: async (world, peer, settings) => {
      if (peer !== "alone") return sideBySide("cross-node", besideBulk)(world, peer, settings);
      const side = await openOrlop(world, "cross-node");
      return {
        ours: { name: side.name, measure: () => interactive(side, settings, true) },
        peer: { name: "the same without the bulk stream", measure: () => interactive(side, settings, false) },
        versions: { [side.name]: side.version },
        close: () => side.stop(),
      };
    },
  },
];
