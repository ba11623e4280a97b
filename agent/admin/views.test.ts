import assert from "node:assert/strict";
import { test } from "node:test";
import { httpRoute, httpRule, routeBackend } from "../mesh/mesh.fake.ts";
import { nowhere } from "../mesh/source-ref.ts";
import { aWorkload } from "../observe/record.fake.ts";
import { aMesh, aSource } from "./source.fake.ts";
import { view } from "./views.ts";

const api = (name: string, address: string, namespace = "shop") =>
  aWorkload({ name, namespace, addresses: [address], labels: { app: "api" } });

test("a policy counts the workloads it bears on as the evaluator does: a selector of a root PeerAuthentication stays at home", async () => {
  const mesh = aMesh([api("api-1", "10.0.1.1"), api("api-2", "10.0.1.2"), api("own", "10.0.1.3", "istio-system")]);
  const selector = { app: "api" };
  const rest = { namespace: "istio-system", selector, from: nowhere };
  mesh.apply([
    {
      kind: "authorization-policy",
      op: "upsert",
      value: { ...rest, name: "root", action: "DENY", dryRun: false, rules: [] },
    },
    { kind: "peer-authentication", op: "upsert", value: { ...rest, name: "own", mode: "STRICT", portLevel: {} } },
  ]);
  const { items } = await view("policies", aSource({ mesh }));
  assert.deepEqual(
    items.map(({ kind, name, scope, selects }) => [kind, name, scope, selects]),
    [
      ["PeerAuthentication", "default", "mesh", 3],
      ["PeerAuthentication", "own", "app=api", 1],
      ["AuthorizationPolicy", "root", "app=api", 3],
      ["AuthorizationPolicy", "callers", "app=api", 2],
    ],
  );
});

test("a service lists the endpoints that the store knows, by name", async () => {
  const mesh = aMesh([api("api-2", "10.0.1.2"), api("api-1", "10.0.1.1"), api("other", "10.0.1.3", "bank")]);
  const { items } = await view("services", aSource({ mesh }));
  assert.deepEqual(items[0]?.endpoints, [
    { address: "10.0.1.1", workload: "api-1", healthy: true },
    { address: "10.0.1.2", workload: "api-2", healthy: true },
  ]);
});

test("a route has its Services, whose requests it takes, and each rule in words", async () => {
  const mesh = aMesh([]);
  const rule = httpRule({
    backends: [routeBackend("shop/a", { weight: 2 }), routeBackend("shop/b"), routeBackend("", { service: null })],
  });
  const parents = [
    { service: "shop/a", port: 80, portName: null },
    { service: "bank/b", port: null, portName: null },
  ];
  mesh.apply([
    { kind: "http-route", op: "upsert", value: httpRoute("shop/a", { name: "one", parents, rules: [rule] }) },
    { kind: "http-route", op: "upsert", value: httpRoute("shop/a", { name: "two", namespace: "bank", rules: [] }) },
  ]);
  const { items } = await view("routes", aSource({ mesh }));
  assert.deepEqual(
    items.map(({ name, role, parents: about }) => [name, role, about]),
    [
      ["two", "consumer", ["shop/a"]],
      ["one", "both", ["shop/a:80", "bank/b"]],
    ],
  );
  assert.deepEqual(items[1]?.rules, [
    {
      name: "",
      matches: ["/*"],
      to: "50 % shop/a:80, 25 % shop/b:80, 25 % 500: no backend",
      changes: "",
      from: "mesh.yaml:9",
    },
  ]);
});

test("a pod of this node has its ports with the first rules that need them, another node's pod has none", async () => {
  const reasons = Array.from({ length: 7 }, (_, rule) => ({
    why: "deny-rule" as const,
    rule: { kind: "AuthorizationPolicy", namespace: "shop", name: "d", rule, from: nowhere } as const,
  }));
  const mesh = aMesh([api("here", "10.0.1.1"), { ...api("there", "10.0.1.2"), node: "host02" }]);
  const portNeeds = () => [{ port: 80, isRead: true, reasons, declared: [] }];
  const { items } = await view("workloads", aSource({ mesh, portNeeds }));
  const shown = [0, 1, 2, 3, 4].map((rule) => `deny-rule shop/d[${rule}]`);
  assert.deepEqual(
    items.map(({ name, http }) => [name, http]),
    [
      ["here", [{ port: 80, read: true, reasons: [...shown, "2 more rules"], declared: [] }]],
      ["there", []],
    ],
  );
  const { requestsRead } = await view("status", aSource({ mesh, portNeeds }));
  assert.deepEqual(requestsRead, [{ pod: "shop/here", ports: [80] }]);
});

test("a pod of this node that is not captured has its reason: left out, opted out by its own label, or none of it", async () => {
  const sandboxed = { ...api("a", "10.0.1.1"), protocol: "none" as const };
  const optedOut = { ...api("b", "10.0.1.2"), labels: { "orlop.dev/dataplane-mode": "none" } };
  const onTheNode = { ...api("c", "10.0.1.9"), addresses: [] };
  const mesh = aMesh([sandboxed, optedOut, api("d", "10.0.1.3"), { ...api("e", "10.0.1.4"), node: "host02" }]);
  const leftOut = [
    { workload: sandboxed, reason: "sandbox", because: "runtimeClassName kata" },
    { workload: onTheNode, reason: "host-network", because: "spec.hostNetwork is true" },
  ] as const;
  const configuration = () => ({ ...aSource().configuration(), leftOut });
  const { items } = await view("workloads", aSource({ mesh, configuration, pods: () => [] }));
  assert.deepEqual(
    items.map(({ name, capture, captureNote }) => [name, capture, captureNote]),
    [
      ["a", "left-out", "sandbox: runtimeClassName kata"],
      ["b", "not-enrolled", "its own label orlop.dev/dataplane-mode: none"],
      ["c", "left-out", "host-network: spec.hostNetwork is true"],
      ["d", "not-enrolled", ""],
      ["e", "remote", ""],
    ],
  );
});
