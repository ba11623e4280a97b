// bench · Orlop as it is installed: `orlop run` on both nodes, STRICT, one policy in force per namespace, one data thread each. It stays
// up for the whole run. Connections to some servers are judged once, to others each request is, and a Service with routes leads there.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { version } from "../../agent/process/version.ts";
import { pidOf, startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Node, Pod } from "../../test/box/cluster.ts";
import { startLoad, type Target } from "../load/load.ts";
import { signLeaf } from "../world/certificates.ts";
import {
  type Box,
  CALLS_PORT,
  folderIn,
  JUDGED_NAMESPACE,
  type Mesh,
  REVISION_BEFORE,
  SERVER_PORT,
  type World,
} from "../world/world.ts";
import { type CallsOf, startCallee } from "./callee.ts";
import type { Handshake, OpenSide, Route } from "./side.ts";

const HBONE_PORT = 15_008;
const VERSION = `Orlop ${version}, Node ${process.version}`;
const versionOf = (mesh: Mesh): string => (mesh === "before" ? `revision ${REVISION_BEFORE}` : VERSION);
/** By what their agents are, where they are not the usual ones. */
const names: Readonly<Partial<Record<Mesh, string>>> = { openssl: "orlop-openssl", before: "orlop-before" };
type Way = {
  readonly judges: "connections" | "requests";
  readonly mesh: Mesh;
  /** The client dials a Service with so many routes, of which the last takes its requests; without, the server itself. */
  readonly routes?: keyof typeof routed;
};
/** Services in front of the judged server, by the number of their routes. */
const routed = { 1: "10.96.0.11", 1000: "10.96.0.12" } as const;
const opened: Readonly<Record<Mesh, WeakMap<World, Promise<Box>>>> = {
  usual: new WeakMap(),
  logging: new WeakMap(),
  openssl: new WeakMap(),
  before: new WeakMap(),
};

const openOrlopAs =
  ({ judges, mesh, routes }: Way): OpenSide =>
  async (world, route) => {
    const box = await openedMesh(world, mesh);
    const server = serverOf(box, route, judges);
    const target = { host: routes === undefined ? server.ip4 : routed[routes], port: SERVER_PORT };
    // No route takes the path that the policy does not allow either.
    if (routes !== undefined) await proveStatus(box, target, "404");
    else if (judges === "requests") await proveStatus(box, target, "403");
    else await proveMeshed(box, target, route);
    const { cluster, client } = box;
    return {
      ...{ name: names[mesh] ?? "orlop", version: versionOf(mesh), box, client, target },
      pids: () => cluster.nodes.flatMap(processesOf),
      carriers: () => cluster.nodes.map((node) => pidOf(node, "agent")).filter((pid) => pid !== undefined),
      serverPids: () => processesOf(cluster.node("node-b")),
      ...(route === "cross-node" ? { handshake: handshakeOf(box) } : {}),
      stop: async () => {},
    };
  };

export const openOrlop = openOrlopAs({ judges: "connections", mesh: "usual" });
/** Agents of the revision before the record layer of their own, and before bytes lay still between ciphertext and socket. */
export const openOrlopBefore = openOrlopAs({ judges: "connections", mesh: "before" });
/** OpenSSL seals and opens the records; all the rest is as usual. */
export const openOrlopOnOpenssl = openOrlopAs({ judges: "connections", mesh: "openssl" });
/** A policy with a method and a path bears on the server: each request is read and judged. */
export const openJudging = openOrlopAs({ judges: "requests", mesh: "usual" });
/** The same behind a Service: the caller's agent chooses a route for each request, the callee's judges it. */
export const openRouting = openOrlopAs({ judges: "requests", mesh: "usual", routes: 1 });
export const openRoutingAmong1000 = openOrlopAs({ judges: "requests", mesh: "usual", routes: 1000 });
export const openJudgingWithLog = openOrlopAs({ judges: "requests", mesh: "logging" });

/** Behind a Service with a GRPCRoute: the caller's agent chooses a rule for each call, the callee's judges it by its method. */
export const openCalls =
  (calls: CallsOf): OpenSide =>
  async (world) => {
    const box = await openedMesh(world, "usual");
    const { cluster, client, calledServer } = box;
    const callee = await startCallee(calledServer, folderIn(cluster, "calls"), calls);
    const target = { host: CALLS_IP, port: CALLS_PORT };
    try {
      await until(`calls of another method are answered by the agent`, 10_000, async () => {
        const { stdout } = await client.run([
          process.execPath,
          "-e",
          CALL_OTHER,
          `http://${target.host}:${target.port}`,
        ]);
        // UNIMPLEMENTED: no rule takes it.
        return stdout.trim() === "12" ? true : undefined;
      });
    } catch (error) {
      await callee.stop();
      throw error;
    }
    return {
      ...{ name: "orlop", version: VERSION, box, client, target },
      pids: () => cluster.nodes.flatMap(processesOf),
      serverPids: () => processesOf(cluster.node("node-b")),
      stop: async () => {
        await callee.stop();
      },
    };
  };

function serverOf(box: Box, route: Route, judges: Way["judges"]): Pod {
  if (judges === "requests") return route === "cross-node" ? box.judgedServer : box.judgedNeighbour;
  return route === "cross-node" ? box.server : box.neighbour;
}

function openedMesh(world: World, mesh: Mesh): Promise<Box> {
  const known = opened[mesh].get(world) ?? openMesh(world, mesh);
  opened[mesh].set(world, known);
  return known;
}

async function openMesh(world: World, mesh: Mesh): Promise<Box> {
  const box = await world.mesh(mesh);
  const { cluster } = box;
  cluster.writeMesh(meshText(cluster, mesh));
  for (const node of cluster.nodes) {
    // The peers write no line per connection either.
    const config = readFileSync(node.configFile, "utf8");
    const quiet = config.replace("level: info", "level: warn");
    writeFileSync(node.configFile, mesh === "logging" ? quiet : quiet.replace(/access: .*/, "access: off"));
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

function meshText(cluster: Cluster, mesh: Mesh): string {
  const workloads = cluster.nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: ${pod.namespace}, uid: ${pod.uid}, labels: {app: ${pod.name}${modeOf(pod)}}}
spec: {addresses: ["${pod.ip4}"], node: ${node.name}, serviceAccount: ${pod.serviceAccount}}
`,
    ),
  );
  return [
    `apiVersion: v1
kind: Namespace
metadata: {name: bench, labels: {orlop.dev/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ${JUDGED_NAMESPACE}, labels: {orlop.dev/dataplane-mode: ambient}}
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
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: ${JUDGED_NAMESPACE}}
spec: {mtls: {mode: STRICT}}
`,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: ${JUDGED_NAMESPACE}}
spec:
  action: ALLOW
  rules:
    - from: [{source: {principals: ["cluster.local/ns/bench/sa/client"]}}]
      to: [{operation: {methods: ["GET"], paths: ["/accounts/*"]}}]
`,
    calledText,
    // The revision before has no routes of requests.
    ...(mesh === "before" ? [] : [...servicesOf(routed), callsText]),
  ].join("---\n");
}

const CALLS_IP = "10.96.0.13";
const calledText = `apiVersion: v1
kind: Namespace
metadata: {name: called, labels: {orlop.dev/dataplane-mode: ambient}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: called}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: called}
spec:
  action: ALLOW
  rules:
    - from: [{source: {principals: ["cluster.local/ns/bench/sa/client"]}}]
      to: [{operation: {methods: [POST], paths: [/bench.Echo/Unary, /bench.Echo/Stream]}}]
`;
const callsText = `apiVersion: v1
kind: Service
metadata: {name: calls, namespace: called}
spec:
  clusterIP: ${CALLS_IP}
  selector: {app: called-server}
  ports: [{name: grpc, port: ${CALLS_PORT}, targetPort: ${CALLS_PORT}, appProtocol: kubernetes.io/h2c}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: called}
spec:
  parentRefs: [{group: "", kind: Service, name: calls, port: ${CALLS_PORT}}]
  rules:
    - matches: [{method: {service: bench.Echo, method: Unary}}, {method: {service: bench.Echo, method: Stream}}]
      backendRefs: [{name: calls, port: ${CALLS_PORT}}]
`;

const servicesOf = (ips: Readonly<Record<number, string>>): readonly string[] =>
  Object.entries(ips).flatMap(([count, ip]) => servicesText(Number(count), ip));

/** A Service in front of the judged server, with `count` routes that differ by their paths; that of the load comes last. */
function servicesText(count: number, ip: string): readonly string[] {
  const name = `routed-${count}`;
  const paths = Array.from({ length: count }, (_, nth) => (nth === count - 1 ? "/accounts" : `/resource-${nth}/items`));
  const routes = paths.map(
    (path, nth) => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}-${nth}, namespace: ${JUDGED_NAMESPACE}}
spec:
  parentRefs: [{group: "", kind: Service, name: ${name}, port: ${SERVER_PORT}}]
  rules:
    - matches: [{path: {type: PathPrefix, value: ${path}}, method: GET}]
      backendRefs: [{name: ${name}, port: ${SERVER_PORT}}]
`,
  );
  const service = `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${JUDGED_NAMESPACE}}
spec:
  clusterIP: ${ip}
  selector: {app: judged-server}
  ports: [{name: http, port: ${SERVER_PORT}, targetPort: ${SERVER_PORT}}]
`;
  return [service, ...routes];
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

/** Prints the status of the answer to a request that neither policy nor routes know. */
const ASK = `fetch(process.argv[1]).then(({ status }) => console.log(status))`;

/** Prints the status of a call that no rule takes. */
const CALL_OTHER = `
const session = require("node:http2").connect(process.argv[1]);
session.on("error", () => process.exit(1));
const call = session.request({ ":method": "POST", ":path": "/bench.Echo/Other", "content-type": "application/grpc", te: "trailers" });
call.on("error", () => process.exit(1));
call.on("response", (head) => { console.log(head["grpc-status"] ?? "none"); process.exit(); });
call.end(Buffer.alloc(5));`;

/** A figure of requests that nobody judged, or for which nobody chose a route, would be worthless. What is allowed the load generator sees. */
async function proveStatus({ client }: Box, { host, port }: Target, wanted: "403" | "404"): Promise<void> {
  await until(`requests to ${host}:${port} for another path are answered ${wanted}`, 10_000, async () => {
    const { stdout } = await client.run([process.execPath, "-e", ASK, `http://${host}:${port}/other`]);
    return stdout.trim() === wanted ? true : undefined;
  });
}

function handshakeOf({ cluster, server }: Box): Handshake {
  const folder = folderIn(cluster, "certificates");
  // The root file holds key and certificate.
  const ca = { certificate: cluster.caFile, key: cluster.caFile };
  const leaf = signLeaf(folder, ca, { name: "handshaker", san: "URI:spiffe://cluster.local/ns/bench/sa/client" });
  return { host: server.ip4, port: HBONE_PORT, ca: cluster.caFile, ...leaf, serverName: "" };
}
