import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FakeMesh, peerAuthentication, policy, ruleFor, service, streamRoute, workload } from "../mesh/mesh.fake.ts";
import { lineText, nowhere } from "../mesh/source-ref.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { limit } from "../policy/policy.fake.ts";
import { type Explanation, explain } from "./explain.ts";
import { explainRequest, requestOf } from "./explain-request.ts";
import type { LetInOfNode } from "./node-access.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api-1", { addresses: ["10.0.0.2"], node: "n2", workloadName: "api", labels: { app: "api" } });
const near = workload("near", { addresses: ["10.0.0.3"] });
const old = workload("old", { addresses: ["10.0.0.9"], protocol: "none" });

function ask(src: string, dst: string, change: (mesh: FakeMesh) => void = () => {}): Explanation {
  const mesh = new FakeMesh([web, api, near, old], [service("api")]);
  change(mesh);
  const answer = explain(src, dst, { mesh, judge: judgeOf(mesh) });
  if ("error" in answer) throw new Error(answer.error);
  return answer;
}
function error(src: string, dst: string): string {
  const mesh = new FakeMesh([web, api, near, old], [service("api")]);
  const answer = explain(src, dst, { mesh, judge: judgeOf(mesh) });
  return "error" in answer ? answer.error : "";
}
const on = { node: "n1", mode: "kubelet", programs: ["kubelet (pid 7, /a)"], problem: "" } as const;
function askNode(
  dst: string,
  nodeAccess: LetInOfNode | null = on,
  mode: "STRICT" | "PERMISSIVE" = "STRICT",
): Explanation {
  const probed = workload("probed", { addresses: ["10.0.0.4"], probePorts: [8080] });
  const mesh = new FakeMesh([web, api, near, old, probed], [service("api")]);
  mesh.peers.push(peerAuthentication(mode));
  const answer = explain("node", dst, { mesh, judge: judgeOf(mesh), ...(nodeAccess && { nodeAccess }) });
  if ("error" in answer) throw new Error(answer.error);
  return answer;
}
const step = (answer: Explanation, id: string): string => answer.steps.find((one) => one.id === id)?.summary ?? "";

describe("explain", () => {
  test("a program of the node that is let in is judged by nobody", () => {
    for (const dst of ["10.0.0.1:8080", "shop/web:1", "10.0.0.4:8080"]) {
      const answer = askNode(dst);
      assert.deepEqual([answer.verdict, answer.reason, answer.decidedBy], ["allow", "node-access", null], dst);
      assert.equal(step(answer, "source"), "kubelet (pid 7, /a)");
      assert.match(step(answer, "node-access"), /^nodeAccess kubelet: /);
    }
  });

  test("a program of the node that is not let in there is judged as plaintext, and the explanation says why", () => {
    const off = { ...on, mode: "none", programs: [] } as const;
    for (const [dst, access, why] of [
      ["10.0.0.1:8080", off, /nodeAccess is none$/],
      ["10.0.0.1:8080", { ...off, problem: "several may be the kubelet" }, /several may be the kubelet$/],
      ["10.0.0.1:8080", null, /no agent was asked$/],
      ["10.0.0.4:8081", on, /port 8081 is not a port of its probes and hooks: 8080$/],
      ["10.0.0.2:8080", on, /on another node$/],
    ] as const) {
      const answer = askNode(dst, access);
      assert.deepEqual([answer.verdict, answer.reason], ["deny", "mtls-required"], dst);
      assert.match(step(answer, "node-access"), why);
    }
    assert.equal(askNode("10.0.0.1:8080", off, "PERMISSIVE").verdict, "allow");
    assert.match(step(askNode("10.0.0.9:80"), "node-access"), /not in the mesh$/);
  });

  test("an allowed call through a service, by every way of naming it", () => {
    for (const dst of [
      "shop/api",
      "shop/api:80",
      "api:80",
      "10.96.0.1:80",
      "10.96.0.1",
      "api.shop.svc.cluster.local:80",
    ]) {
      const answer = ask("shop/web", dst);
      assert.equal(answer.verdict, "allow", dst);
      assert.equal(answer.reason, "");
      assert.equal(answer.dst, "shop/api:80");
      assert.equal(step(answer, "source"), "shop/web 10.0.0.1 on n1, spiffe://cluster.local/ns/shop/sa/web");
      assert.equal(step(answer, "resolve"), "service shop/api 10.96.0.1:80 → 10.0.0.2:8080 (shop/api-1 on n2)");
      assert.match(step(answer, "transport"), /^HBONE to 10\.0\.0\.2:15008, mTLS as .*sa\/web, expecting .*sa\/api-1$/);
      assert.equal(step(answer, "verdict"), "allowed");
    }
  });

  test("a pod's calls to itself are allowed whatever the policies say, by its own address or by a Service", () => {
    const nobody = (mesh: FakeMesh) =>
      mesh.policies.push(policy("DENY", [ruleFor(["api-1", "web"].map((name) => `cluster.local/ns/shop/sa/${name}`))]));
    for (const dst of ["10.0.0.2:8080", "api:80"]) {
      const answer = ask("shop/api-1", dst, nobody);
      assert.deepEqual([answer.verdict, answer.reason], ["allow", ""], dst);
      assert.equal(step(answer, "verdict"), "allowed: a pod's calls to itself are not judged");
    }
    assert.equal(ask("shop/web", "api:80", nobody).verdict, "deny");
  });

  test("an address that two workloads claim is refused, and both are named", () => {
    const rival = workload("rival", { addresses: ["10.0.0.2"], node: "n3" });
    const answer = ask("shop/web", "10.0.0.2:80", (mesh) => void mesh.list.push(rival));
    assert.deepEqual([answer.verdict, answer.reason], ["deny", "address-conflict"]);
    const words = "several workloads claim the destination address: shop/api-1 and shop/rival";
    assert.equal(step(answer, "resolve"), `10.0.0.2:80: ${words}`);
    assert.equal(step(answer, "verdict"), `refused: ${words}`);
  });

  test("a denied call names the rule, where it stands and the nearest miss", () => {
    const answer = ask("shop/web", "shop/api:80", (mesh) =>
      mesh.policies.push(policy("ALLOW", [ruleFor(["cluster.local/ns/shop/sa/near"])])),
    );
    assert.equal(answer.verdict, "deny");
    assert.equal(answer.reason, "no-allow-matched");
    assert.equal(lineText(answer.nearestMiss[0]?.rule.from ?? nowhere), "mesh.yaml:9");
    const denied = ask("shop/web", "10.0.0.2:8080", (mesh) =>
      mesh.policies.push(policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/web"])])),
    );
    assert.equal(lineText(denied.decidedBy?.from ?? nowhere), "mesh.yaml:9");
    assert.equal(denied.steps.find((one) => one.id === "deny")?.status, "decides");
    assert.equal(denied.steps.at(-1)?.summary, "denied: denied-by-policy");
  });

  test("a cap on connections is said where a DestinationRule has it, and of others nothing", () => {
    const traffic = { outliers: null, maxRequests: null, hash: null, balance: null, warmUp: null, from: nowhere };
    const capped = ask("shop/web", "shop/api:80", (mesh) =>
      mesh.serviceList.splice(0, 1, service("api", { traffic: { ...traffic, maxConnections: 7 } })),
    );
    assert.match(step(capped, "caps"), /^at most 7 connections of this caller to a port of shop\/api are open/);
    assert.equal(step(ask("shop/web", "shop/api:80"), "caps"), "");
  });

  test("two pods of one node: no tunnel, identity proved by the kernel, the same judge", () => {
    const answer = ask("shop/web", "shop/near:8080", (mesh) => mesh.peers.push(peerAuthentication("STRICT")));
    assert.equal(answer.verdict, "allow");
    assert.match(step(answer, "transport"), /^same node/);
    const denied = ask("shop/web", "shop/near:8080", (mesh) =>
      mesh.policies.push(policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/web"])])),
    );
    assert.equal(denied.verdict, "deny");
  });

  test("who is not captured calls in plaintext: STRICT denies, PERMISSIVE allows", () => {
    for (const src of ["shop/old", "10.0.0.9", "203.0.113.5"]) {
      const denied = ask(src, "shop/api:80", (mesh) => mesh.peers.push(peerAuthentication("STRICT")));
      assert.equal(denied.reason, "mtls-required", src);
      assert.equal(denied.decidedBy?.kind, "PeerAuthentication");
      assert.equal(ask(src, "shop/api:80").verdict, "allow");
      assert.match(step(ask(src, "shop/api:80"), "transport"), /^plaintext/);
    }
  });

  test("outside the mesh no policy applies", () => {
    assert.equal(step(ask("shop/web", "8.8.8.8:443"), "verdict"), "allowed: no policy applies outside the mesh");
    assert.equal(ask("shop/web", "shop/old:1").verdict, "allow");
    assert.equal(ask("203.0.113.5", "shop/old:1").verdict, "allow");
  });

  test("what the router refuses is said with its reason", () => {
    assert.equal(ask("shop/web", "shop/api:81").reason, "no-service-port");
    assert.equal(ask("shop/web", "10.0.0.2:15008").reason, "own-port");
    assert.equal(ask("shop/web", "[::1]:15001").reason, "self-call");
    const nobody = ask("shop/web", "shop/api:80", (mesh) => {
      mesh.list = [web];
    });
    assert.equal(nobody.reason, "no-healthy-endpoint");
    assert.equal(nobody.steps.find((one) => one.id === "resolve")?.status, "decides");
  });

  test("what cannot be understood is an error in words", () => {
    assert.match(error("shop/nobody", "shop/api"), /no workload shop\/nobody/);
    assert.match(error("shop/web", "shop/nobody:80"), /nobody is called shop\/nobody/);
    assert.match(error("shop/web", "shop/near"), /which port of shop\/near/);
    assert.match(error("shop/web", "shop/api:99999"), /1 to 65535/);
    assert.match(error("shop/web", "shop/api:http"), /^shop\/api:http is no destination: write shop\/api:8080/);
    assert.match(error("shop/web", ":::::"), /is no destination/);
  });
});

describe("explain, with limits", () => {
  const asked = (path?: string) => {
    const mesh = new FakeMesh([web, api, near, old], [service("api")]);
    mesh.limits.push(limit("orders", { requests: 5, burst: 2, per: [{ by: "source" }] }));
    const request = path === undefined ? null : requestOf("shop/api:80", { path });
    if (request !== null && "error" in request) throw new Error(request.error);
    const answer = explainRequest("shop/web", "shop/api:80", { mesh, judge: judgeOf(mesh) }, request);
    if ("error" in answer) throw new Error(answer.error);
    return answer;
  };

  test("a request is allowed, and a step names what counts it and the order of judgement", () => {
    for (const answer of [asked("/orders"), asked()]) {
      assert.equal(answer.verdict, "allow");
      assert.match(
        step(answer, "limits"),
        /^counted by shop\/orders 5\/second per source per pod, burst 2 at .*1 mutual TLS, 2 DENY, 3 ALLOW, 4 limits/,
      );
      assert.match(step(answer, "not-http"), /deny \(limited\)/);
    }
  });
});

describe("explain, with a route of connections", () => {
  const asked = (host?: string) => {
    const mesh = new FakeMesh([web, api, near, old], [service("api")]);
    const backends = [{ service: "shop/api", port: 80, weight: 1 }];
    const parents = [{ service: "shop/api", port: 80, portName: null }];
    mesh.streamRoutes.push(streamRoute("TLSRoute", "shop/api", { hostnames: ["a.example"], backends, parents }));
    const request = host === undefined ? null : requestOf("shop/api:80", { host });
    if (request !== null && "error" in request) throw new Error(request.error);
    const answer = explainRequest("shop/web", "shop/api:80", { mesh, judge: judgeOf(mesh) }, request);
    if ("error" in answer) throw new Error(answer.error);
    return answer;
  };

  test("the route that takes the connection is named, or why none does", () => {
    const taken = asked("A.example:443");
    assert.equal(taken.verdict, "allow");
    assert.equal(step(taken, "route"), "TLSRoute shop/api at mesh.yaml:5, server a.example: takes it, to shop/api:80");
    const lost = asked();
    assert.deepEqual([lost.verdict, lost.reason], ["deny", "no-tls-route"]);
    assert.match(step(lost, "route"), /^no TLSRoute takes the connection, without a server's name \(--host/);
  });
});
