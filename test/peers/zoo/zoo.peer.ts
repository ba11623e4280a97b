// test peers · the zoo: client programs as people use them, each beside a server of its kind. What a program prints through a
// meshed pair of pods has to equal what it prints between two pods without a mesh; of HTTP/1.1 also where each request is judged.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { logSince } from "../../../demo/mesh/mesh-box.ts";
import { accessLog, startMesh } from "../../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Pod } from "../../box/cluster.ts";
import { type Running, tail } from "../../box/process.ts";
import { peerCase } from "../support/cases.ts";
import { soak } from "../support/soak.ts";
import { listening } from "../support/world.ts";
import type { Program, Server } from "./program.ts";
import { CALLS_PER_PROGRAM, httpServer, programs } from "./programs.ts";

const CLIENT_MS = 120_000;
const calls = soak(CALLS_PER_PROGRAM, 2_000);
let cluster: Cluster;
/** By server and pod. */
const started = new Map<string, Promise<Running>>();

before(async () => {
  cluster = await createCluster({
    nodes: [
      { name: "node-a", pods: [{ name: "client" }, { name: "plain-client" }] },
      { name: "node-b", pods: [{ name: "server" }, { name: "judged" }, { name: "plain-server" }] },
    ],
    nodeConfig: "  dataThreads: 1\n",
  });
  cluster.writeMesh(meshText(cluster));
  await startMesh(cluster);
  await Promise.all(serverPods().map((pod) => startServer(httpServer, pod)));
});
after(() => cluster?.close());

const serverPods = (): readonly Pod[] => [cluster.pod("server"), cluster.pod("plain-server")];

/**
 * `server` and `judged` are STRICT: they take nothing that is not meshed. At `judged` a policy reads each request. The plain pods are
 * out of the mesh.
 */
function meshText({ nodes }: Cluster): string {
  const workloads = nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata:
  name: ${pod.name}
  namespace: demo
  uid: ${pod.uid}
  labels: {app: ${pod.name}${pod.name.startsWith("plain-") ? ", orlop.dev/dataplane-mode: none" : ""}}
spec:
  addresses: ["${pod.ip4}", "${pod.ip6}"]
  node: ${node.name}
  serviceAccount: ${pod.serviceAccount}
`,
    ),
  );
  return [
    `apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}
`,
    ...workloads,
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: demo}
spec: {selector: {matchLabels: {app: server}}, mtls: {mode: STRICT}}
`,
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict-judged, namespace: demo}
spec: {selector: {matchLabels: {app: judged}}, mtls: {mode: STRICT}}
`,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: calls, namespace: demo}
spec:
  selector: {matchLabels: {app: judged}}
  rules: [{to: [{operation: {ports: ["${httpServer.port}"], methods: [POST], paths: ["/call/{*}"]}}]}]
`,
  ].join("---\n");
}

/** Started once in each pod. */
function startServer(server: Server, pod: Pod): Promise<Running> {
  const key = `${server.name} ${pod.name}`;
  const known = started.get(key) ?? launch();
  started.set(key, known);
  return known;

  async function launch(): Promise<Running> {
    const running = pod.start(server.serve({ host: pod.ip4, folder: `${cluster.dir}/${server.name}-${pod.name}` }));
    await listening(pod, server.port, running);
    if (server.ready) await running.line(60_000, server.ready);
    return running;
  }
}

/** What it prints, line by line. */
async function use(program: Program, from: Pod, to: Pod): Promise<readonly string[]> {
  const done = await from.run(program.call(to.ip4, program.server.port + (program.portOffset ?? 0), calls), CLIENT_MS);
  assert.equal(done.status, 0, `${from.name}: ${tail(done.stderr || done.stdout)}`);
  return done.stdout.trim().split("\n");
}

const isHttp1 = ({ server, portOffset }: Program): boolean => server === httpServer && portOffset === undefined;

/** No honest request is refused, and what the policy does not name is. */
async function judged(program: Program, plain: readonly string[]): Promise<void> {
  const pod = cluster.pod("judged");
  await startServer(program.server, pod);
  const node = cluster.node("node-b");
  const before = accessLog(node).length;
  assert.deepEqual(await use(program, cluster.pod("client"), pod), plain, "each request judged");
  const refused = accessLog(node)
    .slice(before)
    .filter(({ response_code }) => response_code !== undefined)
    // A slow request has a line, too.
    .filter(({ response_code, response_flags }) => Number(response_code) >= 400 || response_flags !== "-");
  assert.deepEqual(refused, []);
  const ask = [
    "curl",
    "--silent",
    "--http1.1",
    "-d",
    "x",
    "-w",
    " %{http_code}",
    `http://${pod.ip4}:${httpServer.port}/other`,
  ];
  assert.equal((await cluster.pod("client").run(ask)).stdout, "RBAC: access denied 403");
}

for (const program of programs) {
  peerCase("zoo", program.name, async (context) => {
    const [server, plainServer] = await Promise.all(serverPods().map((pod) => startServer(program.server, pod)));
    assert.ok(server?.running && plainServer?.running);
    const plain = await use(program, cluster.pod("plain-client"), cluster.pod("plain-server"));
    assert.ok(plain.length >= calls, `without a mesh: ${plain.join("\n")}`);
    const log = logSince(cluster.node("node-b"));
    const meshed = await use(program, cluster.pod("client"), cluster.pod("server"));
    assert.deepEqual(meshed, plain);
    const entry = await log.find("its connection", (line) => line.direction === "inbound");
    assert.equal(entry.security, "mtls");
    if (isHttp1(program)) await judged(program, plain);
    context.diagnostic(`${program.name}: ${meshed.length} lines, the last: ${meshed.at(-1)?.slice(0, 80)}`);
  });
}
