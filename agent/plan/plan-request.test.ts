// What becomes of a request at the caller's end: each answer, shares by weight, what the application gets, and who judges it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST_TRIED } from "../l7/route-table.ts";
import { RouteTables } from "../l7/route-tables.ts";
import { FakeMesh, httpRoute, httpRule, routeBackend } from "../mesh/mesh.fake.ts";
import { answer, asked, called, forwarded, parent, plan, to, under, world } from "../traffic/planned-request.fake.ts";
import { planRequest } from "./plan-request.ts";

test("each answer at the caller's end", () => {
  assert.equal(answer(plan(to([routeBackend("shop/far")], { matches: under("/a") }))), "404 no-route");
  const matches = Array.from({ length: MOST_TRIED + 1 }, () => under(""))
    .flat()
    .map((each) => ({ ...each, method: "PUT" }));
  assert.equal(answer(plan(to([routeBackend("shop/far")], { matches }))), "500 too-many-matches");
  assert.equal(answer(plan(to([]))), "500 no-backend");
  assert.equal(answer(plan(to([routeBackend("shop/far", { weight: 0 })]))), "500 no-backend");
  assert.equal(answer(plan(to([routeBackend("shop/none")]))), "500 bad-backend");
  assert.equal(answer(plan(to([routeBackend("shop/far", { port: 81 })]))), "500 bad-backend");
  assert.equal(answer(plan(to([routeBackend("shop/far", { service: null })]))), "500 bad-backend");
  assert.equal(answer(plan(to([routeBackend("shop/empty")]))), "503 no-endpoint");
  assert.equal(answer(plan({}, { dialled: { address: "10.96.0.9", port: 80 } })), "503 no-service");
  assert.equal(answer(plan({}, { dialled: { address: "10.96.0.1", port: 81 } })), "503 no-service");
});

test("a redirect says where to, with the rule's fields on its answer", () => {
  const path = { kind: "prefix", value: "/b" } as const;
  const redirect = { scheme: "https", hostname: "x.example", port: null, path, status: 301 } as const;
  const responseEdits = { set: [{ name: "x-by", value: "route" }], add: [], remove: [] };
  const found = plan(to([], { redirect, responseEdits, matches: under("/a") }), { target: "/%61/c?d=e" });
  assert.equal(answer(found), "301 redirect");
  assert.deepEqual(found.responseEdits, [
    { op: "set", name: "location", value: "https://x.example/b/c?d=e" },
    { op: "set", name: "x-by", value: "route" },
  ]);
});

test("a target that would be written anew is bounded; as it came it is not", () => {
  const target = `/a/${"x".repeat(9_000)}`;
  const path = { kind: "prefix", value: "/b" } as const;
  const rewrite = { hostname: null, path };
  const matches = under("/a");
  assert.equal(answer(plan(to([routeBackend("shop/far")], { matches, rewrite }), { target })), "414 too-long");
  const redirect = { scheme: null, hostname: null, port: null, path: null, status: 302 } as const;
  assert.equal(answer(plan(to([], { matches, redirect }), { target })), "414 too-long");
  assert.equal(forwarded(plan(to([routeBackend("shop/far")], { matches }), { target })).target, "");
});

test("shares are by weight, and that of what does not exist is 500", () => {
  const backends = [
    routeBackend("shop/far", { weight: 6 }),
    routeBackend("shop/near", { weight: 3 }),
    routeBackend("shop/none", { weight: 1 }),
    routeBackend("shop/empty", { weight: 0 }),
  ];
  const of = world(to(backends));
  const counts = new Map<string, number>();
  for (let index = 0; index < 10_000; index += 1) {
    const found = planRequest(asked, of);
    const key = found.kind === "reply" ? found.why : (found.route.service?.name ?? "");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  assert.deepEqual([...counts.keys()].toSorted(), ["bad-backend", "far", "near"]);
  for (const [key, share] of Object.entries({ far: 0.6, near: 0.3, "bad-backend": 0.1 }))
    assert.ok(Math.abs((counts.get(key) ?? 0) / 10_000 - share) < 0.02, `${key}: ${counts.get(key)}`);
});

test("what goes on: target, authority, fields of rule and backend in their order, and limits", () => {
  const given = to(
    [
      routeBackend("shop/far", {
        requestEdits: { set: [{ name: "a", value: "2" }], add: [], remove: [] },
        responseEdits: { set: [], add: [], remove: ["server"] },
      }),
    ],
    {
      matches: under("/a"),
      rewrite: { hostname: "b.shop", path: { kind: "prefix", value: "" } },
      requestEdits: { set: [{ name: "a", value: "1" }], add: [{ name: "b", value: "x" }], remove: ["c"] },
      ...{ timeoutMs: 1_000, tryTimeoutMs: 200 },
    },
  );
  const found = forwarded(plan(given, { target: "/a/d?e" }));
  assert.equal(found.route.kind, "tunnel");
  assert.deepEqual([found.target, found.authority], ["/d?e", "b.shop"]);
  assert.deepEqual([found.timeoutMs, found.tryTimeoutMs], [1_000, 200]);
  assert.deepEqual(found.requestEdits, [
    { op: "remove", name: "c" },
    { op: "add", name: "b", value: "x" },
    // The rule's own would be written beside it.
    { op: "set", name: "a", value: "2" },
  ]);
  assert.deepEqual(found.responseEdits, [{ op: "remove", name: "server" }]);
  assert.equal(found.verdict, null, "the far end judges");
});

test("nothing is written where nothing changes, and a prefix is replaced where it was found", () => {
  const plain = forwarded(plan(to([routeBackend("shop/far")]), { target: "/%61?b" }));
  assert.deepEqual([plain.target, plain.authority, plain.requestEdits], ["", "", []]);
  const rewrite = { hostname: null, path: { kind: "prefix", value: "/x" } } as const;
  const escaped = plan(to([routeBackend("shop/far")], { matches: under("/a"), rewrite }), { target: "/%61/%62?c" });
  assert.equal(forwarded(escaped).target, "/x/b?c");
});

test("a list of rules is compiled once, and again when its routes or its port change", () => {
  const { mesh } = world({ routes: [httpRoute(parent)] });
  assert.ok(mesh instanceof FakeMesh);
  const lists = new Map([[parent, mesh.routes.slice()]]);
  const mutable = { routesVersion: 1, looks: 0 };
  const tables = new RouteTables({
    get routesVersion() {
      return mutable.routesVersion;
    },
    httpRoutesAbout: (key) => {
      mutable.looks += 1;
      return lists.get(key) ?? [];
    },
  });
  const [port] = called.ports;
  assert.ok(port);
  const first = tables.of(called, port, "shop");
  assert.ok(first);
  const { looks } = mutable;
  assert.equal(tables.of(called, port, "shop"), first);
  assert.equal(mutable.looks, looks, "nobody looks while no route changes");
  assert.equal(tables.of(called, port, "bank"), first, "what the Service's namespace says is shared");
  mutable.routesVersion += 1;
  assert.equal(tables.of(called, port, "shop"), first, "routes of another Service have changed");
  lists.set(parent, [httpRoute(parent, { rules: [httpRule(), httpRule()] })]);
  mutable.routesVersion += 1;
  assert.equal(tables.of(called, port, "bank")?.entries.length, 2);
  assert.equal(tables.of(called, { ...port, appProtocol: "tcp" }, "shop"), null);
  mutable.routesVersion += 1;
  lists.clear();
  assert.equal(tables.of(called, port, "shop"), null);
});

test("a fault hits its share of the requests until it expires: delayed first, then answered or reset", () => {
  const fault = {
    ...{ expiresMs: 1_000, delay: { fixed: 50, percent: 20 } },
    ...{ abort: { status: 418, percent: 25 }, reset: { percent: 50 } },
  };
  const given = to([routeBackend("shop/far")], { fault });
  const within = { ...world(given), wallMs: () => 999 };
  const counts = new Map<string, number>();
  for (let nth = 0; nth < 10_000; nth += 1) {
    for (const isDelayed of [false, true]) {
      const found = planRequest({ ...asked, isDelayed }, within);
      const what = found.kind === "forward" ? "far" : (found.instead?.kind ?? `${found.status} ${found.why}`);
      counts.set(`${isDelayed} ${what}`, (counts.get(`${isDelayed} ${what}`) ?? 0) + 1);
    }
  }
  const expected = {
    ...{ "false delay": 2_000, "false 418 injected": 2_000, "false reset": 3_000, "false far": 3_000 },
    ...{ "true 418 injected": 2_500, "true reset": 3_750, "true far": 3_750 },
  };
  assert.deepEqual(new Set(counts.keys()), new Set(Object.keys(expected)));
  for (const [what, count] of Object.entries(expected))
    assert.ok(Math.abs((counts.get(what) ?? 0) - count) < 250, `${what}: ${counts.get(what)} of ${count}`);
  for (const later of [{ ...within, wallMs: () => 1_000 }, world(given)])
    for (let nth = 0; nth < 100; nth += 1) assert.equal(planRequest(asked, later).kind, "forward");
});
