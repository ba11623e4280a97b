// test box · a cluster on one machine: nodes and pods are network namespaces with cgroups, joined by veth. The demo,
// the tests and the benchmarks share it. Every program, agent and packet in it is real; only the wires are not.
import { randomUUID } from "node:crypto";
import { chownSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { upToDateProgram } from "../../.ci/strip.js";
import { type BoxDirs, createBox, startJanitor, sweepBox, sweepDeadBoxes } from "./host.ts";
import { bpffsOf, makeNamespaces, podsCgroupOf } from "./namespaces.ts";
import { type Addresses, outsideAddresses, podAddresses, wireAddresses } from "./network.ts";
import { type Finished, type Place, type Running, startAt } from "./process.ts";

export type PodSpec = {
  readonly name: string;
  /** Default `demo`. */
  readonly namespace?: string;
  /** Default: the pod's name. */
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
};
export type NodeSpec = { readonly name: string; readonly pods: readonly PodSpec[] };
export type ClusterSpec = {
  readonly nodes: readonly NodeSpec[];
  /** Further lines of each NodeConfig's `spec`, as YAML indented by two spaces, e.g. "  dataThreads: 1\n". */
  readonly nodeConfig?: string;
  /** Which requests have a line in the access log; default "errors". */
  readonly loggedRequests?: "errors" | "all";
  /** What the nodes run as `orlop`; default: `orlopMain`, this revision's. */
  readonly program?: string;
  /** Lifetime of workload certificates; default 3,600. */
  readonly leafTtlSeconds?: number;
};

/** Anything with a network namespace of its own: programs can be run there. */
export type Host = Addresses & {
  readonly name: string;
  readonly place: Place;
  start(argv: readonly string[], options?: { readonly env?: NodeJS.ProcessEnv }): Running;
  /** Runs to the end. Does not look at the exit status; throws at the deadline (milliseconds, default 10,000). */
  run(argv: readonly string[], deadlineMs?: number): Promise<Finished>;
};
export type Pod = Host &
  Required<PodSpec> & {
    /** As written in the cgroup path, and in the Workload's metadata. */
    readonly uid: string;
    readonly node: string;
  };
export type Node = Host & {
  readonly pods: readonly Pod[];
  /** Private to the node: sockets of keeper and agent, access log. */
  readonly runDir: string;
  /** Private to the node: what outlives a reboot. */
  readonly stateDir: string;
  /** Mounted only in the node's own mount namespace, so pins vanish with it. */
  readonly bpffs: string;
  readonly podsCgroup: string;
  readonly configFile: string;
  readonly accessLog: string;
  /** `orlop ARGS` inside the node, in its own cgroup beside the pods'. */
  orlop(args: readonly string[]): Running;
};
export type Cluster = {
  readonly id: string;
  readonly dir: string;
  readonly cgroup: string;
  /** The namespace of the bridge between the nodes: a capture here sees what crosses the wire. */
  readonly wire: Host;
  /** A host on the wire that belongs to no mesh. */
  readonly outside: Host;
  readonly nodes: readonly Node[];
  readonly meshFile: string;
  readonly caFile: string;
  node(name: string): Node;
  pod(name: string): Pod;
  /** Replaces the mesh file of all nodes in one step. */
  writeMesh(text: string): void;
  /**
   * Ends everything in it and removes every trace. Idempotent. Throws where an application in a pod has ended by itself with a status
   * other than 0 that no test has asked for.
   */
  close(): Promise<void>;
};

/** The agent's user and group unless configured otherwise. */
export const AGENT_UID = 61_008;
/** This revision's programs, as its agent/ says by now. */
export const orlopMain = upToDateProgram();

/** Creates a cluster after removing what dead runs left. On failure nothing of it stays. Needs root. */
export async function createCluster(spec: ClusterSpec): Promise<Cluster> {
  if (process.getuid?.() !== 0) throw new Error("a cluster in a box needs root: it makes namespaces and cgroups");
  sweepDeadBoxes();
  const box = createBox();
  const janitor = startJanitor(box);
  let closed: Promise<void> | undefined;
  const applications: Running[] = [];
  const close = (): Promise<void> => {
    closed ??= (async () => {
      for (const signal of endSignals) process.removeListener(signal, onSignal);
      process.removeListener("exit", onExit);
      const crashes = applications.flatMap(({ name, crash }) => (crash === undefined ? [] : [`${name}: ${crash}`]));
      sweepBox(box);
      const gone = new Promise((resolve) => janitor.once("exit", resolve));
      janitor.ref();
      janitor.stdin?.end();
      if (janitor.exitCode === null) await gone;
      if (crashes.length > 0)
        throw new Error(`applications in pods ended, and no test asked how: ${crashes.join("; ")}`);
    })();
    return closed;
  };
  // The sweep is synchronous, so it also works where nothing may be awaited any more.
  const onExit = (): void => sweepBox(box);
  const onSignal = (signal: NodeJS.Signals): void => {
    sweepBox(box);
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  process.on("exit", onExit);
  for (const signal of endSignals) process.on(signal, onSignal);
  try {
    return await build(box, spec, close, applications);
  } catch (error) {
    await close();
    throw error;
  }
}

const endSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

async function build(
  box: BoxDirs,
  spec: ClusterSpec,
  close: () => Promise<void>,
  applications: Running[],
): Promise<Cluster> {
  const plans = spec.nodes.map((node, at) => ({
    ...node,
    index: at + 1,
    pods: node.pods.map((pod, podAt) => ({ ...pod, index: podAt + 1, uid: randomUUID() as string })),
  }));
  const places = await makeNamespaces(box, plans);
  const host = (name: string, addresses: Addresses): Host => {
    const place = places.get(name);
    if (place === undefined) throw new Error(`the cluster has no ${name}`);
    return {
      ...addresses,
      name,
      place,
      start: (argv, options) => startAt(place, argv, options),
      run: (argv, deadlineMs = 10_000) => startAt(place, argv).wait(deadlineMs),
    };
  };
  const meshFile = path.join(box.runDir, "mesh.yaml");
  // Both agents may make the root, and the first of them does; they run as this user and take no file of another's.
  const caFile = path.join(box.runDir, "ca", "root.pem");
  mkdirSync(path.dirname(caFile), { mode: 0o700 });
  chownSync(path.dirname(caFile), AGENT_UID, AGENT_UID);
  const nodes = plans.map((plan): Node => {
    const self = host(plan.name, wireAddresses(plan.index));
    // In the environment and not in the file: an older revision would refuse a field that it does not know.
    const stateDir = path.join(box.runDir, plan.name, "state");
    const env = { ...process.env, ORLOP_STATE_DIR: stateDir };
    const pods = plan.pods.map((pod): Pod => {
      const its = host(pod.name, podAddresses(plan.index, pod.index));
      return {
        ...its,
        start: (argv, options) => {
          const application = its.start(argv, options);
          applications.push(application);
          return application;
        },
        namespace: pod.namespace ?? "demo",
        serviceAccount: pod.serviceAccount ?? pod.name,
        labels: pod.labels ?? {},
        uid: pod.uid,
        node: plan.name,
      };
    });
    const base = path.join(box.runDir, plan.name);
    const node: Node = {
      ...self,
      start: (argv, options) => self.start(argv, { env, ...options }),
      pods,
      runDir: path.join(base, "run"),
      stateDir,
      bpffs: bpffsOf(box, plan.name),
      podsCgroup: podsCgroupOf(box, plan.name),
      configFile: path.join(base, "node.yaml"),
      accessLog: path.join(base, "run", "access.log"),
      orlop: (args) => node.start([process.execPath, spec.program ?? orlopMain, ...args]),
    };
    writeFileSync(node.configFile, nodeConfig(node, meshFile, caFile, spec));
    return node;
  });
  const pods = nodes.flatMap((node) => node.pods);
  const cluster: Cluster = {
    id: box.id,
    dir: box.runDir,
    cgroup: box.cgroup,
    wire: host("wire", { ip4: "", ip6: "" }),
    outside: host("outside", outsideAddresses),
    nodes,
    meshFile,
    caFile,
    node: (name) => named(nodes, name),
    pod: (name) => named(pods, name),
    writeMesh: (text) => {
      writeFileSync(`${meshFile}.new`, text);
      renameSync(`${meshFile}.new`, meshFile);
    },
    close,
  };
  cluster.writeMesh("");
  return cluster;
}

function named<T extends { readonly name: string }>(all: readonly T[], name: string): T {
  const found = all.find((item) => item.name === name);
  if (found === undefined) throw new Error(`the cluster has no ${name}`);
  return found;
}

function nodeConfig(node: Node, meshFile: string, caFile: string, spec: ClusterSpec): string {
  // Agents of earlier releases do not know the field.
  const requests = spec.loggedRequests === undefined ? "" : `    requests: ${spec.loggedRequests}\n`;
  return `apiVersion: orlop.dev/v1alpha1
kind: NodeConfig
metadata:
  name: ${node.name}
spec:
  node: ${node.name}
  cluster: box
  runDir: ${node.runDir}
  bpffs: ${node.bpffs}
  podsCgroup: ${node.podsCgroup}
  mesh: ${meshFile}
  ca:
    rootFile: ${caFile}
    leafTtlSeconds: ${spec.leafTtlSeconds ?? 3600}
  log:
    level: info
    access: ${node.accessLog}
${requests}${spec.nodeConfig ?? ""}`;
}
