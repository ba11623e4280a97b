// bench · what a bystander notices of peers that abuse HTTP/2 at the pod that it calls, against the same without them.
import { fileURLToPath } from "node:url";
import { until } from "../../demo/mesh/mesh-run.ts";
import { type Running, tail } from "../../test/box/process.ts";
import type { Figures } from "../figures/pairs.ts";
import { type LoadPlan, runLoad } from "../load/load.ts";
import { openOrlop } from "../sides/orlop.ts";
import type { Side } from "../sides/side.ts";
import { type Scenario, type Settings, unknownPeer } from "./scenario.ts";

const PEER = "alone";
const ATTACKERS = 2;
const REQUESTS_PER_SECOND = 500;
const program = fileURLToPath(new URL("../load/h2-abuse.ts", import.meta.url));

function startAttacker({ box, target, handshake }: Side): Running {
  if (handshake === undefined) throw new Error("no certificate for the attackers");
  const { host, port, certificate, key } = handshake;
  const argv = [host, port, certificate, key, `${target.host}:${target.port}`];
  return box.cluster.outside.start([process.execPath, program, ...argv.map(String)]);
}

async function bystander(side: Side, settings: Settings, attackers: number): Promise<Figures> {
  const { windowSeconds: seconds, warmupSeconds: warmup } = settings;
  const plan: LoadPlan = { mode: "paced", rate: REQUESTS_PER_SECOND, seconds, warmup, watch: side.pids() };
  const running = Array.from({ length: attackers }, () => startAttacker(side));
  try {
    for (const attacker of running) {
      await until("an attacker at work", 10_000, () => (attacker.stdout.includes("at work") ? true : undefined));
    }
    const figures = await runLoad(side.client, side.target, plan);
    for (const attacker of running) {
      if (!attacker.running) throw new Error(`an attacker ended: ${tail(attacker.stderr)}`);
    }
    return figures;
  } finally {
    await Promise.all(running.map((attacker) => attacker.stop()));
  }
}

const open: Scenario["open"] = async (world, peer, settings) => {
  if (peer !== PEER) throw unknownPeer(peer, [PEER]);
  const side = await openOrlop(world, "cross-node");
  return {
    ours: { name: side.name, measure: () => bystander(side, settings, ATTACKERS) },
    peer: { name: "the same without attackers", measure: () => bystander(side, settings, 0) },
    versions: { [side.name]: side.version },
    close: () => side.stop(),
  };
};

const about = `of ${REQUESTS_PER_SECOND} requests/s on one connection beside ${ATTACKERS} peers that reset streams and connect again`;

export const abuseScenarios: readonly Scenario[] = [
  {
    name: "h2-abuse",
    figure: `p50 ${about}`,
    ...{ unit: "µs", better: "less", key: "p50Us" },
    defaultPeer: PEER,
    targets: { [PEER]: { atMost: 2 } },
    series: "h2-abuse",
    open,
  },
  {
    name: "h2-abuse-p99",
    figure: `p99 ${about}; 10 ms for each of them`,
    ...{ unit: "µs", better: "less", key: "p99Us" },
    defaultPeer: PEER,
    targets: {},
    limits: { p99Us: 10_000 * ATTACKERS },
    series: "h2-abuse",
    open,
  },
];
