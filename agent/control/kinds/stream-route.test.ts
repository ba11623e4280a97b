// TCPRoute and TLSRoute → mesh value, and each mistake with its place.
import assert from "node:assert/strict";
import { test } from "node:test";
import { positionText } from "../../mesh/source-ref.ts";
import type { StreamRoute } from "../../mesh/stream-route.ts";
import { parseYaml } from "../static-file/parse.ts";
import { streamRouteKinds, toStreamRoute } from "./stream-route.ts";
import { Report } from "./value.ts";

function read(kind: StreamRoute["kind"], spec: string, version = "v1") {
  const report = new Report();
  const text = `apiVersion: gateway.networking.k8s.io/${version}
kind: ${kind}
metadata: { name: db, namespace: shop, creationTimestamp: "2026-01-02T03:04:05Z" }
spec:
  parentRefs: [{ group: "", kind: Service, name: db, port: 5432 }, { name: gateway }]
${spec.replace(/^(?=.)/gm, "  ")}`;
  const [document] = parseYaml("f.yaml", text);
  assert.ok(document);
  const written = streamRouteKinds[kind](document, "", report);
  const route = written && toStreamRoute(written, document, report);
  const said = (all: Report["problems"]): string[] =>
    all.map(({ from, code, what }) => `${positionText(from)} ${code} ${what}`);
  return { route, problems: said(report.problems), findings: said(report.findings) };
}

test("a TCPRoute: parents, and shares of other Services", () => {
  const { route, problems } = read(
    "TCPRoute",
    "rules: [{ backendRefs: [{ name: a, port: 1, weight: 9 }, { name: b, namespace: bank, port: 2 }] }]\n",
  );
  assert.deepEqual(problems, []);
  const { from, ...rest } = route ?? assert.fail();
  assert.deepEqual(rest, {
    ...{ kind: "TCPRoute", name: "db", namespace: "shop", createdMs: Date.parse("2026-01-02T03:04:05Z") },
    parents: [{ service: "shop/db", port: 5432, portName: null }],
    hostnames: [],
    backends: [
      { service: "shop/a", port: 1, weight: 9 },
      { service: "bank/b", port: 2, weight: 1 },
    ],
  });
  assert.deepEqual(read("TCPRoute", "rules: [{ backendRefs: [{ name: a, port: 1 }] }]\n", "v1alpha2").problems, []);
});

test("a TLSRoute names servers", () => {
  const { route, problems } = read(
    "TLSRoute",
    'hostnames: [api.example, "*.b.example"]\nrules: [{ backendRefs: [{ name: a, port: 1 }] }]\n',
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(route?.hostnames, ["api.example", "*.b.example"]);
});

test("mistakes have their places; a share that goes nowhere is reported", () => {
  const rules = "rules: [{ backendRefs: [{ name: a, port: 1 }] }]\n";
  for (const [kind, spec, said] of [
    ["TCPRoute", "rules: []\n", /rules/],
    ["TCPRoute", "rules: [{}, {}]\n", /rules/],
    ["TCPRoute", `hostnames: [a.b]\n${rules}`, /^f\.yaml:6:\d+ ORL4102 spec has no field "hostnames"/],
    ["TLSRoute", rules, /hostnames/],
    ["TLSRoute", `hostnames: [10.0.0.1]\n${rules}`, /^f\.yaml:6:\d+ ORL4104 spec\.hostnames\[0\]/],
    ["TLSRoute", `hostnames: ["a.*.b"]\n${rules}`, /^f\.yaml:6:\d+ ORL4104 spec\.hostnames\[0\]/],
    ["TLSRoute", `hostnames: [A.b]\n${rules}`, /^f\.yaml:6:\d+ ORL4104 spec\.hostnames\[0\]/],
    [
      "TCPRoute",
      "rules: [{ backendRefs: [{ name: a, port: 1, filters: [] }] }]\n",
      /ORL4102 .* has no field "filters"/,
    ],
  ] as const) {
    const { route, problems } = read(kind, spec);
    assert.equal(route, undefined, spec);
    assert.match(problems.join("\n"), said, spec);
  }
  const { route, findings } = read(
    "TCPRoute",
    "rules: [{ backendRefs: [{ name: a }, { kind: Pod, name: b, port: 1 }] }]\n",
  );
  assert.deepEqual(
    route?.backends.map(({ service }) => service),
    ["shop/a", null],
  );
  assert.equal(findings.length, 2);
});
