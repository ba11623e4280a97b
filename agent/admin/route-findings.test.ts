import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMesh, httpRoute, httpRule, routeBackend, service } from "../mesh/mesh.fake.ts";
import { routeFindings } from "./route-findings.ts";

const parent = (name: string, port: number | null = null) => ({ service: name, port, portName: null });
const said = (mesh: FakeMesh): readonly string[] => routeFindings(mesh).map(({ what }) => what);

test("parents that nobody can call, and backends that do not exist", () => {
  const mesh = new FakeMesh([], [service("api"), service("headless", { vips: [] })]);
  mesh.routes = [
    httpRoute("shop/api", {
      parents: [parent("shop/api", 80), parent("shop/api", 81), parent("shop/none"), parent("shop/headless")],
    }),
    httpRoute("shop/api", {
      name: "two",
      rules: [
        httpRule({
          backends: [routeBackend("shop/api"), routeBackend("shop/api", { port: 9 }), routeBackend("shop/none")],
        }),
        httpRule({ backends: [routeBackend("shop/none", { weight: 0 }), routeBackend("", { service: null })] }),
      ],
    }),
  ];
  assert.deepEqual(said(mesh), [
    "mesh.yaml:5: HTTPRoute shop/api is about Service shop/api, which has no port 81",
    "mesh.yaml:5: HTTPRoute shop/api is about Service shop/none, which does not exist",
    "mesh.yaml:5: HTTPRoute shop/api is about Service shop/headless, which has no address that anybody calls",
    "mesh.yaml:9: HTTPRoute shop/two[0]: Service shop/api has no port 9",
    "mesh.yaml:9: HTTPRoute shop/two[0]: Service shop/none does not exist",
  ]);
});

test("of very many the first are named, and the rest is counted", () => {
  const mesh = new FakeMesh([]);
  mesh.routes = Array.from({ length: 30 }, (_, index) => httpRoute("shop/none", { name: `r${index}`, rules: [] }));
  assert.equal(said(mesh).length, 21);
  assert.equal(said(mesh).at(-1), "10 more places in routes lead nowhere");
  mesh.routes = [];
  assert.deepEqual(said(mesh), []);
});
