// GRPCRoutes as they are written → rules: which call is taken by which, against a reference that compares services and methods; and what is refused.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import { requestFacts } from "../../l7/request-facts.ts";
import { RouteTable } from "../../l7/route-table.ts";
import { routesFor } from "../../l7/route-view.ts";
import type { HttpRoute } from "../../mesh/http-rule.ts";
import { httpRoute } from "../../mesh/mesh.fake.ts";
import { grpcRouteKind, toGrpcRoute } from "./grpc-route.ts";
import { jsonValue } from "./json-value.ts";
import { Report } from "./value.ts";

type Json = Readonly<Record<string, unknown>>;
const version = { kind: "GRPCRoute", namespace: "shop", name: "api", resourceVersion: "1" };

function read(
  rules: readonly Json[],
  name = "api",
): { readonly route: HttpRoute | undefined; readonly problems: string } {
  const object = {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "GRPCRoute",
    metadata: { name, namespace: "shop" },
    spec: { parentRefs: [{ group: "", kind: "Service", name: "api" }], rules },
  };
  const report = new Report("object");
  const value = jsonValue(object, version);
  const document = grpcRouteKind(value, "", report);
  const route = document && toGrpcRoute(document, value, report);
  return { route, problems: report.problems.map(({ code, what }) => `${code} ${what}`).join("; ") };
}

const ask = (table: RouteTable, path: string, tester: string | null): string | undefined => {
  const header = (name: string): readonly string[] => (name === "x-tester" && tester !== null ? [tester] : []);
  const facts = requestFacts({ method: "POST", target: path, authority: "api", header });
  const found = table.find({ ...facts, target: path });
  return found === "too-many" ? found : found?.rule.name;
};

type Match = {
  readonly type: "Exact" | "RegularExpression";
  readonly service: string | null;
  readonly method: string | null;
  readonly header: boolean;
};

/** As Gateway API says it: every match that takes the call, the most specific first. */
function expected(matches: readonly Match[], service: string, method: string, tester: boolean): string | undefined {
  const takes = (match: Match, text: string | null, called: string): boolean =>
    text === null || (match.type === "Exact" ? text === called : new RegExp(`^(?:${text})$`).test(called));
  const kind = (match: Match, text: string | null): number => (text === null ? 0 : match.type === "Exact" ? 2 : 1);
  const rank = (match: Match): readonly number[] => [
    ...[kind(match, match.service), match.service?.length ?? 0],
    ...[kind(match, match.method), match.method?.length ?? 0, Number(match.header)],
  ];
  const found = matches
    .map((match, index) => ({ match, index, rank: rank(match) }))
    .filter(
      ({ match }) =>
        takes(match, match.service, service) && takes(match, match.method, method) && (!match.header || tester),
    )
    .sort((a, b) => {
      const at = a.rank.findIndex((each, index) => each !== b.rank[index]);
      return at < 0 ? a.index - b.index : (b.rank[at] ?? 0) - (a.rank[at] ?? 0);
    });
  return found[0] === undefined ? undefined : `r${found[0].index}`;
}

test("the rule that takes a call is the one that a reference finds", () => {
  const seed = randomInt(2 ** 31);
  const dice = new Dice(seed);
  const services = ["a.B", "a.BC", "a", "x.Y_z"];
  const methods = ["Get", "GetAll", "Put"];
  const expressions = ["a\\.B.*", "[a-z]+|x\\.Y_z", "Get.*", ".*", "Get|Put"];
  for (let round = 0; round < 200; round += 1) {
    const matches = Array.from({ length: 1 + dice.roll(6) }, (): Match => {
      const type = dice.pick(["Exact", "RegularExpression"] as const);
      const isExact = type === "Exact";
      const service = dice.pick([null, ...(isExact ? services : expressions)]);
      const method = dice.pick([...(service === null ? [] : [null]), ...(isExact ? methods : expressions)]);
      return { type, service, method, header: dice.roll(3) === 0 };
    });
    const rules = matches.map(({ type, service, method, header }, index) => ({
      name: `r${index}`,
      matches: [
        {
          method: { type, ...(service !== null && { service }), ...(method !== null && { method }) },
          ...(header && { headers: [{ name: "x-tester", value: "yes" }] }),
        },
      ],
    }));
    const { route, problems } = read(rules);
    assert.ok(route !== undefined, `seed ${seed}: ${problems}`);
    const table = new RouteTable([route]);
    for (const service of [...services, "other"]) {
      for (const method of methods) {
        for (const tester of [true, false]) {
          const said = ask(table, `/${service}/${method}`, tester ? "yes" : null);
          const words = `seed ${seed}, round ${round}: /${service}/${method} of ${JSON.stringify(matches)}`;
          assert.equal(said, expected(matches, service, method, tester), words);
        }
      }
    }
  }
});

test("a rule without matches takes every call, and names, backends and changes are as written", () => {
  const { route } = read([
    {
      name: "all",
      filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier: { set: [{ name: "X-A", value: "b" }] } }],
      backendRefs: [{ name: "far", port: 80, weight: 3 }],
    },
  ]);
  const [rule] = route?.rules ?? [];
  assert.deepEqual(
    [route?.kind, rule?.backends[0]?.service, rule?.backends[0]?.weight, rule?.responseEdits.set],
    ["GRPCRoute", "shop/far", 3, [{ name: "x-a", value: "b" }]],
  );
  assert.ok(route);
  assert.equal(ask(new RouteTable([route]), "/a/b", null), "all");
});

test("a service's name takes no other that begins with it", () => {
  const { route } = read([{ name: "s", matches: [{ method: { service: "a.B" } }] }]);
  assert.ok(route);
  const table = new RouteTable([route]);
  assert.deepEqual(
    ["/a.B/C", "/a.BB/C", "/a/B/C", "/x/a.B/C"].map((path) => ask(table, path, null)),
    ["s", undefined, undefined, undefined],
  );
});

test("about a port a GRPCRoute takes the place of the HTTPRoutes of its namespace", () => {
  const { route: grpc } = read([{ name: "s" }]);
  assert.ok(grpc);
  const http = httpRoute("shop/api");
  const other = httpRoute("shop/api", { namespace: "bank", name: "own" });
  const about = (port: number, from: string, ...routes: readonly HttpRoute[]): readonly HttpRoute[] =>
    routesFor(routes, { namespace: "shop", name: "api" }, { port, name: "", appProtocol: "" }, from);
  assert.deepEqual(about(80, "shop", http, grpc), [grpc]);
  assert.deepEqual(about(80, "bank", http, grpc, other), [other]);
  const narrow = { ...grpc, parents: [{ service: "shop/api", port: 81, portName: null }] };
  assert.deepEqual(about(80, "shop", http, narrow), [http]);
});

test("a session is the rule's, as of an HTTPRoute", () => {
  const { route } = read([{ sessionPersistence: { type: "Header", sessionName: "x-basket" } }, {}]);
  assert.deepEqual(
    route?.rules.map(({ session }) => session),
    [{ by: "header", name: "x-basket", lastsMs: 0, isPermanent: false }, undefined],
  );
});

test("what cannot be honoured is refused, with its place", () => {
  const refusals: readonly (readonly [Json, RegExp])[] = [
    [{ matches: [{ method: {} }] }, /neither service nor method/],
    [{ matches: [{ method: { service: "a/b" } }] }, /"a\/b" is no service of gRPC/],
    [{ matches: [{ method: { method: "Get()" } }] }, /"Get\(\)" is no method of gRPC/],
    [{ matches: [{ method: { type: "RegularExpression", service: "(" } }] }, /the expression cannot be honoured/],
    [{ matches: [{ path: { value: "/a" } }] }, /ORL4102/],
    [{ filters: [{ type: "URLRewrite", urlRewrite: { hostname: "a" } }] }, /ORL4102/],
    [{ filters: [{ type: "RequestMirror", requestMirror: {} }] }, /lacks "backendRef"/],
    [{ sessionPersistence: { idleTimeout: "1m" } }, /ORL4106/],
    [{ timeouts: { request: "1s" } }, /ORL4102/],
  ];
  for (const [rule, why] of refusals) {
    const { route, problems } = read([rule]);
    assert.equal(route, undefined, JSON.stringify(rule));
    assert.match(problems, why);
  }
});
