// bench · calls of gRPC across nodes, each routed and judged by its method. h2load makes those with a message each way, `load/calls.c`
// those with many; what answers is no part of a side.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { tail } from "../../test/box/process.ts";
import type { Contestant, Figures } from "../figures/pairs.ts";
import { finishLoad } from "../load/load.ts";
import { CALLS_PATH, type CallsOf, message, REPLY_BYTES } from "../sides/callee.ts";
import { openEnvoyCalls } from "../sides/envoy.ts";
import { openNginxCalls } from "../sides/nginx-calls.ts";
import { openCalls } from "../sides/orlop.ts";
import type { OpenSide, Side } from "../sides/side.ts";
import { installed, ownProgram } from "../world/programs.ts";
import { folderIn } from "../world/world.ts";
import { type Contest, type Scenario, type Settings, unknownPeer } from "./scenario.ts";

const peers: Readonly<Record<string, (calls: CallsOf) => OpenSide>> = {
  "nginx-grpc": openNginxCalls,
  "envoy-grpc": openEnvoyCalls,
};
const ASKED_BYTES = 100;
/** Opens the connections of a side, and says how many calls are a window. */
const WARMUP_CALLS = 4_000;
/** Linux counts a process's time in these (USER_HZ). */
const TICKS_PER_SECOND = 100;
const TIMEOUT_MS = 120_000;

type Load = { readonly connections: number; readonly streams: number };

/** CPU time of the processes so far, in seconds. */
function cpuSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // utime and stime, counted behind the name, which may hold anything.
    const [user = 0, system = 0] = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13)
      .map(Number);
    return user + system;
  });
  return ticks.reduce((sum, each) => sum + each, 0) / TICKS_PER_SECOND;
}

/** Calls per second. Throws when a call was not answered by a message. */
async function makeCalls(side: Side, { connections, streams }: Load, calls: number): Promise<number> {
  const body = path.join(folderIn(side.box.cluster, "asked"), "message");
  writeFileSync(body, message(ASKED_BYTES));
  const running = side.client.start([
    ...[installed("h2load"), "-n", String(calls), "-c", String(connections), "-m", String(streams), "-d", body],
    ...["-H", "content-type: application/grpc", "-H", "te: trailers"],
    `http://${side.target.host}:${side.target.port}${CALLS_PATH}`,
  ]);
  const { status, stdout, stderr } = await running.wait(TIMEOUT_MS);
  const rate = Number(/^finished in .*, ([\d.]+) req\/s/m.exec(stdout)?.[1]);
  const answered = Number(/^status codes: (\d+) 2xx/m.exec(stdout)?.[1]);
  // A refused call is answered by 200 as well, and by no message.
  const replied = Number(/^traffic: .* \((\d+)\) data$/m.exec(stdout)?.[1]) / message(REPLY_BYTES).length;
  if (status !== 0 || answered !== calls || replied !== calls || !(rate > 0))
    throw new Error(
      `h2load: ${answered} of ${calls} calls were answered, ${replied} by a message: ${tail(stderr) || tail(stdout)}`,
    );
  return rate;
}

type MeasureCalls = (side: Side, load: Load, settings: Settings) => Contestant["measure"];

const measureUnary: MeasureCalls =
  (side, load, { windowSeconds }) =>
  async (): Promise<Figures> => {
    const warm = await makeCalls(side, load, WARMUP_CALLS);
    const calls = Math.max(WARMUP_CALLS, Math.round(warm * windowSeconds));
    const before = cpuSeconds(side.pids());
    const rate = await makeCalls(side, load, calls);
    return { rate, cpuUsPerCall: ((cpuSeconds(side.pids()) - before) * 1e6) / calls };
  };

const measureStreams: MeasureCalls =
  (side, { connections, streams }, { windowSeconds, warmupSeconds }) =>
  async (): Promise<Figures> => {
    const values = { connections, streams, size: REPLY_BYTES, seconds: windowSeconds, warmup: warmupSeconds };
    const running = side.client.start([
      ...[ownProgram("calls"), side.target.host, String(side.target.port)],
      ...Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]),
      ...["--watch", side.pids().join(",")],
    ]);
    const plan = { mode: "rr", seconds: windowSeconds, warmup: warmupSeconds, watch: [] } as const;
    const { rate = 0, cpuUsPerRequest = 0, machineUsPerRequest = 0 } = await finishLoad(running, plan);
    return { rate, cpuUsPerMessage: cpuUsPerRequest, machineUsPerMessage: machineUsPerRequest };
  };

const calls =
  (of: CallsOf, load: Load): Scenario["open"] =>
  async (world, peerName, settings): Promise<Contest> => {
    const openPeer = Object.hasOwn(peers, peerName) ? peers[peerName] : undefined;
    if (openPeer === undefined) throw unknownPeer(peerName, Object.keys(peers));
    const measureOf = of === "unary" ? measureUnary : measureStreams;
    const peer = await openPeer(of)(world, "cross-node");
    try {
      const ours = await openCalls(of)(world, "cross-node");
      return {
        ours: { name: ours.name, measure: measureOf(ours, load, settings) },
        peer: { name: peer.name, measure: measureOf(peer, load, settings) },
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

const cpu = { unit: "µs", better: "less", key: "cpuUsPerCall", defaultPeer: "nginx-grpc" } as const;

export const callScenarios: readonly Scenario[] = [
  {
    name: "l7-grpc-unary",
    figure:
      "CPU of all processes of the pair per call of gRPC, 8 connections with 8 calls under way, a GRPCRoute and a rule",
    ...cpu,
    targets: { "nginx-grpc": { atMost: 0.7 }, "envoy-grpc": { atMost: 0.7 } },
    series: "calls routed",
    open: calls("unary", { connections: 8, streams: 8 }),
  },
  {
    name: "l7-h2-100-streams",
    figure: "the same with 100 calls under way on a single connection",
    ...cpu,
    targets: {},
    series: "calls routed on one connection",
    open: calls("unary", { connections: 1, streams: 100 }),
  },
  {
    name: "l7-grpc-stream",
    figure:
      "CPU of all processes of the pair per message that goes and comes back, 8 connections with 8 calls of gRPC in both directions, messages of 1 KB",
    ...cpu,
    key: "cpuUsPerMessage",
    targets: {},
    series: "streams of calls routed",
    open: calls("streams", { connections: 8, streams: 8 }),
  },
];
