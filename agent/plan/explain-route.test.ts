// A request to a port with routes, explained: the rule that takes it, why others do not, what becomes of it, and who judges it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpMatch } from "../mesh/http-rule.ts";
import { FakeMesh, httpRoute, httpRule, policy, routeBackend, service, workload } from "../mesh/mesh.fake.ts";
import { emptyOperation } from "../mesh/policies.ts";
import type { TrafficPolicy } from "../mesh/traffic-policy.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { callerOrder } from "../policy/judgement-order.ts";
import type { EjectedEndpoint } from "./ejection.ts";
import { explainRequest, requestOf } from "./explain-request.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api", { addresses: ["10.0.0.2"], node: "n2" });
const near = workload("near", { addresses: ["10.0.0.3"] });
const match = (path: HttpMatch["path"], given: Partial<HttpMatch> = {}): HttpMatch => ({
  ...{ path, method: null, headers: [], query: [] },
  ...given,
});
const prefix = (value: string) => ({ kind: "prefix", value }) as const;

function world() {
  const mesh = new FakeMesh([web, api, near], [service("api"), service("near", { vips: ["10.96.0.2"] })]);
  mesh.routes.push(
    httpRoute("shop/api", {
      rules: [
        httpRule({
          name: "reports",
          matches: [
            match(prefix("/a"), { method: "GET", headers: [{ kind: "exact", name: "x-role", value: "admin" }] }),
          ],
          backends: [routeBackend("shop/near")],
        }),
        httpRule({
          matches: [match(prefix("/a"))],
          backends: [routeBackend("shop/api", { weight: 9 }), routeBackend("shop/near")],
          rewrite: { hostname: null, path: { kind: "prefix", value: "/b" } },
        }),
        httpRule({
          matches: [match({ kind: "exact", value: "/old" })],
          redirect: { scheme: null, hostname: null, path: { kind: "full", value: "/a" }, port: null, status: 301 },
        }),
      ],
    }),
  );
  return mesh;
}

function explained(given: Parameters<typeof requestOf>[1], mesh = world(), ejected: readonly EjectedEndpoint[] = []) {
  const request = requestOf("shop/api:80", given);
  assert.ok(request === null || !("error" in request));
  const found = explainRequest("shop/web", "shop/api:80", { mesh, judge: judgeOf(mesh), ejected }, request);
  assert.ok(!("error" in found), JSON.stringify(found));
  return { ...found, lines: found.steps.map(({ id, status, summary }) => `${id} ${status} ${summary}`) };
}

test("the rule that takes it, those before it with why, and what becomes of it", () => {
  const { lines, verdict, reason } = explained({ path: "/a/1?x", header: ["x-role=reader"] });
  assert.deepEqual([verdict, reason], ["allow", ""]);
  assert.deepEqual(lines.slice(0, 9), [
    "request ok GET /a/1, host api",
    `source ok shop/web 10.0.0.1 on n1, ${web.identity.text}`,
    "route skipped HTTPRoute shop/api[2] at mesh.yaml:9:5: /old: another path",
    'route skipped HTTPRoute shop/api[0] "reports" at mesh.yaml:9:5: GET /a/* with x-role=admin: another x-role, or none',
    "route decides HTTPRoute shop/api[1] at mesh.yaml:9:5: /a/*: takes it",
    "fault ok none is injected",
    "backend ok 90 % shop/api:80, 10 % shop/near:80; path prefix /b",
    "breaker ok no DestinationRule leaves endpoints out that fail",
    "endpoint ok the cheaper of two that are drawn, here the first of them: 10.0.0.2:8080",
  ]);
  assert.match(lines[11] ?? "", /^transport ok HBONE to 10\.0\.0\.2:15008/);
});

test("the destination's policy judges what the application gets, also on one node", () => {
  const mesh = world();
  const paths = [{ kind: "exact", value: "/a/1" }] as const;
  const rule = { sources: [], when: [], unreadable: [], from: { file: "mesh.yaml", line: 3, column: 1 } };
  mesh.policies.push(policy("ALLOW", [{ ...rule, operations: [{ ...emptyOperation, paths }] }]));
  const far = explained({ path: "/a/1" }, mesh);
  assert.deepEqual([far.verdict, far.reason], ["deny", "no-allow-matched"], "/b/1 is what it gets");
  assert.ok(far.lines.some((line) => line.startsWith("answer ok the request would be answered 403")));
  const here = explained({ path: "/a/1", header: ["x-role=admin"] }, mesh);
  assert.equal(here.verdict, "allow");
  assert.ok(
    here.lines.some((line) => line.startsWith("transport ok same node")),
    here.lines.join("\n"),
  );
});

test("what is answered at the caller's end is no call of the Service; a redirect is no denial", () => {
  const lost = explained({ path: "/c" });
  assert.deepEqual([lost.verdict, lost.reason, lost.layer], ["deny", "no-route", "L7"]);
  assert.equal(lost.lines.at(-1), "answer failed answered 404: no rule takes it");
  const moved = explained({ path: "/old" });
  assert.deepEqual([moved.verdict, moved.reason], ["allow", "redirect"]);
  assert.equal(moved.lines.at(-1), "answer ok answered 301 to http://api/a: redirected");
});

test("without a request it is said that each is planned for itself; of callers that no route is for nothing changes", () => {
  const connection = explained({});
  assert.ok(connection.lines.some((line) => line.startsWith("route ok the port has routes")));
  const mesh = world();
  mesh.routes = [httpRoute("shop/api", { namespace: "bank" })];
  assert.ok(!explained({ path: "/a" }, mesh).lines.some((line) => line.startsWith("route")));
});

/** Three endpoints of shop/api, and a DestinationRule. */
function resilient(given: Partial<TrafficPolicy>) {
  const from = { file: "mesh.yaml", line: 20, column: 1 };
  const outliers = { consecutive5xx: 5, consecutiveGateway: 0, baseMs: 30_000, maxEjected: 50, minHealthy: 0 };
  const traffic = { outliers, maxRequests: 10, hash: null, balance: null, warmUp: null, from, ...given };
  const others = [4, 5].map((nth) =>
    workload(`api-${nth}`, { addresses: [`10.0.0.${nth}`], node: "n2", labels: { app: "api" } }),
  );
  const mesh = new FakeMesh([web, api, ...others], [service("api", { traffic })]);
  const retry = { codes: [503], attempts: 2, backoffMs: 25 };
  mesh.routes.push(httpRoute("shop/api", { rules: [httpRule({ backends: [routeBackend("shop/api")], retry })] }));
  return mesh;
}
const out = (address: string, given: Partial<EjectedEndpoint> = {}): EjectedEndpoint => ({
  ...{ caller: web.identity.text, service: "shop/api:80", rule: "shop/api[0]", address, port: 8080 },
  ...{ reason: "consecutive-5xx", times: 1, leftMs: 12_300 },
  ...given,
});
const lineOf = (lines: readonly string[], id: string): string => lines.find((line) => line.startsWith(`${id} `)) ?? "";

test("who is left out by now, and the next endpoint; caps, retries, and in which order all of it holds", () => {
  const healthy = explained({}, resilient({})).lines;
  assert.equal(lineOf(healthy, "order"), "", "a connection is asked about");
  const asked = explained({ path: "/" }, resilient({})).lines;
  assert.match(
    lineOf(asked, "breaker"),
    /^breaker ok left out after 5 failures in a row, for 30 s and longer, 50 % at most, at mesh.yaml:20:1; none/,
  );
  assert.match(lineOf(asked, "endpoint"), /10\.0\.0\.2:8080$/);
  const pool = { connectMs: 500, idleMs: 30_000, mostRequests: 100 };
  assert.match(
    lineOf(explained({ path: "/" }, resilient({ pool })).lines, "endpoint"),
    /:8080, over a connection that is open within 500 ms, ended behind 30000 ms without a request, ended behind 100 requests$/,
  );
  assert.equal(
    lineOf(asked, "caps"),
    "caps ok at most 10 under way of this caller to shop/api:80, over all threads of its node; more are answered 503",
  );
  assert.match(
    lineOf(explained({ path: "/" }, resilient({ maxConnections: 3 })).lines, "caps"),
    /more are answered 503; over 3 connections at once at most: a request without a place waits /,
  );
  assert.match(
    lineOf(explained({ path: "/" }, resilient({ maxConnections: 3, maxPending: 2 })).lines, "caps"),
    /then it is answered 503; at most 2 wait at once for a connection or a stream$/,
  );
  assert.match(
    lineOf(asked, "retry"),
    /^retry ok what no endpoint has got goes to another; tried up to 2 times more on 503/,
  );
  assert.equal(
    asked.at(-1),
    "order ok at the caller's node 1 route, 2 fault, 3 backend, 4 breaker, 5 endpoint, 6 caps, 7 retry; at the callee's 1 mutual TLS, 2 DENY, 3 ALLOW, 4 limits, for each try",
  );
  const first = explained({ path: "/" }, resilient({}), [out("10.0.0.2")]).lines;
  assert.match(lineOf(first, "breaker"), /left out by now: 10\.0\.0\.2 8080 \(consecutive-5xx, 13 s left\)$/);
  assert.match(lineOf(first, "endpoint"), /10\.0\.0\.4:8080$/);
  for (const other of [
    { rule: "shop/api[1]" },
    { caller: "spiffe://cluster.local/ns/shop/sa/b" },
    { service: "shop/b:80" },
  ])
    assert.match(
      lineOf(explained({ path: "/" }, resilient({}), [out("10.0.0.2", other)]).lines, "endpoint"),
      /10\.0\.0\.2:8080$/,
    );
  const shared = out("10.0.0.2", { caller: "", rule: "", reason: "consecutive-gateway" });
  assert.match(lineOf(explained({ path: "/" }, resilient({}), [shared]).lines, "endpoint"), /10\.0\.0\.4:8080$/);
});

test("the fault of its rule, whether the request goes on or is answered here; steps come in the order that the last of them says", () => {
  const mesh = world();
  const fault = { expiresMs: Date.UTC(2999, 0), delay: null, abort: { status: 503, percent: 5 }, reset: null };
  mesh.routes = mesh.routes.map((route) => ({ ...route, rules: route.rules.map((rule) => ({ ...rule, fault })) }));
  for (const path of ["/a/1", "/old"])
    assert.equal(
      lineOf(explained({ path }, mesh).lines, "fault"),
      "fault ok fault until 2999-01-01T00:00:00.000Z: 5 % answered 503",
    );
  assert.equal(lineOf(explained({ path: "/c" }, mesh).lines, "fault"), "", "no rule has taken it");
  const ids = explained({ path: "/" }, resilient({})).steps.map(({ id }) => id);
  const ofCaller = ids.filter((id) => callerOrder.some((each) => each === id));
  assert.deepEqual(ofCaller, callerOrder);
  const orderOf = (given: Parameters<typeof requestOf>[1]): string =>
    explained(given)
      .steps.map(({ id }) => id)
      .filter((id) => ["endpoint", "transport", "verdict", "caps", "retry"].includes(id))
      .join();
  assert.equal(orderOf({ path: "/a/1" }), "endpoint,caps,transport,verdict,retry", "another node judges what has left");
  const near = { path: "/a/1", header: ["x-role=admin"] };
  assert.equal(orderOf(near), "endpoint,transport,verdict,caps,retry", "between pods of a node nobody else judges");
});

test("where all are left out that may be, the request is answered here", () => {
  const outliers = { consecutive5xx: 5, consecutiveGateway: 0, baseMs: 30_000, maxEjected: 100, minHealthy: 0 };
  const all = ["10.0.0.2", "10.0.0.4", "10.0.0.5"].map((address) => out(address));
  const { verdict, reason, lines } = explained({ path: "/" }, resilient({ outliers }), all);
  assert.deepEqual([verdict, reason], ["deny", "no-endpoint"]);
  assert.match(lineOf(lines, "breaker"), /^breaker failed left out after .* left out by now: 10\.0\.0\.2 8080/);
  assert.match(lines.at(-1) ?? "", /^answer failed answered 503/);
});

test("by which key it is hashed, and to which endpoint; without a key, how it is balanced", () => {
  const hash = { key: { of: "header", name: "x-user" }, table: { kind: "maglev", size: 251 } } as const;
  const at = (user: string): string =>
    /^endpoint ok header x-user "[^"]*" by maglev of 251 places: (\S+)$/.exec(
      lineOf(explained({ path: "/", header: [`x-user=${user}`] }, resilient({ hash })).lines, "endpoint"),
    )?.[1] ?? assert.fail(user);
  const users = Array.from({ length: 20 }, (_, nth) => `u${nth}`);
  assert.equal(new Set(users.map(at)).size, 3);
  assert.deepEqual(users.map(at), users.map(at));
  assert.match(
    lineOf(explained({ path: "/" }, resilient({ hash, balance: "random" })).lines, "endpoint"),
    /^endpoint ok no header x-user, so that nothing is hashed: drawn by weight, here the first of them: /,
  );
});

test("a host above ASCII is judged as callers send it, and the step names both; what has no such form is an error", () => {
  const asked = requestOf("shop/api:80", { host: "B\u00fccher.example:8080" });
  assert.ok(asked !== null && !("error" in asked));
  assert.deepEqual([asked.authority, asked.host.text], ["xn--bcher-kva.example:8080", "xn--bcher-kva.example"]);
  assert.equal(
    explained({ host: "B\u00fccher.example:8080" }).lines[0],
    "request ok GET /, host xn--bcher-kva.example, as callers send B\u00fccher.example:8080",
  );
  for (const host of ["b\u00fc*", "b\u00fccher.example/a", "a b\u00fc", "\u00fc:999999", "u@b\u00fccher.example"])
    assert.match(
      JSON.stringify(requestOf("shop/api:80", { host })),
      /is no host of a request: callers send xn--/,
      host,
    );
  const plain = requestOf("shop/api:80", { host: "Api:80" });
  assert.ok(plain !== null && !("error" in plain) && plain.saidHost === undefined);
});
