// Routes for callers that speak HTTP/2: each call of a pod's connection goes where its rule says, on one node and across nodes. The
// callee's policy judges what arrives.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { view } from "../../demo/mesh/mesh-run.ts";
import type { Host, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import type { GrpcAsked, GrpcHeard } from "../support/grpc-caller.ts";
import { LineCaller, requestRecord, serve, supportProgram } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { ambientNamespace, meshOf, servicesOf, workloadsOf } from "../support/mesh-documents.ts";

const PORT = 9090;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near" }] },
  { name: "node-b", pods: [{ name: "far" }] },
];
const services = ["greeter", "near", "far", "calls"].map((name) => ({ name }));
const ports = [{ name: "grpc", port: 80, targetPort: PORT }];

const routes = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: greeter, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: greeter, port: 80}]
  rules:
    - name: header
      matches: [{path: {value: /demo.Greeter}, headers: [{name: x-tester, value: "yes"}]}]
      filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: x-name, value: tested}]}
      backendRefs: [{name: near, port: 80}]
    - name: secret
      matches: [{path: {value: /demo.Greeter/Secret}}]
      backendRefs: [{name: near, port: 80}]
    - name: split
      matches: [{path: {value: /demo.Greeter}}]
      backendRefs: [{name: far, port: 80, weight: 90}, {name: near, port: 80, weight: 10}]
`;

const grpcRoute = `apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: calls}]
  rules:
    - name: method
      matches: [{method: {service: demo.Greeter, method: Hello}}]
      backendRefs: [{name: far, port: 80}]
    - name: service
      matches: [{method: {type: RegularExpression, service: "demo\\\\.[A-Z].*"}}]
      filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: x-name, value: by-service}]}
      backendRefs: [{name: near, port: 80}]
`;

/** Of both backends: who asks for secrets is refused. */
const guards = ["near", "far"].map(
  (app) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: guard-${app}, namespace: demo}
spec:
  selector: {matchLabels: {app: ${app}}}
  action: DENY
  rules: [{to: [{operation: {paths: [/demo.Greeter/Secret]}}]}]
`,
);

let journey: Journey;
const called = serviceAddresses(1);
const pod = (name: string): Host => journey.cluster.pod(name);
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) =>
    meshOf([
      ...[ambientNamespace(), ...workloadsOf(cluster), ...servicesOf(services, ports)],
      ...[...guards, routes, grpcRoute],
    ]),
  );
  for (const name of ["near", "far"]) await serve(pod(name), supportProgram("grpc-app"), PORT, name);
});
after(() => journey?.close());

class Caller {
  readonly #calls: LineCaller<GrpcAsked, GrpcHeard>;

  constructor(host: string) {
    this.#calls = new LineCaller(pod("client"), supportProgram("grpc-caller"), host, 80);
  }

  ask(asked: Omit<GrpcAsked, "isGrpc">): Promise<GrpcHeard> {
    return this.#calls.ask({ isGrpc: true, ...asked });
  }

  end(): void {
    this.#calls.kill();
  }
}

describe("calls of gRPC to a Service with routes", { concurrency: 1 }, () => {
  test("go by weight to the backends of their rule, each for itself, whole and with trailers", async () => {
    for (const host of [called.ip4, called.ip6]) {
      const caller = new Caller(host);
      const names = new Map<string, number>();
      for (let call = 0; call < 200; call++) {
        const heard = await caller.ask({ path: "/demo.Greeter/Hello" });
        assert.deepEqual([heard.status, heard.grpcStatus, heard.body?.slice(5), heard.code], [200, "0", "hey", 0]);
        names.set(heard.name ?? "", (names.get(heard.name ?? "") ?? 0) + 1);
      }
      // Fewer than 4 of 200, or more than 48, come once in a hundred thousand runs.
      const near = names.get("near") ?? 0;
      assert.ok(near >= 4 && near <= 48, `${near} of 200`);
      assert.equal(names.get("far"), 200 - near);
      caller.end();
    }
  });

  test("a header chooses another rule, which changes the response; what no rule takes is UNIMPLEMENTED", async () => {
    const caller = new Caller(called.ip4);
    const tested = await caller.ask({ path: "/demo.Greeter/Hello", headers: { "x-tester": "yes" } });
    assert.deepEqual([tested.grpcStatus, tested.name], ["0", "tested"]);
    const none = await caller.ask({ path: "/other.Service/Call" });
    assert.deepEqual([none.status, none.grpcStatus], [200, "12"]);
    assert.equal((await caller.ask({ path: "/demo.Greeter/Hello" })).grpcStatus, "0");
    caller.end();
  });

  test("on one node the callee's policy judges each call, and the others of its connection go on", async () => {
    const caller = new Caller(called.ip4);
    const refused = await caller.ask({ path: "/demo.Greeter/Secret" });
    assert.deepEqual([refused.status, refused.grpcStatus, refused.grpcMessage], [200, "7", "RBAC: access denied"]);
    assert.equal((await caller.ask({ path: "/demo.Greeter/Hello" })).grpcStatus, "0");
    caller.end();
    const node = journey.cluster.node("node-a");
    const record = await requestRecord(node, "/demo.Greeter/Secret", { direction: "outbound" });
    assert.equal(record.route_name, "demo/greeter[1]");
  });

  test("a GRPCRoute chooses by method and service", async () => {
    const caller = new Caller(serviceAddresses(4).ip4);
    const names: (string | undefined)[] = [];
    for (const path of ["/demo.Greeter/Hello", "/demo.Greeter/Other", "/demo.Thing/Hello", "/demo/Hello"]) {
      const heard = await caller.ask({ path });
      names.push(heard.grpcStatus === "0" ? heard.name : heard.grpcStatus);
    }
    assert.deepEqual(names, ["far", "by-service", "by-service", "12"]);
    caller.end();
    const shown = await view(journey.cluster.node("node-a"), "routes");
    assert.deepEqual(
      shown.items.map(({ kind, name }) => [kind, name]),
      [
        ["GRPCRoute", "calls"],
        ["HTTPRoute", "greeter"],
      ],
    );
  });

  test("curl with prior knowledge", async () => {
    const ask = ["curl", "-sS", "-i", "-m", "10", "--http2-prior-knowledge", `http://${called.ip4}/demo.Greeter/plain`];
    const done = await pod("client").run(ask, 20_000);
    assert.match(
      done.stdout,
      /^HTTP\/2 200 \r\n[\s\S]*x-name: (near|far)\r\n[\s\S]*"path":"\/demo.Greeter\/plain"/,
      done.stderr,
    );
  });
});
