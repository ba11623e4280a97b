// bench · what connections cost that do nothing. Each measurement opens some thousands more and keeps them: freed memory
// that the next thousand takes again would make them look free.
import { setTimeout as sleep } from "node:timers/promises";
import { type Running, tail } from "../../test/box/process.ts";
import { startLoad } from "../load.ts";
import { residentMb } from "../memory.ts";
import type { Contestant } from "../pairs.ts";
import type { Side } from "../sides/side.ts";
import { type Scenario, sideBySide } from "./scenario.ts";

const MEASUREMENTS = 5;
/** Five of these make 10,000. A proxy that needs two descriptors for each gets no further than 8,000 of them with the
 * 20,000 that a process may have here. */
const STEP = 2_000;
const STEP_OF_PAIRS = 1_600;
const SETTLE_MS = 300;
const START_MS = 20_000;

function measureIdle(side: Side, holders: Running[]): Contestant["measure"] {
  const connections = side.name === "orlop" ? STEP : STEP_OF_PAIRS;
  const start = residentMb(side.pids());
  let open = 0;
  return async () => {
    const before = residentMb(side.pids());
    const plan = { mode: "idle", connections, seconds: 1, warmup: 0, watch: [] } as const;
    const holder = startLoad(side.client, side.target, plan);
    holders.push(holder);
    await holder.line(START_MS, (line) => line === "ready");
    await sleep(SETTLE_MS);
    const after = residentMb(side.pids());
    open += connections;
    const perThousand = (mb: number, count: number): number => mb / 2 / (count / 1_000);
    return {
      mbPerThousand: perThousand(after - before, connections),
      mbPerThousandOfAll: perThousand(after - start, open),
      connections: open,
      mbOfPair: after,
    };
  };
}

async function release(holders: readonly Running[]): Promise<void> {
  for (const holder of holders) holder.endInput();
  for (const holder of holders) {
    const { status, stdout, stderr } = await holder.wait(START_MS);
    if (status !== 0) throw new Error(`idle connections did not stay: ${tail(stderr) || tail(stdout)}`);
  }
}

const atRest = (side: Side): Contestant["measure"] => {
  const carriers = (): readonly number[] => side.carriers?.() ?? side.pids();
  return async () => ({ mb: residentMb(carriers()) / 2, mbOfAllProcesses: residentMb(side.pids()) / 2 });
};

export const restScenario: Scenario = {
  name: "rest",
  figure: "memory at rest of the process that carries the bytes, mean of both nodes",
  ...{ unit: "MB", better: "less", key: "mb" },
  defaultPeer: "haproxy",
  targets: {},
  limits: { mb: 110 },
  series: "rest",
  open: sideBySide("cross-node", atRest),
};

const openIdle: Scenario["open"] = async (world, peer, settings) => {
  const holders: Running[] = [];
  const contest = await sideBySide("cross-node", (side) => measureIdle(side, holders))(world, peer, settings);
  return {
    ...contest,
    close: async () => {
      try {
        await release(holders);
      } finally {
        await contest.close();
      }
    },
  };
};

const idle = {
  unit: "MB",
  better: "less",
  defaultPeer: "haproxy",
  targets: {},
  series: "idle",
  open: openIdle,
  pairs: MEASUREMENTS,
} as const;

export const idleScenarios: readonly Scenario[] = [
  {
    name: "idle-1000",
    figure: "memory per 1,000 idle connections, mean of the pair's two sides",
    ...idle,
    key: "mbPerThousand",
    limits: { mbPerThousand: 2 },
  },
  {
    name: "idle-10000",
    figure: "memory per 1,000 of 10,000 idle connections (8,000 through the peer), mean of the pair's two sides",
    ...idle,
    key: "mbPerThousandOfAll",
    addsUp: true,
    limits: { mbPerThousandOfAll: 2 },
  },
];
