// What becomes of a request at the caller's end: each answer, shares by weight, what the application gets, and who judges it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST_TRIED } from "../l7/route-table.ts";
import { RouteTables } from "../l7/route-tables.ts";
import type { HttpMatch, HttpRoute, HttpRule, RouteBackend } from "../mesh/http-rule.ts";
import { emptyOperation } from "../mesh/policies.ts";
import { evaluatorOf } from "../policy/evaluate.ts";
import {
  FakeMesh,
  httpRoute,
  httpRule,
  policy,
  routeBackend,
  seeded,
  service,
  workload,
} from "../traffic/mesh.fake.ts";
import { clientNeedOf } from "./client-need.ts";
import type { RequestPlan, RequestWorld, RoutedFacts } from "./forwarded-request.ts";
import { planRequest } from "./plan-request.ts";
import { tokenOf } from "./session.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const near = workload("near", { addresses: ["10.0.0.3"] });
const far = workload("far", { addresses: ["10.0.0.2"], node: "n2" });
const called = service("api", { vips: ["10.96.0.1"], selector: { app: "far" } });
const services = [
  called,
  service("near", { vips: ["10.96.0.2"] }),
  service("far", { vips: ["10.96.0.3"] }),
  service("empty", { vips: ["10.96.0.4"] }),
];
const parent = "shop/api";

type Given = { readonly routes?: readonly HttpRoute[]; readonly change?: (mesh: FakeMesh) => void };

function world({ routes = [], change = () => {} }: Given): RequestWorld {
  const mesh = new FakeMesh([web, near, far], services);
  mesh.routes.push(...routes);
  change(mesh);
  const { judge, readsPaths } = evaluatorOf(mesh);
  const servedHere = (uid: string): boolean => uid === near.uid || uid === web.uid;
  return { mesh, servedHere, load: () => 0, random: seeded(7), judge, readsPaths, routes: new RouteTables(mesh) };
}

const asked: RoutedFacts = {
  source: web,
  client: { address: "10.0.0.1", port: 4000 },
  dialled: { address: "10.96.0.1", port: 80 },
  ...{ method: "GET", target: "/", authority: "api", header: () => [] },
};
const plan = (given: Given, request: Partial<RoutedFacts> = {}): RequestPlan =>
  planRequest({ ...asked, ...request }, world(given));
const under = (...prefixes: string[]): HttpMatch[] =>
  prefixes.map((value) => ({ path: { kind: "prefix", value }, method: null, headers: [], query: [] }));
const to = (backends: readonly RouteBackend[], rule: Partial<HttpRule> = {}): Given => ({
  routes: [httpRoute(parent, {}, { ...rule, backends })],
});

function forwarded(found: RequestPlan): Extract<RequestPlan, { readonly kind: "forward" }> {
  assert.ok(found.kind === "forward", JSON.stringify(found));
  return found;
}
function answer(found: RequestPlan): string {
  assert.ok(found.kind === "reply", JSON.stringify(found));
  return `${found.status} ${found.why}`;
}

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

test("a preflight is answered, and other requests go on and share their response", () => {
  const cors = {
    ...{
      origins: ["https://a.example"],
      credentials: false,
      methods: ["PUT"],
      headers: [],
      exposes: [],
      maxAgeSeconds: 5,
    },
  };
  const given = to([routeBackend("shop/far")], { cors });
  const sent: Readonly<Record<string, string>> = {
    origin: "https://a.example",
    "access-control-request-method": "PUT",
  };
  const header = (name: string): readonly string[] => (sent[name] === undefined ? [] : [sent[name]]);
  const found = plan(given, { method: "OPTIONS", header });
  assert.equal(answer(found), "204 preflight");
  assert.deepEqual(found.responseEdits.at(0), {
    ...{ op: "set", name: "access-control-allow-origin", value: "https://a.example" },
  });
  const foreign = (name: string): readonly string[] => (name === "origin" ? ["https://b.example"] : header(name));
  assert.equal(answer(plan(given, { method: "OPTIONS", header: foreign })), "403 preflight");
  const on = forwarded(plan(given, { method: "PUT", header }));
  assert.deepEqual(on.responseEdits, [
    { op: "set", name: "access-control-allow-origin", value: "https://a.example" },
    { op: "add", name: "vary", value: "Origin" },
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

test("what the agent answers for a rule with CORS can be read by the pages that the rule allows", () => {
  const cors = {
    origins: ["https://a.example"],
    credentials: false,
    methods: [],
    headers: [],
    exposes: [],
    maxAgeSeconds: 5,
  };
  const header = (name: string): readonly string[] => (name === "origin" ? ["https://a.example"] : []);
  const allowed = (given: Given): unknown =>
    plan(given, { header }).responseEdits.find(({ name }) => name === "access-control-allow-origin");
  const yes = { op: "set", name: "access-control-allow-origin", value: "https://a.example" };
  const deny = (mesh: FakeMesh) =>
    mesh.policies.push(policy("DENY", [], { selector: { app: "near" } }), policy("ALLOW", []));
  for (const [given, said] of [
    [to([], { cors }), "500 no-backend"],
    [to([routeBackend("shop/nobody")], { cors }), "500 bad-backend"],
    [to([routeBackend("shop/empty")], { cors }), "503 no-endpoint"],
    [{ ...to([routeBackend("shop/near")], { cors }), change: deny }, "403 policy"],
  ] as const) {
    assert.equal(answer(plan(given, { header })), said);
    assert.deepEqual(allowed(given), yes, said);
    assert.equal(
      plan(given).responseEdits.some(({ op, name }) => op === "set" && name === yes.name),
      false,
    );
  }
  assert.equal(allowed(to([])), undefined);
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

test("a session stays with its endpoint, whatever the weights; where that cannot be, it begins anew", () => {
  const three = ["10.1.0.1", "10.1.0.2", "10.1.0.3"].map((address, nth) =>
    workload(`many-${nth}`, { addresses: [address], node: "n2", labels: { app: "many" } }),
  );
  const many = service("many", { vips: ["10.96.0.9"] });
  const backends = [routeBackend("shop/many", { weight: 1 }), routeBackend("shop/far", { weight: 99 })];
  for (const [session, sent] of [
    [{ by: "cookie", name: "s", lastsMs: 0, isPermanent: false }, "cookie"],
    [{ by: "header", name: "x-session", lastsMs: 60_000, isPermanent: false }, "x-session"],
  ] as const) {
    const given = to(backends, { session, matches: under("/a") });
    let nowMs = 1_000;
    const change = (mesh: FakeMesh) => {
      mesh.list.push(...three);
      mesh.serviceList.push(many);
    };
    const within = { ...world({ ...given, change }), wallMs: () => nowMs };
    const ask = (value: string | null): { readonly at: string; readonly token: string | null } => {
      const header = (name: string): readonly string[] =>
        value !== null && name === sent ? ["other=1; x", value] : [];
      const single = (name: string): readonly string[] => header(name).slice(session.by === "cookie" ? 0 : 1);
      const found = forwarded(planRequest({ ...asked, target: "/a/b", header: single }, within));
      const edit = found.responseEdits.find(({ name }) => name === "set-cookie" || name === "x-session");
      const text = edit === undefined || edit.op === "remove" ? null : edit.value;
      return { at: found.route.target.address, token: text?.split(";")[0] ?? null };
    };
    // Until it begins at the backend with the least weight.
    let first = ask(null);
    for (let nth = 0; nth < 5_000 && !first.at.startsWith("10.1."); nth += 1) first = ask(null);
    assert.ok(first.at.startsWith("10.1.") && first.token !== null, JSON.stringify(first));
    for (let nth = 0; nth < 200; nth += 1) assert.deepEqual(ask(first.token), { at: first.at, token: null });
    // No session begins at somebody's wish: what is no endpoint of these counts for nothing.
    for (const other of [
      "s=",
      `s=${"A".repeat(22)}`,
      "A".repeat(22),
      first.token.replace(/.$/, "~"),
      `${first.token}!`,
    ])
      assert.notEqual(ask(other).token, null, other);
    if (session.lastsMs > 0) {
      nowMs += session.lastsMs - 1_000;
      assert.equal(ask(first.token).token, null);
      nowMs += 2_000;
      assert.notEqual(ask(first.token).token, null, "its time is over");
      nowMs = 1_000;
    }
    // Its endpoint has gone.
    const { mesh } = within;
    assert.ok(mesh instanceof FakeMesh);
    mesh.list = mesh.list.filter(({ addresses }) => addresses[0] !== first.at);
    const moved = ask(first.token);
    assert.ok(moved.at !== first.at && moved.token !== null);
  }
});

test("a cookie of a session says for which path, and how long a browser keeps it", () => {
  const cookie = (session: HttpRule["session"] & object, path = "/a"): unknown => {
    const given = to([routeBackend("shop/far")], { session, matches: under(path) });
    const found = planRequest({ ...asked, target: "/a" }, { ...world(given), wallMs: () => 0 });
    const edit = found.responseEdits.find(({ name }) => name === "set-cookie");
    return edit !== undefined && edit.op === "add" && edit.value;
  };
  const session = { by: "cookie", name: null, lastsMs: 90_000, isPermanent: true } as const;
  assert.match(
    String(cookie(session)),
    /^orlop-[0-9a-f]{8}=[A-Za-z0-9_-]{22}\.2i; Path=\/a; Max-Age=90; HttpOnly; SameSite=Lax$/,
  );
  assert.match(
    String(cookie({ ...session, lastsMs: 0, isPermanent: false }, "")),
    /=[A-Za-z0-9_-]{22}; Path=\/; HttpOnly; SameSite=Lax$/,
  );
});
