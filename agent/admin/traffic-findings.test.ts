import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMesh, httpRoute, routeBackend, service } from "../mesh/mesh.fake.ts";
import type { TrafficPolicy } from "../mesh/traffic-policy.ts";
import { trafficFindings } from "./traffic-findings.ts";

const traffic: TrafficPolicy = {
  ...{ outliers: null, maxRequests: 5, hash: null, balance: null, warmUp: null },
  from: { file: "mesh.yaml", line: 7, column: 1 },
};

test("a DestinationRule is named while no route leads to its Service, and no other Service is", () => {
  const mesh = new FakeMesh([], [service("api", { traffic }), service("near")]);
  const said = (): readonly string[] => trafficFindings(mesh).map(({ code, what }) => `${code} ${what}`);
  assert.deepEqual(said(), ["ORL4115 mesh.yaml:7: no route leads to Service shop/api of a DestinationRule"]);
  mesh.routes.push(httpRoute("shop/near", {}, { backends: [routeBackend("shop/api")] }));
  assert.deepEqual(said(), []);
});

test("of many some are named and the rest counted", () => {
  const mesh = new FakeMesh(
    [],
    Array.from({ length: 23 }, (_, nth) => service(`s${nth}`, { traffic })),
  );
  const found = trafficFindings(mesh);
  assert.equal(found.length, 21);
  assert.match(found.at(-1)?.what ?? "", /3 more Services/);
});
