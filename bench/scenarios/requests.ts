// bench · HTTP requests, each of them judged: across nodes, on a single node, and beside our own connections that are not read.

import type { Contestant } from "../figures/pairs.ts";
import { runLoad } from "../load/load.ts";
import { openJudging, openJudgingWithLog, openOrlop, openRouting, openRoutingAmong1000 } from "../sides/orlop.ts";
import { isPeer, peers } from "../sides/peers.ts";
import type { OpenSide, Route, Side } from "../sides/side.ts";
import type { World } from "../world/world.ts";
import { type Contest, type Scenario, type Settings, unknownPeer } from "./scenario.ts";

/** The peers' names: our own pair, by whose policy the connection alone is judged; and with a single route. */
const OWN_L4 = "orlop-l4";
const OWN_ROUTE = "orlop-route";

const CONNECTIONS = 64;
/** Of `l7-p999`. A side that needs two descriptors for each gets no further than this with the 20,000 that a process may have here. */
const SESSIONS = 9_000;
/** Each session has made a request before, and many make another now: what a proxy opens towards the server is open by then. */
const SESSIONS_WARMUP_SECONDS = 1;
const SESSIONS_WINDOW_SECONDS = 2;

type Measure = Contestant["measure"];

const closedLoop = (side: Side, { windowSeconds, warmupSeconds }: Settings): Measure => {
  return () =>
    runLoad(side.client, side.target, {
      ...{ mode: "rr", http: true, connections: CONNECTIONS, watch: side.pids() },
      ...{ seconds: windowSeconds, warmup: warmupSeconds },
    });
};

async function openPeer(world: World, route: Route, name: string): Promise<Side> {
  if (name === OWN_L4) return { ...(await openOrlop(world, route)), name: OWN_L4 };
  if (name === OWN_ROUTE) return { ...(await openRouting(world, route)), name: OWN_ROUTE };
  if (!isPeer(name)) throw unknownPeer(name, [OWN_L4, OWN_ROUTE, ...Object.keys(peers)]);
  return peers[name](world, route);
}

type MeasureBoth = (
  ours: Side,
  peer: Side,
  settings: Settings,
) => Promise<{ readonly ours: Measure; readonly peer: Measure }>;

const requests =
  (route: Route, openOurs: OpenSide, measureBoth: MeasureBoth): Scenario["open"] =>
  async (world, peerName, settings): Promise<Contest> => {
    const peer = await openPeer(world, route, peerName);
    try {
      const ours = await openOurs(world, route);
      const measures = await measureBoth(ours, peer, settings);
      return {
        ours: { name: ours.name, measure: measures.ours },
        peer: { name: peer.name, measure: measures.peer },
        versions: { [ours.name]: ours.version, [peer.name]: peer.version },
        close: async () => {
          await ours.stop();
          await peer.stop();
        },
      };
    } catch (error) {
      await peer.stop();
      throw error;
    }
  };

const atFullLoad: MeasureBoth = async (ours, peer, settings) => ({
  ours: closedLoop(ours, settings),
  peer: closedLoop(peer, settings),
});

/** Both at half of what the peer does at most with few connections. */
const atHalfLoad =
  (connections: number): MeasureBoth =>
  async (ours, peer, settings) => {
    const { rate: most = 0 } = await closedLoop(peer, settings)();
    const rate = Math.floor(most / 2);
    const measureOf =
      (side: Side): Measure =>
      async () => ({
        ...(await runLoad(side.client, side.target, {
          ...{ mode: "paced", http: true, connections, rate, watch: side.pids() },
          ...{ seconds: SESSIONS_WINDOW_SECONDS, warmup: SESSIONS_WARMUP_SECONDS },
        })),
        intendedRate: rate,
        sessions: connections,
      });
    return { ours: measureOf(ours), peer: measureOf(peer) };
  };

const crossNode = { series: "requests judged", open: requests("cross-node", openJudging, atFullLoad) } as const;
const cpu = { unit: "µs", better: "less", key: "cpuUsPerRequest" } as const;
const load = `${CONNECTIONS} connections, GET with 12 fields, answers of 1 KB, one rule with method and path`;

export const requestScenarios: readonly Scenario[] = [
  {
    name: "l7-authz",
    figure: `CPU of all processes of the pair per request, ${load}`,
    ...cpu,
    defaultPeer: "haproxy-http",
    targets: { "haproxy-http": { atMost: 0.55 } },
    ...crossNode,
  },
  {
    name: "l7-authz-rate",
    figure: `requests per second, ${load}`,
    ...{ unit: "1/s", better: "more", key: "rate" },
    defaultPeer: "haproxy-http",
    targets: {},
    ...crossNode,
  },
  {
    name: "l7-onoff",
    figure: `CPU of all processes of the pair per request, ${load}, against the same without the rule`,
    ...cpu,
    defaultPeer: OWN_L4,
    targets: { [OWN_L4]: { atMost: 1.3 } },
    ...crossNode,
  },
  {
    name: "l7-route",
    figure: `CPU of all processes of the pair per request, ${load}, and a route with a method and a path`,
    ...cpu,
    defaultPeer: "haproxy-http",
    targets: { "haproxy-http": { atMost: 0.6 }, [OWN_L4]: { atMost: 1.5 } },
    series: "requests routed",
    open: requests("cross-node", openRouting, atFullLoad),
  },
  {
    name: "l7-1000-routes",
    figure: `the same with 1,000 routes of the Service, against a single one`,
    ...cpu,
    defaultPeer: OWN_ROUTE,
    targets: { [OWN_ROUTE]: { atMost: 1.1 } },
    series: "requests routed among many",
    open: requests("cross-node", openRoutingAmong1000, atFullLoad),
  },
  {
    name: "l7-same-node",
    figure: `CPU of all processes per request between two pods of one node, ${load}, against one plain HAProxy between them`,
    ...cpu,
    defaultPeer: "haproxy-hop",
    targets: { "haproxy-hop": { atMost: 0.85 } },
    series: "requests judged on one node",
    open: requests("same-node", openJudging, atFullLoad),
  },
  {
    name: "l7-p99",
    figure: `p99 at half of the peer's highest rate, open loop, ${load}, and a route with a method and a path`,
    ...{ unit: "µs", better: "less", key: "p99Us" },
    defaultPeer: "haproxy-http",
    targets: { "haproxy-http": { atMost: 1 } },
    series: "requests routed at half load",
    open: requests("cross-node", openRouting, atHalfLoad(CONNECTIONS)),
  },
  {
    name: "l7-p999",
    figure: `p99.9 at half of the peer's highest rate, open loop, ${SESSIONS} sessions across nodes, access log on`,
    ...{ unit: "µs", better: "less", key: "p999Us" },
    defaultPeer: "haproxy-http-log",
    targets: { "haproxy-http-log": { atMost: 1.2 } },
    series: "requests judged, many sessions",
    pairs: 3,
    open: requests("cross-node", openJudgingWithLog, atHalfLoad(SESSIONS)),
  },
];
