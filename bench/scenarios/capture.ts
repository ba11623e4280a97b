// bench · what being captured adds to connect(): eBPF against iptables REDIRECT.
import { setTimeout as sleep } from "node:timers/promises";
import type { Pod } from "../../test/box/cluster.ts";
import type { Running } from "../../test/box/process.ts";
import type { Figures } from "../figures/pairs.ts";
import { finishLoad, type LoadPlan, runLoad, startLoad, type Target } from "../load/load.ts";
import { openHaproxy } from "../sides/haproxy.ts";
import { openOrlop } from "../sides/orlop.ts";
import { NEAR_PORT } from "../sides/side.ts";
import { installed, versionOf } from "../world/programs.ts";
import { SERVER_PORT, startSink } from "../world/world.ts";
import { type Scenario, type Settings, unknownPeer } from "./scenario.ts";

const LISTENER_PORT = 7_101;
/** Few enough for the queue of a listener whose acceptor is stopped. */
const CONNECTS_PER_SECOND = 1_000;
/** Altogether less than the two seconds after which the kernel takes a stopped agent for dead, and refuses. */
const STOPPED: Pick<LoadPlan, "warmup" | "seconds"> = { warmup: 0.2, seconds: 0.4 };
/** Load generators have started, and are in their warm-up. */
const STARTED_MS = 80;
/** What had queued up has been accepted and is gone again. */
const DRAINED_MS = 300;

type Way = { readonly from: Pod; readonly to: Target /** Who would accept. */; readonly acceptor: number };

/** What a connect() through the first side costs beyond a connect() through the second: at the same time and in turns, so that both see the same
 * machine, once on each processor. Nobody accepts meanwhile: the acceptor wakes on the processor of the caller, and
 * its work would be read as connect()'s. */
async function addedBy(captured: Way, plain: Way): Promise<Figures> {
  const sums = { connectUs: 0, plainUs: 0 };
  for (const core of [0, 1]) {
    const [with_, without] = await inTurns([captured, plain], core);
    sums.connectUs += p50Of(with_) / 2;
    sums.plainUs += p50Of(without) / 2;
  }
  return { ...sums, addedUs: sums.connectUs - sums.plainUs };
}

async function inTurns(ways: readonly [Way, Way], firstCore: number): Promise<Figures[]> {
  const plans = ways.map((_, turn): LoadPlan => {
    const pace = { rate: CONNECTS_PER_SECOND, phase: turn / 2, spin: true, core: (firstCore + turn) % 2 };
    return { mode: "connect", ...pace, ...STOPPED, watch: [] };
  });
  const running = plans.map((plan, turn) => {
    const { from, to } = ways[turn === 0 ? 0 : 1];
    return { plan, load: startLoad(from, to, plan) };
  });
  try {
    await sleep(STARTED_MS);
    for (const { acceptor } of ways) process.kill(acceptor, "SIGSTOP");
    return await Promise.all(running.map(({ plan, load }) => finishLoad(load, plan)));
  } finally {
    for (const { acceptor } of ways) process.kill(acceptor, "SIGCONT");
    for (const { load } of running) await load.stop();
    await sleep(DRAINED_MS);
  }
}

function p50Of(figures: Figures | undefined): number {
  if (figures?.p50Us === undefined) throw new Error("connects have no p50");
  return figures.p50Us;
}

/** Runs `body` while what the pod sends to `host` arrives at its own port instead. Only so long: with a rule there, the
 * kernel tracks every connection of the namespace. */
async function redirected<T>(pod: Pod, host: string, toPort: number, body: () => Promise<T>): Promise<T> {
  const iptables = installed("iptables");
  const match = ["OUTPUT", "-p", "tcp", "-d", host, "--dport", String(SERVER_PORT)];
  const rule = async (change: string): Promise<void> => {
    const { status, stderr } = await pod.run([
      ...[iptables, "-t", "nat", change, ...match],
      ...["-j", "REDIRECT", "--to-ports", String(toPort)],
    ]);
    if (status !== 0) throw new Error(`iptables: ${stderr.trim()}`);
  };
  await rule("-A");
  try {
    return await body();
  } finally {
    await rule("-D");
  }
}

const open: Scenario["open"] = async (world, peer) => {
  if (peer !== "iptables") throw unknownPeer(peer, ["iptables"]);
  const mesh = await openOrlop(world, "cross-node");
  const [agent] = mesh.carriers?.() ?? [];
  if (agent === undefined) throw new Error("the client's node has no agent");
  const { cluster, client, server } = await world.plain();
  const pod = cluster.pod("redirected");
  const own = { host: "127.0.0.1", port: LISTENER_PORT };
  const listeners: Running[] = [];
  for (const host of [client, pod]) listeners.push(await startSink(host, own.host, own.port));
  const [plainSink, redirectedSink] = listeners.map(({ pid }) => pid);
  if (plainSink === undefined || redirectedSink === undefined) throw new Error("a listener is missing");
  const plain: Way = { from: client, to: own, acceptor: plainSink };
  const ours: Way = { from: mesh.client, to: mesh.target, acceptor: agent };
  const theirs: Way = { from: pod, to: { host: server.ip4, port: SERVER_PORT }, acceptor: redirectedSink };
  return {
    ours: { name: "orlop", measure: () => addedBy(ours, plain) },
    peer: {
      name: "iptables REDIRECT",
      measure: () => redirected(pod, server.ip4, LISTENER_PORT, () => addedBy(theirs, plain)),
    },
    versions: { orlop: mesh.version, iptables: versionOf(installed("iptables"), ["--version"]) },
    close: async () => {
      await Promise.all(listeners.map((listener) => listener.stop()));
      await mesh.stop();
    },
  };
};

/** An application that connects now and then; a whole TLS handshake of the peer's pair is over when it does so again. */
const NOW_AND_THEN_PER_SECOND = 200;

/** Nothing stopped, nobody spins: who accepts has all its work to do, on the processor that it likes. */
const openLive: Scenario["open"] = async (world, peer, { windowSeconds: seconds, warmupSeconds: warmup }) => {
  if (peer !== "iptables-haproxy") throw unknownPeer(peer, ["iptables-haproxy"]);
  const mesh = await openOrlop(world, "cross-node");
  const haproxy = await openHaproxy({ tuned: false, mode: "tcp" })(world, "cross-node");
  const { client, server } = await world.plain();
  const plan = { mode: "first", rate: NOW_AND_THEN_PER_SECOND, seconds, warmup } as const;
  const connect = (from: Pod, to: Target, watch: readonly number[]): Promise<Figures> =>
    runLoad(from, to, { ...plan, watch });
  return {
    ours: { name: "orlop", measure: () => connect(mesh.client, mesh.target, mesh.pids()) },
    peer: {
      name: "iptables REDIRECT to haproxy",
      measure: () =>
        redirected(client, server.ip4, NEAR_PORT, () =>
          connect(client, { host: server.ip4, port: SERVER_PORT }, haproxy.pids()),
        ),
    },
    versions: { orlop: mesh.version, haproxy: haproxy.version },
    close: async () => {
      await haproxy.stop();
      await mesh.stop();
    },
  };
};

/** Slow enough that the acceptor is idle again before the next connection comes. */
const UNHURRIED_PER_SECOND = 2_000;

async function connectUs(from: Pod, target: Target, settings: Settings): Promise<number> {
  const { windowSeconds: seconds, warmupSeconds: warmup } = settings;
  const plan = { mode: "connect", rate: UNHURRIED_PER_SECOND, seconds, warmup, watch: [] } as const;
  return p50Of(await runLoad(from, target, plan));
}

/** Hooks stand in every pod's way on a node of the mesh; who is not enrolled must hardly notice. */
const openNotEnrolled: Scenario["open"] = async (world, peer, settings) => {
  if (peer !== "direct") throw unknownPeer(peer, ["direct"]);
  const mesh = await openOrlop(world, "cross-node");
  const inMesh = mesh.box.cluster.pod("redirected");
  const outside = (await world.plain()).cluster.pod("redirected");
  const listeners = await Promise.all([inMesh, outside].map((pod) => startSink(pod, pod.ip4, LISTENER_PORT)));
  const connect = (pod: Pod): Promise<number> => connectUs(pod, { host: pod.ip4, port: LISTENER_PORT }, settings);
  return {
    ours: {
      name: "orlop",
      measure: async () => {
        const base = await connect(outside);
        const connectedUs = await connect(inMesh);
        return { connectUs: connectedUs, addedUs: connectedUs - base };
      },
    },
    peer: { name: "direct", measure: async () => ({ connectUs: await connect(outside), addedUs: 0 }) },
    versions: { orlop: mesh.version },
    close: async () => {
      await Promise.all(listeners.map((listener) => listener.stop()));
      await mesh.stop();
    },
  };
};

export const captureScenarios: readonly Scenario[] = [
  {
    name: "capture-connect",
    figure: "added by capture to connect(), p50, against connect() to a listener of a pod without any",
    ...{ unit: "µs", better: "less", key: "addedUs" },
    defaultPeer: "iptables",
    targets: { iptables: { atMost: 0.25 } },
    series: "capture-connect",
    open,
  },
  {
    name: "first-byte",
    figure: "a new connection until its first answer, 200 per second, p50; captured and through the mesh",
    ...{ unit: "µs", better: "less", key: "p50Us" },
    defaultPeer: "iptables-haproxy",
    targets: {},
    series: "first-byte",
    open: openLive,
  },
  {
    name: "capture-not-enrolled",
    figure: "connect() in a pod that is not enrolled, on a node of the mesh, p50",
    ...{ unit: "µs", better: "less", key: "connectUs" },
    defaultPeer: "direct",
    targets: {},
    limits: { addedUs: 3 },
    series: "capture-not-enrolled",
    open: openNotEnrolled,
  },
];
