// bench · bulk and requests between two nodes: one load generator run each, read in several ways.
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { type LoadPlan, runLoad } from "../load/load.ts";
import { openOrlop } from "../sides/orlop.ts";
import type { Route } from "../sides/side.ts";
import { installed } from "../world/programs.ts";
import { type MeasureSide, type Scenario, type Settings, sideBySide, unknownPeer } from "./scenario.ts";

/** Of either side: each connection runs code that is compiled while it runs, and a node agent runs for months. */
const FIRST_CHURN_WARMUP_SECONDS = 3;

/** The load of a scenario on its own terms; the window is the run's. */
const PINNED_CORE = 0;

type Load = Pick<LoadPlan, "mode" | "connections" | "size" | "rate" | "core" | "http">;

export const loadOf =
  (load: Load): MeasureSide =>
  (side, { windowSeconds, warmupSeconds }: Settings) => {
    let first = load.mode === "churn";
    return () => {
      const warmup = first ? FIRST_CHURN_WARMUP_SECONDS : warmupSeconds;
      first = false;
      return runLoad(side.client, side.target, {
        ...load,
        seconds: windowSeconds,
        warmup,
        watch: side.pids(),
      });
    };
  };

/** The same with every process of the way, and both ends, on one core. */
const pinned =
  (load: Load): MeasureSide =>
  (side, settings, peer) => {
    const measure = loadOf({ ...load, core: PINNED_CORE })(side, settings, peer);
    return async () => {
      const pids = [...side.pids(), ...[...side.box.sinks.values()].map(({ pid }) => pid)];
      pin(pids, String(PINNED_CORE));
      try {
        return await (await measure)();
      } finally {
        pin(pids, `0-${cpus().length - 1}`);
      }
    };
  };

function pin(pids: readonly number[], cores: string): void {
  for (const pid of pids) execFileSync(installed("taskset"), ["-a", "-p", "-c", cores, String(pid)]);
}

const series = (name: string, load: Load, route: Route = "cross-node"): Pick<Scenario, "series" | "open"> => ({
  series: name,
  open: sideBySide(route, loadOf(load)),
});

const OWN_SINGLE = "orlop-1-stream";

const openAgainstItself: Scenario["open"] = async (world, peer, settings) => {
  if (peer !== OWN_SINGLE) throw unknownPeer(peer, [OWN_SINGLE]);
  const side = await openOrlop(world, "cross-node");
  const measure = (connections: number) => loadOf({ mode: "bulk", connections })(side, settings, side);
  return {
    ours: { name: side.name, measure: await measure(64) },
    peer: { name: OWN_SINGLE, measure: await measure(1) },
    versions: { [side.name]: side.version },
    close: () => side.stop(),
  };
};

const bulk = (connections: number) => series(`bulk ${connections}`, { mode: "bulk", connections });
const requests = (connections: number) => series(`rr ${connections}`, { mode: "rr", connections });
/** This many connections are being made at any time. */
const CHURN_AT_ONCE = 16;
const churn: Load = { mode: "churn", connections: CHURN_AT_ONCE };

const throughput = { unit: "Gb/s", better: "more", key: "gbps" } as const;

/** The load whose highest rate other scenarios take as their measure. */
export const requests64: Load = { mode: "rr", connections: 64 };

export const streamScenarios: readonly Scenario[] = [
  {
    name: "bulk-1",
    figure: "throughput of the pair, 1 stream",
    ...throughput,
    defaultPeer: "haproxy",
    targets: {
      ...{ haproxy: { atLeast: 2 }, "haproxy-tuned": { atLeast: 1.5 }, relay: { atLeast: 0.9 } },
      ...{ ztunnel: { atLeast: 1.4 }, envoy: { atLeast: 1.35 } },
    },
    ...bulk(1),
  },
  {
    name: "bulk-floor",
    figure: "throughput of the pair, 1 stream, against relays that seal the same bytes",
    ...throughput,
    defaultPeer: "relay-sealing",
    targets: { "relay-sealing": { atLeast: 0.75 } },
    ...bulk(1),
  },
  {
    name: "bulk-8",
    figure: "throughput of the pair, 8 streams",
    ...throughput,
    defaultPeer: "haproxy",
    targets: {},
    ...bulk(8),
  },
  {
    name: "bulk-64",
    figure: "throughput of the pair, 64 streams",
    ...throughput,
    defaultPeer: "haproxy",
    targets: {},
    ...bulk(64),
  },
  {
    name: "bulk-64-own",
    figure: "throughput of the pair, 64 streams, against its own single stream",
    ...throughput,
    defaultPeer: OWN_SINGLE,
    targets: { [OWN_SINGLE]: { atLeast: 1 } },
    series: "bulk 64 own",
    open: openAgainstItself,
  },
  {
    name: "cpu-per-byte",
    figure: "CPU of all processes of the pair per payload byte, 1 stream",
    ...{ unit: "ns/B", better: "less", key: "cpuNsPerByte" },
    defaultPeer: "haproxy",
    targets: {
      ...{ haproxy: { atMost: 0.5 }, "haproxy-tuned": { atMost: 0.55 }, "orlop-before": { atMost: 0.78 } },
      ...{ ztunnel: { atMost: 0.65 }, envoy: { atMost: 0.65 } },
    },
    ...bulk(1),
  },
  {
    name: "rr-1",
    figure: "round trip p50, 1 connection, 1 KB each way, free to run on any core",
    ...{ unit: "µs", better: "less", key: "p50Us" },
    defaultPeer: "direct",
    targets: { direct: { atMost: 1.5 } },
    ...requests(1),
  },
  {
    name: "rr-1-pinned",
    figure: "round trip p50, 1 connection, 1 KB each way, all processes on one core",
    ...{ unit: "µs", better: "less", key: "p50Us" },
    defaultPeer: "direct",
    targets: { direct: { atMost: 3 } },
    series: "rr 1 pinned",
    open: sideBySide("cross-node", pinned({ mode: "rr" })),
  },
  {
    name: "rr-64",
    figure: "requests per second, 64 connections, 1 KB each way",
    ...{ unit: "1/s", better: "more", key: "rate" },
    defaultPeer: "haproxy",
    targets: { haproxy: { atLeast: 2 } },
    ...requests(64),
  },
  {
    name: "cpu-per-request",
    figure: "CPU of all processes of the pair per request, 64 connections, 1 KB each way",
    ...{ unit: "µs", better: "less", key: "cpuUsPerRequest" },
    defaultPeer: "haproxy",
    targets: { haproxy: { atMost: 0.5 }, "orlop-before": { atMost: 0.88 } },
    ...requests(64),
  },
  {
    name: "rr-512",
    figure: "requests per second, 512 connections, 1 KB each way",
    ...{ unit: "1/s", better: "more", key: "rate" },
    defaultPeer: "haproxy",
    targets: {},
    ...requests(512),
  },
  {
    name: "churn-warm",
    figure: "new connections per second, one byte there and back, whole TLS handshakes where there is no tunnel",
    ...{ unit: "1/s", better: "more", key: "rate" },
    defaultPeer: "haproxy",
    targets: { haproxy: { atLeast: 8 } },
    ...series("churn", churn),
  },
  {
    name: "cpu-per-connection",
    figure: "CPU of all processes of the pair per new connection, as in churn-warm",
    ...{ unit: "µs", better: "less", key: "cpuUsPerRequest" },
    defaultPeer: "haproxy",
    targets: { haproxy: { atMost: 0.05 } },
    ...series("churn", churn),
  },
  {
    name: "same-node-bulk",
    figure: "throughput between two pods of one node, 1 stream",
    ...throughput,
    defaultPeer: "direct",
    targets: { direct: { atLeast: 0.97 } },
    ...series("same-node bulk", { mode: "bulk" }, "same-node"),
  },
  {
    name: "same-node-rtt",
    figure: "round trip p50 between two pods of one node, 1 connection, 1 KB each way",
    ...{ unit: "µs", better: "less", key: "p50Us" },
    defaultPeer: "direct",
    targets: { direct: { atMost: 1.05 } },
    ...series("same-node rr", { mode: "rr" }, "same-node"),
  },
  {
    name: "same-node-connect",
    figure: "new connections per second between two pods of one node, one byte there and back",
    ...{ unit: "1/s", better: "more", key: "rate" },
    defaultPeer: "direct",
    targets: { direct: { atLeast: 0.9 } },
    ...series("same-node churn", churn, "same-node"),
  },
];
