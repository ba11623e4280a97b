// bench · requests and replies of every size from 64 B to 1 MB: one measurement goes through all of them, each is a row.

import type { Figures } from "../figures/pairs.ts";
import { runLoad } from "../load/load.ts";
import { type MeasureSide, type Scenario, sideBySide } from "./scenario.ts";

const CONNECTIONS = 16;
const sizes = { "64b": 64, "1k": 1_024, "16k": 16_384, "64k": 65_536, "1m": 1_000_000 } as const;
const keyOf = (name: string): string => `rate${name}`;
/** Of the run's window for each size; five of them are one measurement. */
const SHARE = 0.3;

const everySize: MeasureSide =
  (side, { windowSeconds, warmupSeconds }) =>
  async () => {
    const all: Record<string, number> = {};
    for (const [name, size] of Object.entries(sizes)) {
      const { rate }: Figures = await runLoad(side.client, side.target, {
        ...{ mode: "rr", connections: CONNECTIONS, size, watch: side.pids() },
        ...{ seconds: windowSeconds * SHARE, warmup: warmupSeconds * SHARE },
      });
      if (rate === undefined) throw new Error(`requests of ${size} bytes have no rate`);
      all[keyOf(name)] = rate;
    }
    return all;
  };

export const payloadScenarios: readonly Scenario[] = Object.entries(sizes).map(([name, size]) => ({
  name: `payload-${name}`,
  figure: `requests per second, ${CONNECTIONS} connections, ${size} bytes each way`,
  ...{ unit: "1/s", better: "more", key: keyOf(name) },
  defaultPeer: "haproxy",
  targets: {},
  series: "payload",
  open: sideBySide("cross-node", everySize),
}));
