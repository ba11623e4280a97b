// Whose word counts for a routed request: the callee's policy on what it gets, the routes of the caller's own namespace, and no route that lends
// the caller's identity.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeMesh, httpRoute, policy, routeBackend, service, workload } from "../mesh/mesh.fake.ts";
import { emptyOperation } from "../mesh/policies.ts";
import { answer, called, forwarded, near, parent, plan, to, web, world } from "../traffic/planned-request.fake.ts";
import { clientNeedOf } from "./client-need.ts";
import { tokenOf } from "./session.ts";

test("on one node the destination's policy judges what the application gets, and answers as at its own end", () => {
  const methods = [{ kind: "exact", value: "GET" }] as const;
  const paths = [{ kind: "exact", value: "/ok" }] as const;
  const rule = { sources: [], when: [], unreadable: [], from: { file: "mesh.yaml", line: 9, column: 5 } };
  const change = (mesh: FakeMesh): void => {
    const operations = [{ ...emptyOperation, methods, paths }];
    mesh.policies.push(policy("ALLOW", [{ ...rule, operations }], { selector: { app: "near" } }));
  };
  const rewrite = { hostname: null, path: { kind: "full", value: "/ok" } } as const;
  const given = { ...to([routeBackend("shop/near")], { rewrite }), change };
  const allowed = forwarded(plan(given, { target: "/any" }));
  assert.deepEqual([allowed.route.kind, allowed.verdict?.verdict, allowed.target], ["local", "allow", "/ok"]);
  assert.equal(allowed.facts?.sourceAddress, "10.0.0.1");
  assert.equal(answer(plan(given, { target: "/any", method: "POST" })), "403 policy");
  const unwritten = { ...to([routeBackend("shop/near")]), change };
  assert.equal(answer(plan(unwritten, { target: "/any" })), "403 policy");
  assert.equal(answer(plan(unwritten, { target: "/any//" })), "400 policy", "an ambiguous path is in no ALLOW");
  const self = forwarded(plan(given, { source: near, client: { address: "10.0.0.3", port: 1 } }));
  assert.equal(self.verdict, null, "its calls to itself are not judged");
});

test("fields that a route writes are those that the destination's policy reads", () => {
  const from = { file: "mesh.yaml", line: 9, column: 5 };
  const when = (key: string, value: string) => ({
    ...{ key, strings: [{ kind: "exact", value }] as const, notStrings: [], cidrs: [], notCidrs: [] },
    ...{ ports: [], notPorts: [], http: true, from },
  });
  const change = (mesh: FakeMesh): void => {
    const conditions = [when("request.headers[x-role]", "reader"), when("request.headers[host]", "near.shop")];
    const rule = { sources: [], operations: [], when: conditions, unreadable: [], from };
    mesh.policies.push(policy("ALLOW", [rule], { selector: { app: "near" } }));
  };
  const header = (name: string): readonly string[] => (name === "x-role" ? ["admin"] : name === "host" ? ["api"] : []);
  const requestEdits = { set: [{ name: "x-role", value: "reader" }], add: [], remove: [] };
  const rewrite = { hostname: "near.shop", path: null };
  const written = { ...to([routeBackend("shop/near")], { requestEdits, rewrite }), change };
  assert.equal(forwarded(plan(written, { header })).verdict?.verdict, "allow");
  assert.equal(answer(plan({ ...to([routeBackend("shop/near")], { rewrite }), change }, { header })), "403 policy");
});

test("routes of the caller's namespace replace the others, for its callers alone; without any the Service is as it was", () => {
  const producer = httpRoute(parent, {}, { backends: [routeBackend("shop/near")] });
  const consumer = httpRoute(parent, { name: "own", namespace: "bank" }, { backends: [routeBackend("shop/empty")] });
  const other = { ...web, namespace: "bank" };
  const both = { routes: [producer, consumer] };
  assert.equal(forwarded(plan(both)).route.service?.name, "near");
  assert.equal(answer(plan(both, { source: other })), "503 no-endpoint");
  const alone = { routes: [consumer] };
  assert.equal(forwarded(plan(alone)).entry, null);
  assert.equal(forwarded(plan(alone)).route.service?.name, "api");
  const [port] = called.ports;
  assert.ok(port);
  const { mesh } = world(alone);
  assert.deepEqual(
    [clientNeedOf(called, port, "shop", mesh), clientNeedOf(called, port, "bank", mesh)],
    [null, "http-route"],
  );
});

test("a route leads callers of other namespaces to Services of its own alone, whatever they may do elsewhere", () => {
  const vault = service("vault", { namespace: "bank", vips: ["10.96.0.9"], selector: { app: "far" } });
  const money = workload("money", { addresses: ["10.0.0.9"], node: "n2", namespace: "bank", labels: { app: "far" } });
  const change = (mesh: FakeMesh): void => {
    mesh.serviceList.push(vault);
    mesh.list.push(money);
  };
  const backends = [routeBackend("bank/vault")];
  const session = { name: null, by: "header", lastsMs: 0, isPermanent: false } as const;
  const rewrite = { hostname: null, path: { kind: "full", value: "/transfer" } } as const;
  const producer = { routes: [httpRoute(parent, {}, { backends, session, rewrite })], change };
  // Of the route's own namespace; of the backend's, whose identity the route would borrow; of a third.
  assert.equal(forwarded(plan(producer)).route.service?.name, "vault");
  const token = tokenOf(vault, { address: "10.0.0.9", port: 80 });
  for (const namespace of ["bank", "web"])
    for (const header of [() => [], () => [token]])
      assert.equal(answer(plan(producer, { source: { ...web, namespace }, header })), "500 bad-backend");
  const consumer = { routes: [httpRoute(parent, { namespace: "web" }, { backends })], change };
  assert.equal(forwarded(plan(consumer, { source: { ...web, namespace: "web" } })).route.service?.name, "vault");
});
