// How much a lookup may cost; which rule it finds is test/routes/matching.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpMatch } from "../mesh/http-rule.ts";
import { httpRoute } from "../traffic/mesh.fake.ts";
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
