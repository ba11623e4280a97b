// Requests of HTTP/2 and gRPC are judged, each for itself, with the caller's proved identity: on one node and across nodes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { accessLog, until } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, NodeSpec } from "../box/cluster.ts";
import type { GrpcAsked, GrpcHeard } from "../support/grpc-caller.ts";
import { LineCaller, rewriteMesh, serve, supportProgram } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { ambientNamespace, meshOf, workloadsOf } from "../support/mesh-documents.ts";

const PORT = 9090;
const INADEQUATE_SECURITY = 12;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near", labels: { serves: "grpc" } }] },
  { name: "node-b", pods: [{ name: "far", labels: { serves: "grpc" } }] },
];

/** `paths`: what `client` may ask of those that serve gRPC. */
function meshText(cluster: Cluster, paths: readonly string[]): string {
  return meshOf([
    ambientNamespace(),
    ...workloadsOf(cluster, ({ labels }) => labels),
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
  ]);
}

const hello = "/demo.Greeter/Hello";
const watch = "/demo.Greeter/Watch";
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) => meshText(cluster, [hello, watch]));
  for (const name of ["near", "far"]) await serve(journey.cluster.pod(name), supportProgram("grpc-app"), PORT);
});
after(() => journey?.close());

class Caller extends LineCaller<GrpcAsked, GrpcHeard> {
  constructor(host: string) {
    super(journey.cluster.pod("client"), supportProgram("grpc-caller"), host, PORT);
  }
}

const write = (paths: readonly string[]): Promise<void> =>
  rewriteMesh(journey.cluster, meshText(journey.cluster, paths));

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
        caller.kill();
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
      caller.kill();
      await write([hello, watch]);
    });
  });
}
