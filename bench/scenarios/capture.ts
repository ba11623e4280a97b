// bench · what being captured adds to connect(): eBPF against iptables REDIRECT, each less the connect to a listener of the
// same namespace that nobody redirects.
import type { Pod } from "../../agent/cli/local-cluster.ts";
import { runLoad, type Target } from "../load.ts";
import type { Figures } from "../pairs.ts";
import { installed, versionOf } from "../programs.ts";
import { openOrlop } from "../sides/orlop.ts";
import { SERVER_PORT, startSink } from "../world.ts";
import { type Scenario, type Settings, unknownPeer } from "./scenario.ts";

/** Slow enough that whoever accepts is idle again before the next comes. */
const CONNECTS_PER_SECOND = 2_000;
const LISTENER_PORT = 7_101;

async function connectUs(from: Pod, target: Target, settings: Settings): Promise<number> {
  const { windowSeconds: seconds, warmupSeconds: warmup } = settings;
  const plan = { mode: "connect", rate: CONNECTS_PER_SECOND, seconds, warmup, watch: [] } as const;
  const { p50Us } = await runLoad(from, target, plan);
  if (p50Us === undefined) throw new Error("connects have no p50");
  return p50Us;
}

const open: Scenario["open"] = async (world, peer, settings) => {
  if (peer !== "iptables") throw unknownPeer(peer, ["iptables"]);
  const mesh = await openOrlop(world, "cross-node");
  const { cluster, server } = await world.plain();
  const pod = cluster.pod("redirected");
  const iptables = installed("iptables");
  const listener = await startSink(pod, "127.0.0.1", LISTENER_PORT);
  const redirect = ["OUTPUT", "-p", "tcp", "-d", server.ip4, "-j", "REDIRECT", "--to-ports", String(LISTENER_PORT)];
  const rule = async (change: string): Promise<void> => {
    const { status, stderr } = await pod.run([iptables, "-t", "nat", change, ...redirect]);
    if (status !== 0) throw new Error(`iptables: ${stderr.trim()}`);
  };
  const added = async (connect: () => Promise<number>): Promise<Figures> => {
    // Beside each measurement, so that both see the same minute.
    const base = await connectUs(pod, { host: "127.0.0.1", port: LISTENER_PORT }, settings);
    const whole = await connect();
    return { addedUs: whole - base, connectUs: whole, uncapturedUs: base };
  };
  return {
    ours: { name: "orlop", measure: () => added(() => connectUs(mesh.client, mesh.target, settings)) },
    peer: {
      name: "iptables REDIRECT",
      measure: () =>
        added(async () => {
          // Only while it is needed: with a rule there, the kernel tracks every connection of the namespace.
          await rule("-A");
          try {
            return await connectUs(pod, { host: server.ip4, port: SERVER_PORT }, settings);
          } finally {
            await rule("-D");
          }
        }),
    },
    versions: { orlop: mesh.version, iptables: versionOf(iptables, ["--version"]) },
    close: async () => {
      await listener.stop();
      await mesh.stop();
    },
  };
};

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
    figure: "added by capture to connect(), p50",
    ...{ unit: "µs", better: "less", key: "addedUs" },
    defaultPeer: "iptables",
    targets: { iptables: { atMost: 0.25 } },
    series: "capture-connect",
    open,
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
