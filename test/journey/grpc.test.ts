// Requests of HTTP/2 and gRPC are judged, each for itself, with the caller's proved identity: on one node and across nodes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { accessLog, until, view } from "../../demo/mesh-run.ts";
import type { Cluster, NodeSpec } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import type { GrpcAsked, GrpcHeard } from "../support/grpc-caller.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const PORT = 9090;
const INADEQUATE_SECURITY = 12;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near", labels: { serves: "grpc" } }] },
  { name: "node-b", pods: [{ name: "far", labels: { serves: "grpc" } }] },
];

/** `paths`: what `client` may ask of those that serve gRPC. */
function meshText(cluster: Cluster, paths: readonly string[]): string {
  const workloads = cluster.nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: demo, uid: ${pod.uid}, labels: ${JSON.stringify(pod.labels)}}
spec: {addresses: ["${pod.ip4}", "${pod.ip6}"], node: ${node.name}, serviceAccount: ${pod.name}}
`,
    ),
  );
  return [
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}\n",
    ...workloads,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: grpc, namespace: demo}
spec:
  selector: {matchLabels: {serves: grpc}}
  action: ALLOW
  rules:
  - from: [{source: {principals: ["cluster.local/ns/demo/sa/client"]}}]
    to: [{operation: {ports: ["${PORT}"], paths: ${JSON.stringify(paths)}}}]
`,
  ].join("---\n");
}

const hello = "/demo.Greeter/Hello";
const watch = "/demo.Greeter/Watch";
let journey: Journey;
const program = (name: string): string => fileURLToPath(new URL(`../support/${name}.ts`, import.meta.url));
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) => meshText(cluster, [hello, watch]));
  for (const name of ["near", "far"]) {
    const app = journey.cluster.pod(name).start([process.execPath, program("grpc-app"), String(PORT)]);
    await app.line(20_000, (line) => line === "listening");
  }
});
after(() => journey?.close());

class Caller {
  readonly #running: Running;

  constructor(host: string) {
    const from = journey.cluster.pod("client");
    this.#running = from.start([process.execPath, program("grpc-caller"), host, String(PORT)]);
  }

  async ask(asked: GrpcAsked): Promise<GrpcHeard> {
    this.#running.write(`${JSON.stringify(asked)}\n`);
    return this.heard();
  }

  async heard(): Promise<GrpcHeard> {
    return JSON.parse(await this.#running.line(20_000, (line) => line.startsWith("{"))) as GrpcHeard;
  }

  end(): void {
    this.#running.kill("SIGKILL");
  }
}

async function write(paths: readonly string[]): Promise<void> {
  const applied = async () =>
    Promise.all(journey.cluster.nodes.map(async (node) => (await view(node, "status")).source.appliedAt));
  const before = await applied();
  journey.cluster.writeMesh(meshText(journey.cluster, paths));
  await until("the new mesh", 20_000, async () =>
    (await applied()).every((at, index) => at !== before[index]) ? true : undefined,
  );
}

for (const [way, name, home] of [
  ["on one node", "near", "node-a"],
  ["across nodes", "far", "node-b"],
] as const) {
  describe(way, { concurrency: 1 }, () => {
    test("a call of gRPC is judged by its method, a refused call has its status, and the connection goes on", async () => {
      for (const host of [journey.cluster.pod(name).ip4, journey.cluster.pod(name).ip6]) {
        const caller = new Caller(host);
        const allowed = await caller.ask({ path: hello, isGrpc: true });
        assert.deepEqual([allowed.status, allowed.grpcStatus, allowed.body?.slice(5)], [200, "0", "hey"]);
        const refused = await caller.ask({ path: "/demo.Greeter/Secret", isGrpc: true });
        assert.deepEqual(
          [refused.status, refused.grpcStatus, refused.grpcMessage, refused.body],
          [200, "7", "RBAC: access denied", ""],
        );
        const plain = await caller.ask({ path: "/secret", isGrpc: false });
        assert.deepEqual([plain.status, plain.body], [403, "RBAC: access denied"]);
        assert.equal((await caller.ask({ path: hello, isGrpc: true })).grpcStatus, "0");
        caller.end();
      }
      const refused = () =>
        accessLog(journey.cluster.node(home)).find(
          ({ message, path, "dst.workload": workload }) =>
            message === "request complete" && path === "/demo.Greeter/Secret" && workload === name,
        );
      const record = await until("its record", 10_000, refused);
      assert.equal(record["src.identity"], "spiffe://cluster.local/ns/demo/sa/client");
    });

    test("a stream that policy forbids while it is open is reset, and the other calls of its connection go on", async () => {
      const caller = new Caller(journey.cluster.pod(name).ip4);
      assert.equal((await caller.ask({ path: watch, isGrpc: true })).began, true);
      await write([hello]);
      const fell = await caller.heard();
      assert.deepEqual([fell.path, fell.status, fell.code], [watch, 200, INADEQUATE_SECURITY]);
      assert.equal((await caller.ask({ path: hello, isGrpc: true })).grpcStatus, "0");
      assert.equal((await caller.ask({ path: watch, isGrpc: true })).grpcStatus, "7");
      caller.end();
      await write([hello, watch]);
    });
  });
}
