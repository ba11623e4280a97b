// A request to a port with routes, explained: the rule that takes it, why others do not, what becomes of it, and who judges it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpMatch } from "../mesh/http-rule.ts";
import { emptyOperation } from "../mesh/policies.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { FakeMesh, httpRoute, httpRule, policy, routeBackend, service, workload } from "../traffic/mesh.fake.ts";
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

function explained(given: Parameters<typeof requestOf>[1], mesh = world()) {
  const request = requestOf("shop/api:80", given);
  assert.ok(request === null || !("error" in request));
  const found = explainRequest("shop/web", "shop/api:80", { mesh, judge: judgeOf(mesh) }, request);
  assert.ok(!("error" in found), JSON.stringify(found));
  return { ...found, lines: found.steps.map(({ id, status, summary }) => `${id} ${status} ${summary}`) };
}

test("the rule that takes it, those before it with why, and what becomes of it", () => {
  const { lines, verdict, reason } = explained({ path: "/a/1?x", header: ["x-role=reader"] });
  assert.deepEqual([verdict, reason], ["allow", ""]);
  assert.deepEqual(lines.slice(0, 6), [
    "request ok GET /a/1, host api",
    `source ok shop/web 10.0.0.1 on n1, ${web.identity.text}`,
    "route skipped HTTPRoute shop/api[2] at mesh.yaml:9:5: /old: another path",
    'route skipped HTTPRoute shop/api[0] "reports" at mesh.yaml:9:5: GET /a/* with x-role=admin: another x-role, or none',
    "route decides HTTPRoute shop/api[1] at mesh.yaml:9:5: /a/*: takes it",
    "backend ok 90 % shop/api:80, 10 % shop/near:80; path prefix /b",
  ]);
  assert.match(lines[7] ?? "", /^transport ok HBONE to 10\.0\.0\.2:15008/);
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
