import assert from "node:assert/strict";
import { test } from "node:test";
import type { LimitPolicy } from "../../mesh/limit-policy.ts";
import { translateTexts } from "../static-file/read.ts";
import { ConfigError } from "./value.ts";

const settings = {
  ...{ node: "n", rootNamespace: "istio-system", trustDomain: "cluster.local", honourIstioLabels: false },
} as Parameters<typeof translateTexts>[1];

const document = (spec: string): string => `apiVersion: orlop.dev/v1alpha1
kind: LimitPolicy
metadata: {name: a, namespace: shop}
spec:
  ${spec}
`;

function read(spec: string): LimitPolicy {
  const { updates, findings } = translateTexts([{ file: "f.yaml", text: document(spec) }], settings);
  assert.deepEqual(findings, []);
  const [update] = updates;
  assert.ok(update?.kind === "limit-policy" && update.op === "upsert" && updates.length === 1);
  return update.value;
}

function problemOf(spec: string): string {
  try {
    translateTexts([{ file: "f.yaml", text: document(spec) }], settings);
  } catch (refused) {
    assert.ok(refused instanceof ConfigError, String(refused));
    const [{ code, from, what } = assert.fail("no problem")] = refused.problems;
    return `${code} ${"line" in from ? `${from.line}:${from.column}` : ""} ${what}`;
  }
  return assert.fail("it was accepted");
}

const local = "local: {requests: 10, per: second}";

test("what is not written: everything counts, in a single bucket, enforced, with a burst as large as the rate", () => {
  const { selector, mode, priority, match, requests, unitMs, burst, per } = read(local);
  assert.deepEqual([selector, mode, priority, requests, unitMs, burst, per], [null, "enforce", 0, 10, 1_000, 10, []]);
  assert.deepEqual([match.sources, match.operations, match.when], [[], [], []]);
});

test("every field", () => {
  const value = read(`selector: {matchLabels: {app: api}}
  mode: shadow
  priority: 7
  match:
    identities: ["*/sa/batch"]
    namespaces: [shop]
    ports: [8080]
    methods: [POST]
    headers: [{name: X-Tier, values: [free, "tri*"]}]
    grpcMethods: [shop.v1.Orders/Create, shop.v1.Stock/*]
  local: {requests: 3, per: hour, burst: 2}
  per: [source, method, path, "header:X-User"]`);
  assert.deepEqual(value.selector, { app: "api" });
  assert.deepEqual(
    [value.mode, value.priority, value.requests, value.unitMs, value.burst],
    ["shadow", 7, 3, 3_600_000, 2],
  );
  assert.deepEqual(value.per, [{ by: "source" }, { by: "method" }, { by: "path" }, { by: "header", name: "x-user" }]);
  const [source] = value.match.sources;
  assert.deepEqual(source?.principals, [{ kind: "suffix", value: "/sa/batch" }]);
  assert.deepEqual(source?.namespaces, [{ kind: "exact", value: "shop" }]);
  const [operation] = value.match.operations;
  assert.deepEqual([operation?.ports, operation?.methods], [[8080], [{ kind: "exact", value: "POST" }]]);
  assert.deepEqual(operation?.paths, [
    { kind: "exact", value: "/shop.v1.Orders/Create" },
    { kind: "prefix", value: "/shop.v1.Stock/" },
  ]);
  assert.deepEqual(
    value.match.when.map(({ key, strings }) => [key, strings.length]),
    [["request.headers[x-tier]", 2]],
  );
});

const refused: readonly (readonly [spec: string, problem: RegExp])[] = [
  ["mode: enforce", /^ORL4103 .*local/],
  [`${local}\n  global: {requests: 1}`, /^ORL4102 6:3 .*global/],
  [`${local}\n  match: {method: [GET]}`, /^ORL4102 6:11 .*method/],
  ["local: {requests: 0, per: second}", /^ORL4104 5:21 .*requests/],
  ["local: {requests: 1.5, per: second}", /^ORL4104 5:21 .*requests/],
  ["local: {requests: 1, per: day}", /^ORL4104 5:29 .*per/],
  ["local: {requests: 1, per: second, burst: 0}", /^ORL4104 .*burst/],
  [`${local}\n  per: [user]`, /^ORL4104 6:9 .*per/],
  [`${local}\n  per: []`, /per/],
  [`${local}\n  mode: off`, /mode/],
  [`${local}\n  priority: -1`, /^ORL4104 .*priority/],
  [`${local}\n  match: {grpcMethods: [Create]}`, /^ORL4104 .*grpcMethods/],
  [`${local}\n  match: {paths: ["/a/{x}"]}`, /^ORL4104 .*paths.*template/],
  [`${local}\n  match: {paths: [/a], grpcMethods: [a.B/c]}`, /^ORL4105 .*paths and grpcMethods/],
];
for (const [spec, problem] of refused)
  test(`refused with its place: ${spec.split("\n").at(-1)?.trim()}`, () => {
    assert.match(problemOf(spec), problem);
  });
