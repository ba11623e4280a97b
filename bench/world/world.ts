// bench · two clusters in a box with the same wires: one without any mesh for the peers, one with Orlop. The hooks of the
// one cannot touch the packets of the other.
import { mkdirSync } from "node:fs";
import path from "node:path";
import {
  type Cluster,
  type ClusterSpec,
  createCluster,
  type Host,
  type NodeSpec,
  type Pod,
} from "../../test/box/cluster.ts";
import { buildPrevious } from "../../test/box/previous.ts";
import type { Running } from "../../test/box/process.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { takeCongestionControl } from "./congestion.ts";
import { ownProgram } from "./programs.ts";

/** `neighbour` is a server on the client's own node. `redirected` has iptables rules when a scenario wants them. */
export const podsOf = (names: readonly string[]): NodeSpec["pods"] =>
  names.map((name) => ({ name, namespace: "bench", labels: { app: name } }));
/** Requests to these servers are judged, once a policy with a method and a path is in force in their namespace. */
export const JUDGED_NAMESPACE = "judged";
const judged = (name: string): NodeSpec["pods"][number] => ({
  name,
  namespace: JUDGED_NAMESPACE,
  labels: { app: name },
});
/** Answers calls of gRPC, to which a route leads. */
const called: NodeSpec["pods"][number] = {
  name: "called-server",
  namespace: "called",
  labels: { app: "called-server" },
};
/** May call whom `client` may, as another pod. */
const bystander = { name: "bystander", namespace: "bench", serviceAccount: "client", labels: { app: "bystander" } };
const nodes: readonly NodeSpec[] = [
  {
    name: "node-a",
    pods: [...podsOf(["client", "neighbour", "redirected"]), bystander, judged("judged-neighbour")],
  },
  { name: "node-b", pods: [...podsOf(["server"]), judged("judged-server"), called] },
];
export const SERVER_PORT = 9000;
export const CALLS_PORT = 9001;

export type Box = {
  readonly cluster: Cluster;
  readonly client: Pod;
  readonly server: Pod;
  readonly neighbour: Pod;
  readonly judgedServer: Pod;
  readonly judgedNeighbour: Pod;
  /** Nobody serves there until a side has started it (callee.ts). */
  readonly calledServer: Pod;
  /** The load generator's far end, by pod. */
  readonly sinks: ReadonlyMap<string, Running>;
};

/** Orlop's agents: as they are, with a line for each connection and request, with OpenSSL's record layer, or of REVISION_BEFORE. */
export type Mesh = "usual" | "logging" | "openssl" | "before";

/** The last revision in which OpenSSL sealed and opened all records, and bytes were copied between ciphertext and socket. */
export const REVISION_BEFORE = "e6c6099";

export type World = {
  /** In all namespaces of both boxes. */
  readonly congestionControl: string;
  /** Created when first asked for. */
  plain(): Promise<Box>;
  /** A box of its own for each. */
  mesh(mesh: Mesh): Promise<Box>;
  /** In the plain box's directory, removed with it. */
  certificates(): Promise<Certificates>;
  close(): Promise<void>;
};

const ONE_THREAD = "  dataThreads: 1\n";
const specOf: Readonly<Record<Mesh, () => BoxSpec>> = {
  usual: () => ({ nodeConfig: ONE_THREAD, loggedRequests: "errors" }),
  logging: () => ({ nodeConfig: ONE_THREAD, loggedRequests: "all" }),
  openssl: () => ({ nodeConfig: `${ONE_THREAD}  tls: {recordLayer: openssl}\n`, loggedRequests: "errors" }),
  // It has no lines of requests to leave out.
  before: () => ({
    nodeConfig: ONE_THREAD,
    program: path.join(buildPrevious(REVISION_BEFORE), "agent", "main.ts"),
  }),
};

export function createWorld(): World {
  let plain: Promise<Box> | undefined;
  const meshes = new Map<Mesh, Promise<Box>>();
  let certificates: Promise<Certificates> | undefined;
  const congestion = takeCongestionControl();
  const openPlain = (): Promise<Box> => {
    plain ??= openBox({ loggedRequests: "errors" }, congestion.name);
    return plain;
  };
  return {
    congestionControl: congestion.name,
    plain: openPlain,
    mesh: (mesh) => {
      const box = meshes.get(mesh) ?? openBox(specOf[mesh](), congestion.name);
      meshes.set(mesh, box);
      return box;
    },
    certificates: () => {
      certificates ??= openPlain().then(({ cluster }) => makeCertificates(folderIn(cluster, "certificates")));
      return certificates;
    },
    close: async () => {
      for (const box of [plain, ...meshes.values()]) {
        // A world that never came up has removed itself.
        const open = await box?.catch(() => undefined);
        await open?.cluster.close();
      }
      congestion.restore();
    },
  };
}

export function folderIn(cluster: Cluster, name: string): string {
  const folder = path.join(cluster.dir, name);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

type BoxSpec = Omit<ClusterSpec, "nodes">;

async function openBox(spec: BoxSpec, congestionControl: string): Promise<Box> {
  const cluster = await createCluster({ nodes, ...spec });
  try {
    await setCongestionControl(cluster, congestionControl);
    const [server, neighbour] = [cluster.pod("server"), cluster.pod("neighbour")];
    const [judgedServer, judgedNeighbour] = [cluster.pod("judged-server"), cluster.pod("judged-neighbour")];
    const calledServer = cluster.pod("called-server");
    const sinks = new Map<string, Running>();
    for (const pod of [server, neighbour, judgedServer, judgedNeighbour])
      sinks.set(pod.name, await startSink(pod, "0.0.0.0", SERVER_PORT));
    return {
      cluster,
      client: cluster.pod("client"),
      server,
      neighbour,
      judgedServer,
      judgedNeighbour,
      calledServer,
      sinks,
    };
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

async function setCongestionControl({ nodes, wire, outside }: Cluster, name: string): Promise<void> {
  for (const host of [wire, outside, ...nodes, ...nodes.flatMap(({ pods }) => pods)]) {
    const command = `echo ${name} > /proc/sys/net/ipv4/tcp_congestion_control`;
    const { status, stderr } = await host.run(["sh", "-c", command]);
    if (status !== 0) throw new Error(`${host.name} has no congestion control "${name}": ${stderr}`);
  }
}

export async function startSink(pod: Host, host: string, port: number): Promise<Running> {
  const sink = pod.start([ownProgram("load"), "serve", host, String(port)]);
  await sink.line(10_000, (line) => line === "ready");
  return sink;
}
