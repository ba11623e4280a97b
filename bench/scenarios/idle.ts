// bench · what connections cost that do nothing. Each measurement opens some thousands more and keeps them: freed memory
// that the next thousand takes again would make them look free.
import { setTimeout as sleep } from "node:timers/promises";
import { type Running, tail } from "../../test/box/process.ts";
import type { Contestant } from "../figures/pairs.ts";
import { startLoad } from "../load/load.ts";
import { openJudging, openOrlop, openRouting } from "../sides/orlop.ts";
import type { OpenSide, Side } from "../sides/side.ts";
import { residentMb } from "../world/memory.ts";
import { type Contest, type Scenario, sideBySide, unknownPeer } from "./scenario.ts";

const MEASUREMENTS = 5;
/** Five of these make 10,000. A proxy that needs two descriptors for each gets no further than 8,000 of them with the
 * 20,000 that a process may have here. */
const STEP = 2_000;
const STEP_OF_PAIRS = 1_600;
const SETTLE_MS = 300;
const START_MS = 20_000;

/** Of sessions of HTTP/1.1 each has made a request. */
type Idle = { readonly connections: number; readonly http: boolean };

function measureIdle(side: Side, holders: Running[], { connections, http }: Idle): Contestant["measure"] {
  const start = residentMb(side.pids());
  let open = 0;
  return async () => {
    const before = residentMb(side.pids());
    const plan = { mode: "idle", connections, http, seconds: 1, warmup: 0, watch: [] } as const;
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

const releasing = (contest: Contest, holders: readonly Running[]): Contest => ({
  ...contest,
  close: async () => {
    try {
      await release(holders);
    } finally {
      await contest.close();
    }
  },
});

const openIdle: Scenario["open"] = async (world, peer, settings) => {
  const holders: Running[] = [];
  const measure = (side: Side): Contestant["measure"] =>
    measureIdle(side, holders, { connections: side.name === "orlop" ? STEP : STEP_OF_PAIRS, http: false });
  return releasing(await sideBySide("cross-node", measure)(world, peer, settings), holders);
};

/** Our own pair, by whose policy the connection alone is judged: nobody reads it. */
const OWN_L4 = "orlop-l4";
/**
 * With those that warm the processes up a pod has no more than the 10,000 sessions that its part of a thread is; and with those that nobody
 * reads no more than the 14,000 descriptors of a process from which on a pod is held to its part of them.
 */
const STEP_OF_SESSIONS = 1_800;
const STEP_OF_UNREAD = 500;

/** Of steps so far: what is between them is another's. */
function meanOf(measure: Contestant["measure"]): { readonly step: () => Promise<number>; readonly mean: () => number } {
  const steps: number[] = [];
  return {
    step: async () => {
      const { mbPerThousand = Number.NaN } = await measure();
      steps.push(mbPerThousand);
      return mbPerThousand;
    },
    mean: () => steps.reduce((sum, each) => sum + each, 0) / steps.length,
  };
}

/** What a connection that is read costs more than another that is not. Both are in the same processes, which have served both before. */
const openSessions =
  (openOurs: OpenSide): Scenario["open"] =>
  async (world, peer) => {
    if (peer !== OWN_L4) throw unknownPeer(peer, [OWN_L4]);
    const holders: Running[] = [];
    const unreadSide = await openOrlop(world, "cross-node");
    const readSide = await openOurs(world, "cross-node");
    const stepOf = (side: Side, connections: number): Contestant["measure"] =>
      measureIdle(side, holders, { connections, http: side === readSide });
    await stepOf(unreadSide, STEP_OF_UNREAD)();
    await stepOf(readSide, STEP_OF_UNREAD)();
    const unread = meanOf(stepOf(unreadSide, STEP_OF_UNREAD));
    const read = meanOf(stepOf(readSide, STEP_OF_SESSIONS));
    await unread.step();
    const measure =
      (which: typeof read): Contestant["measure"] =>
      async () => ({
        mbPerThousand: await which.step(),
        mbPerThousandOfAll: which.mean(),
        mbBeyondUnread: which.mean() - unread.mean(),
      });
    const contest = {
      ours: { name: readSide.name, measure: measure(read) },
      peer: { name: OWN_L4, measure: measure(unread) },
      versions: { [readSide.name]: readSide.version },
      close: async () => {},
    };
    return releasing(contest, holders);
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
  {
    name: "l7-idle",
    figure:
      "memory per 1,000 of 10,000 idle sessions of HTTP/1.1 to a Service with a route, mean of both nodes, against connections that nobody reads",
    ...{ unit: "MB", better: "less", key: "mbPerThousandOfAll" },
    defaultPeer: OWN_L4,
    targets: {},
    limits: { mbBeyondUnread: 4 },
    addsUp: true,
    series: "idle sessions routed",
    open: openSessions(openRouting),
    pairs: MEASUREMENTS,
  },
  {
    name: "l7-idle-judged",
    figure:
      "the same of sessions whose requests the far node judges, each with a connection to the application for itself",
    ...{ unit: "MB", better: "less", key: "mbPerThousandOfAll" },
    defaultPeer: OWN_L4,
    targets: {},
    limits: { mbBeyondUnread: 4 },
    addsUp: true,
    series: "idle sessions judged",
    open: openSessions(openJudging),
    pairs: MEASUREMENTS,
  },
];
