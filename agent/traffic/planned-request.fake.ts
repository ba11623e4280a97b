// tests · a mesh of a caller, a Service with routes, and pods here and elsewhere; a request of the caller, and what is planned of it.
import assert from "node:assert/strict";
import { seeded } from "../../test/support/dice.ts";
import { RouteTables } from "../l7/route-tables.ts";
import type { HttpMatch, HttpRoute, HttpRule, RouteBackend } from "../mesh/http-rule.ts";
import { FakeMesh, httpRoute, service, workload } from "../mesh/mesh.fake.ts";
import type { RequestPlan, RequestWorld, RoutedFacts } from "../plan/forwarded-request.ts";
import { planRequest } from "../plan/plan-request.ts";
import { evaluatorOf } from "../policy/evaluate.ts";

export const web = workload("web", { addresses: ["10.0.0.1"] });
export const near = workload("near", { addresses: ["10.0.0.3"] });
export const far = workload("far", { addresses: ["10.0.0.2"], node: "n2" });
export const called = service("api", { vips: ["10.96.0.1"], selector: { app: "far" } });
export const services = [
  called,
  service("near", { vips: ["10.96.0.2"] }),
  service("far", { vips: ["10.96.0.3"] }),
  service("empty", { vips: ["10.96.0.4"] }),
];
export const parent = "shop/api";

export type Given = { readonly routes?: readonly HttpRoute[]; readonly change?: (mesh: FakeMesh) => void };

export function world({ routes = [], change = () => {} }: Given): RequestWorld {
  const mesh = new FakeMesh([web, near, far], services);
  mesh.routes.push(...routes);
  change(mesh);
  const { judge, readsPaths } = evaluatorOf(mesh);
  const servedHere = (uid: string): boolean => uid === near.uid || uid === web.uid;
  return { mesh, servedHere, load: () => 0, random: seeded(7), judge, readsPaths, routes: new RouteTables(mesh) };
}

export const asked: RoutedFacts = {
  source: web,
  client: { address: "10.0.0.1", port: 4000 },
  dialled: { address: "10.96.0.1", port: 80 },
  ...{ method: "GET", target: "/", authority: "api", header: () => [] },
};
export const plan = (given: Given, request: Partial<RoutedFacts> = {}): RequestPlan =>
  planRequest({ ...asked, ...request }, world(given));
export const under = (...prefixes: string[]): HttpMatch[] =>
  prefixes.map((value) => ({ path: { kind: "prefix", value }, method: null, headers: [], query: [] }));
export const to = (backends: readonly RouteBackend[], rule: Partial<HttpRule> = {}): Given => ({
  routes: [httpRoute(parent, {}, { ...rule, backends })],
});

export function forwarded(found: RequestPlan): Extract<RequestPlan, { readonly kind: "forward" }> {
  assert.ok(found.kind === "forward", JSON.stringify(found));
  return found;
}
export function answer(found: RequestPlan): string {
  assert.ok(found.kind === "reply", JSON.stringify(found));
  return `${found.status} ${found.why}`;
}
