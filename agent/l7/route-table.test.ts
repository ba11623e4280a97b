// How much a lookup may cost; which rule it finds is test/routes/matching.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpMatch } from "../mesh/http-rule.ts";
import { httpRoute } from "../mesh/mesh.fake.ts";
import { requestFacts } from "./request-facts.ts";
import { MOST_TRIED, RouteTable } from "./route-table.ts";

/** Matches of the tenants from `first` on, each by its number in a header. */
const tenants = (first: number, count: number, path: HttpMatch["path"]): HttpMatch[] =>
  Array.from({ length: count }, (_, at) => ({
    ...{ path, method: null, query: [] },
    headers: [{ name: "x-tenant", kind: "exact", value: String(first + at) }],
  }));
const prefix = (value: string): HttpMatch["path"] => ({ kind: "prefix", value });
const exact = (value: string): HttpMatch["path"] => ({ kind: "exact", value });

function taken(matches: readonly HttpMatch[], tenant: number): string | undefined {
  const target = "/a/b";
  const header = (): readonly string[] => [String(tenant)];
  const facts = requestFacts({ method: "GET", target, authority: "api", header });
  const found = new RouteTable([httpRoute("shop/api", {}, { matches })]).find({ ...facts, target });
  return found === undefined || found === "too-many" ? found : found.match.headers.map(({ value }) => value).join();
}

test("for a request so many matches are tried; what lies behind them is not found, and not hidden either", () => {
  const most = tenants(0, MOST_TRIED, prefix("/a"));
  assert.equal(taken(most, MOST_TRIED - 1), String(MOST_TRIED - 1));
  assert.equal(taken(most, MOST_TRIED), undefined);
  const more = [...most, ...tenants(MOST_TRIED, 1, prefix("/a"))];
  assert.equal(taken(more, MOST_TRIED - 1), String(MOST_TRIED - 1));
  assert.equal(taken(more, MOST_TRIED), "too-many");
  assert.equal(taken(more, -1), "too-many");
});

test("lists that a request goes through count together, and another path's not at all", () => {
  const half = MOST_TRIED / 2;
  const both = [...tenants(0, half, exact("/a/b")), ...tenants(half, half, prefix("/a"))];
  assert.equal(taken(both, MOST_TRIED - 1), String(MOST_TRIED - 1));
  assert.equal(taken([...both, ...tenants(MOST_TRIED, 1, prefix(""))], MOST_TRIED), "too-many");
  const others = [...tenants(0, 50_000, exact("/other")), ...tenants(0, 50_000, prefix("/a/other"))];
  assert.equal(taken([...others, ...tenants(60_000, 1, prefix(""))], 60_000), "60000");
});

type Sent = { readonly target?: string; readonly header?: (name: string) => readonly string[] };

/** What is found, and how often the fields of the request were looked through. */
function looked(matches: readonly HttpMatch[], { target = "/a", header = () => [] }: Sent): [string, number] {
  let looks = 0;
  const counting = (name: string): readonly string[] => {
    looks += 1;
    return header(name);
  };
  const facts = requestFacts({ method: "GET", target, authority: "api", header: counting });
  const found = new RouteTable([httpRoute("shop/api", {}, { matches })]).find({ ...facts, target });
  return [found === undefined ? "none" : found === "too-many" ? found : "found", looks];
}

/** Conditions on so many headers of which all but the last hold. */
const nearly = (conditions: number): HttpMatch => ({
  ...{ path: prefix(""), method: null, query: [] },
  headers: Array.from({ length: conditions }, (_, at) => ({
    ...{ name: `x-${at}`, kind: "exact" as const, value: at === conditions - 1 ? "no" : "yes" },
  })),
});

test("conditions count as matches do, and a field is looked for once", () => {
  const matches = (count: number): HttpMatch[] => Array.from({ length: count }, () => nearly(16));
  const header = (): readonly string[] => ["yes"];
  assert.deepEqual(looked(matches(MOST_TRIED / 16), { header }), ["none", 16]);
  assert.deepEqual(looked(matches(MOST_TRIED / 16 + 1), { header }), ["too-many", 16]);
});

test("what is read of a request ends: fields that are looked for, long fields under expressions, a long query under many names", () => {
  const each = (count: number, make: (at: number) => Partial<HttpMatch>): HttpMatch[] =>
    Array.from({ length: count }, (_, at) => ({ ...nearly(0), ...make(at) }));
  const long = "a".repeat(50_000);
  const names = (count: number): HttpMatch[] =>
    each(count, (at) => ({ headers: [{ name: `x-${at}`, kind: "exact", value: "no" }] }));
  assert.equal(looked(names(4_000), {})[0], "none");
  assert.equal(looked(names(4_000), { header: () => ["y".repeat(100)] })[0], "too-many");
  const expressions = (count: number): HttpMatch[] =>
    each(count, (at) => ({ headers: [{ name: "cookie", kind: "expression", value: `(?:a|b)*${at}` }] }));
  assert.equal(looked(expressions(64), { header: () => [long.slice(0, 8_000)] })[0], "none");
  assert.equal(looked(expressions(64), { header: () => [long] })[0], "too-many");
  const parameters = (count: number): HttpMatch[] =>
    each(count, (at) => ({ query: [{ name: `p${at}`, kind: "exact", value: "no" }] }));
  assert.equal(looked(parameters(8), { target: `/a?q=${long}` })[0], "none");
  assert.equal(looked(parameters(64), { target: `/a?q=${long}` })[0], "too-many");
});
