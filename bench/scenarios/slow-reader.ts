// bench · readers that do not read, and a reader beside them that does: what is held for them on the way, and what the other
// notices. Afterwards they read on, and every byte is compared.
import { tail } from "../../test/box/process.ts";
import type { Figures } from "../figures/pairs.ts";
import { runLoad, startLoad } from "../load/load.ts";
import { residentMb } from "../world/memory.ts";
import { type MeasureSide, type Scenario, sideBySide } from "./scenario.ts";

const STALLED = 8;
/** Until every buffer on the way is full, and the bystander has been measured. */
const STALL_SECONDS = 2.4;
const BYSTANDER = { mode: "paced", rate: 2_000, seconds: 0.7, warmup: 0.1 } as const;
const DEADLINE_MS = 10_000;

const slowReader: MeasureSide = (side) => async () => {
  const bystander = (): Promise<Figures> => runLoad(side.client, side.target, { ...BYSTANDER, watch: [] });
  const { p99Us: aloneP99Us } = await bystander();
  const before = residentMb(side.pids());
  const stalled = startLoad(side.client, side.target, {
    ...{ mode: "stall", connections: STALLED, seconds: STALL_SECONDS, warmup: 0, watch: [] },
  });
  try {
    await stalled.line(DEADLINE_MS, (line) => line === "ready");
    const grownMb = residentMb(side.pids()) - before;
    const { p99Us } = await bystander();
    const { status, stdout, stderr } = await stalled.wait(DEADLINE_MS);
    if (status !== 0) throw new Error(`bytes of a stalled stream were lost: ${tail(stderr) || tail(stdout)}`);
    if (p99Us === undefined || aloneP99Us === undefined) throw new Error("the bystander has no p99");
    const { held } = JSON.parse(stdout.slice(stdout.indexOf("{"))) as { held: number };
    const heldMbEach = held / STALLED / 1e6;
    return { heldMbEach, grownMbEach: grownMb / STALLED, p99Us, aloneP99Us };
  } finally {
    await stalled.stop();
  }
};

export const slowReaderScenarios: readonly Scenario[] = [
  {
    name: "slow-reader",
    figure: `memory: bytes taken from the sender for a reader that does not read, ${STALLED} of them at once, each`,
    ...{ unit: "MB", better: "less", key: "heldMbEach" },
    defaultPeer: "haproxy",
    targets: {},
    series: "slow-reader",
    pairs: 3,
    open: sideBySide("cross-node", slowReader),
  },
  {
    name: "slow-reader-bystander",
    figure: `p99 of ${BYSTANDER.rate} requests/s on one connection beside ${STALLED} readers that do not read`,
    ...{ unit: "µs", better: "less", key: "p99Us" },
    defaultPeer: "haproxy",
    targets: {},
    series: "slow-reader",
    pairs: 3,
    open: sideBySide("cross-node", slowReader),
  },
];
