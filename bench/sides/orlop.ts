// bench · Orlop as it is installed: `orlop run` on both nodes, STRICT, one policy in force, one data thread each. It stays up
// for the whole run.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { version } from "../../agent/version.ts";
import { pidOf, startMesh, until, view } from "../../demo/mesh-run.ts";
import type { Cluster, Node } from "../../test/box/cluster.ts";
import { signLeaf } from "../certificates.ts";
import { startLoad, type Target } from "../load.ts";
import { type Box, folderIn, SERVER_PORT, type World } from "../world.ts";
import type { Handshake, OpenSide, Route } from "./side.ts";

const HBONE_PORT = 15_008;
const opened = new WeakMap<World, Promise<Box>>();

export const openOrlop: OpenSide = async (world, route) => {
  const known = opened.get(world) ?? openMesh(world);
  opened.set(world, known);
  const box = await known;
  const server = route === "cross-node" ? box.server : box.neighbour;
  const target = { host: server.ip4, port: SERVER_PORT };
  await proveMeshed(box, target, route);
  const { cluster, client } = box;
  return {
    ...{ name: "orlop", version: `Orlop ${version}, Node ${process.version}`, box, client, target },
    pids: () => cluster.nodes.flatMap(processesOf),
    carriers: () => cluster.nodes.map((node) => pidOf(node, "agent")).filter((pid) => pid !== undefined),
    serverPids: () => processesOf(cluster.node("node-b")),
    ...(route === "cross-node" ? { handshake: handshakeOf(box) } : {}),
    stop: async () => {},
  };
};

async function openMesh(world: World): Promise<Box> {
  const box = await world.mesh();
  const { cluster } = box;
  cluster.writeMesh(meshText(cluster));
  for (const node of cluster.nodes) {
    // The peers write no line per connection either.
    const config = readFileSync(node.configFile, "utf8");
    writeFileSync(node.configFile, config.replace(/access: .*/, "access: off").replace("level: info", "level: warn"));
  }
  await startMesh(cluster);
  await until("capture of all pods", 20_000, async () => {
    for (const node of cluster.nodes) {
      const { items } = await view(node, "workloads");
      const own = items.filter((item) => item.node === node.name && item.name !== OUTSIDER);
      if (own.length === 0 || own.some(({ capture }) => capture !== "captured")) return undefined;
    }
    return true;
  });
  return box;
}

/** A pod of this name stays out of the mesh. */
const OUTSIDER = "redirected";
const modeOf = ({ name }: { readonly name: string }): string =>
  name === OUTSIDER ? ", orlop.dev/dataplane-mode: none" : "";

function meshText(cluster: Cluster): string {
  const workloads = cluster.nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: bench, uid: ${pod.uid}, labels: {app: ${pod.name}${modeOf(pod)}}}
spec: {addresses: ["${pod.ip4}"], node: ${node.name}, serviceAccount: ${pod.serviceAccount}}
`,
    ),
  );
  return [
    `apiVersion: v1
kind: Namespace
metadata: {name: bench, labels: {orlop.dev/dataplane-mode: ambient}}
`,
    ...workloads,
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: bench}
spec: {mtls: {mode: STRICT}}
`,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: bench}
spec:
  action: ALLOW
  rules:
    - from: [{source: {principals: ["cluster.local/ns/bench/sa/client"]}}]
`,
  ].join("---\n");
}

/** Keeper, agent and their supervisor; the process that only holds the node's namespace is none of Orlop's. */
function processesOf(node: Node): readonly number[] {
  const all = readFileSync(path.join(node.place.cgroup, "cgroup.procs"), "utf8").trim().split("\n").map(Number);
  return all.filter((pid) => pid !== node.place.pid);
}

/** A figure of traffic that went past the mesh would be worthless: the agent itself must list the connection. */
async function proveMeshed({ cluster, client }: Box, target: Target, route: Route): Promise<void> {
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("the cluster has no node");
  const probe = startLoad(client, target, { mode: "rr", seconds: 3, warmup: 0, watch: [] });
  try {
    await until(`a meshed connection to ${target.host}:${target.port}`, 3_000, async () => {
      const { items } = await view(node, "connections");
      const fine = items.some(({ destination, security, protocol, verdict }) => {
        if (destination.address !== target.host && route === "same-node") return false;
        return route === "cross-node" ? security === "mtls" && protocol === "HBONE" : verdict !== "deny";
      });
      return fine ? true : undefined;
    });
  } finally {
    await probe.stop();
  }
}

function handshakeOf({ cluster, server }: Box): Handshake {
  const folder = folderIn(cluster, "certificates");
  // The root file holds key and certificate.
  const ca = { certificate: cluster.caFile, key: cluster.caFile };
  const leaf = signLeaf(folder, ca, { name: "handshaker", san: "URI:spiffe://cluster.local/ns/bench/sa/client" });
  return { host: server.ip4, port: HBONE_PORT, ca: cluster.caFile, ...leaf, serverName: "" };
}
