// Documents of a file, whatever their kinds: every mistake with its position, and that random damage is refused whole.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { positionText } from "../../mesh/source-ref.ts";
import {
  findings,
  PEERS,
  POLICY,
  RULE,
  read,
  refusals,
  SERVICE,
  SHOP,
  values,
  WORKLOAD,
  workload,
} from "./translate.fake.ts";
import { ConfigError } from "./value.ts";

for (const [name, text, expected] of [
  ["an unknown kind", WORKLOAD.replace("kind: Workload", "kind: Workloda"), /^f\.yaml:1:1 ORL4102 "Workloda"/],
  ["no kind", "a: 1\n", /^f\.yaml:1:1 ORL4103 .*no kind/],
  ["a list as a document", "- 1\n", /^f\.yaml:1:1 ORL4103/],
  ["another version", WORKLOAD.replace("v1alpha1", "v2"), /^f\.yaml:1:13 ORL4104 apiVersion/],
  ["an unknown field", WORKLOAD.replace("node:", "nodes:"), /^f\.yaml:6:3 ORL4102 spec has no field "nodes"/],
  [
    "a wrong type",
    WORKLOAD.replace("[10.0.0.1]", "10.0.0.1"),
    /^f\.yaml:5:14 ORL4103 spec\.addresses should be a list, but is a string/,
  ],
  [
    "a wrong address",
    WORKLOAD.replace("10.0.0.1", "10.0.0.256"),
    /^f\.yaml:5:15 ORL4104 spec\.addresses\[0\]: "10\.0\.0\.256"/,
  ],
  ["a missing field", WORKLOAD.replace("  node: west\n", ""), /^f\.yaml:5:3 ORL4103 spec lacks "node"/],
  [
    "null for a value",
    WORKLOAD.replace("west", "null"),
    /^f\.yaml:6:9 ORL4103 spec\.node should be a string, but is nothing/,
  ],
  ["an upper-case name", WORKLOAD.replace("web-1", "Web-1"), /^f\.yaml:3:18 ORL4104/],
  [
    "a label that is a number",
    WORKLOAD.replace("app: web", "app: 1"),
    /^f\.yaml:3:\d+ ORL4103 .*should be a string, but is a number/,
  ],
  ["a typo in the opt-in label", SHOP.replace("ambient", "Ambient"), /^f\.yaml:3:\d+ ORL4104 .*ambient, none/],
  [
    "an address with two owners",
    `${WORKLOAD}---\n${WORKLOAD.replace("web-1", "web-2")}`,
    /^f\.yaml:8:1 ORL4105 10\.0\.0\.1 belongs to Workload shop\/web-1/,
  ],
  [
    "a pod of this node with two owners",
    `${WORKLOAD}---\n${WORKLOAD.replace("web-1", "web-2").replace("10.0.0.1", "10.0.0.2")}`,
    /^f\.yaml:8:1 ORL4105 pod u1 belongs to Workload shop\/web-1/,
  ],
  ["an object twice", `${WORKLOAD}---\n${WORKLOAD}`, /^f\.yaml:8:1 ORL4105 .*f\.yaml:1:1/],
  [
    "a mesh pod of this node without its UID",
    `${SHOP}---\n${WORKLOAD.replace("uid: u1, ", "")}`,
    /ORL4103 .*metadata\.uid/,
  ],
  [
    "a bad CIDR",
    RULE("{ipBlocks: [10.0.0.0/33]}"),
    /^f\.yaml:7:\d+ ORL4104 spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[0\]: "10\.0\.0\.0\/33" is not an IP address or CIDR/,
  ],
  ["an empty list", RULE("{principals: []}"), /^f\.yaml:7:\d+ ORL4104 .*principals has 0 entries/],
  ["an empty source", RULE("{}"), /^f\.yaml:7:\d+ ORL4105 .*empty/],
  ["an empty string", RULE('{principals: [""]}'), /ORL4104/],
  [
    "accounts beside principals",
    RULE("{serviceAccounts: [a], principals: [b]}"),
    /^f\.yaml:7:19 ORL4105 serviceAccounts/,
  ],
  ["a wildcard account", RULE('{serviceAccounts: ["*"]}'), /^f\.yaml:7:\d+ ORL4104 .*not a service account/],
  [
    "a port as a number",
    POLICY("\n  rules: [{to: [{operation: {ports: [80]}}]}]"),
    /^f\.yaml:5:\d+ ORL4103 .*should be a string, but is a number/,
  ],
  ["port 0", POLICY('\n  rules: [{to: [{operation: {ports: ["0"]}}]}]'), /ORL4104/],
  ["port 65536", POLICY('\n  rules: [{to: [{operation: {ports: ["65536"]}}]}]'), /ORL4104/],
  [
    "a condition without values",
    POLICY("\n  rules: [{when: [{key: source.ip}]}]"),
    /^f\.yaml:5:\d+ ORL4105 .*neither values/,
  ],
  [
    "an unknown key",
    POLICY("\n  rules: [{when: [{key: source.ipp, values: [a]}]}]"),
    /^f\.yaml:5:\d+ ORL4102 when has no key "source\.ipp"/,
  ],
  [
    "a key of every object",
    POLICY("\n  rules: [{when: [{key: constructor, values: [a]}]}]"),
    /ORL4102 when has no key/,
  ],
  [
    "a condition on a bad address",
    POLICY("\n  rules: [{when: [{key: source.ip, values: [nowhere]}]}]"),
    /ORL4104 .*nowhere/,
  ],
  ["too many rules", POLICY(`\n  rules: [${Array(513).fill("{}").join(",")}]`), /ORL4104 .*513 entries.*at most 512/],
  ["CUSTOM without a provider", POLICY("\n  action: CUSTOM"), /ORL4105 .*provider/],
  [
    "a selector beside targetRefs",
    POLICY("\n  selector: {matchLabels: {a: b}}\n  targetRefs: [{kind: Service, name: a}]"),
    /ORL4105 .*both/,
  ],
  [
    "ports without a selector",
    PEERS("\n  portLevelMtls: {8080: {mode: STRICT}}"),
    /^f\.yaml:1:1 ORL4105 .*without a selector/,
  ],
  [
    "a port that is none",
    PEERS("\n  selector: {matchLabels: {a: b}}\n  portLevelMtls: {http: {mode: STRICT}}"),
    /^f\.yaml:6:\d+ ORL4104/,
  ],
  ["an unknown mode", PEERS("\n  mtls: {mode: strict}"), /^f\.yaml:5:16 ORL4104 .*"strict" is not one of/],
  [
    "two services with one address",
    `${SERVICE}---\n${SERVICE.replace("name: api", "name: b")}`,
    /^f\.yaml:10:1 ORL4105 10\.96\.0\.1 is the address of Service shop\/api/,
  ],
  [
    "a port twice",
    SERVICE.replace("targetPort: 8080}", "targetPort: 8080}\n    - {name: b, port: 80}"),
    /ORL4105 .*twice/,
  ],
  ["a forged log line", WORKLOAD.replace("serviceAccount", "x").replace("west", '"a\\nb"'), /ORL4104 .*control byte/],
] as const) {
  test(`refused: ${name}`, () => {
    const all = refusals(text);
    assert.ok(
      all.some((one) => expected.test(one)),
      all.join("\n") || "accepted",
    );
    assert.ok(all.every((one) => !one.includes("\n")));
  });
}

test("every mistake of a file is told at once", () => {
  const text = `${WORKLOAD.replace("west", "1")}---\n${RULE("{ipBlocks: [x], principal: [y]}")}---\nkind: Nothing\n`;
  assert.equal(refusals(text).length, 4);
});

test("what others read from the same file is named, not skipped in silence; a NodeConfig is left to its own reader", () => {
  assert.match(
    findings("apiVersion: x/v1\nkind: VirtualService\nmetadata: {name: a}\n").join(),
    /VirtualService is not honoured yet/,
  );
  assert.match(
    findings("apiVersion: x/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {parentRefs: [{name: g}]}\n").join(),
    /no Service among its parentRefs/,
  );
  assert.deepEqual(read("apiVersion: orlop.dev/v1alpha1\nkind: NodeConfig\nspec: {}\n").findings, []);
});

test("a route of a Service is a value of the mesh, and a mistake in it refuses the file", () => {
  const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: api}]
  rules: [{backendRefs: [{name: api, port: 80}]}]
`;
  const [value, ...more] = values(read(route), "http-route");
  assert.deepEqual(
    [value?.name, value?.parents[0]?.service, value?.rules.length, more.length],
    ["api", "shop/api", 1, 0],
  );
  assert.match(refusals(`${WORKLOAD}---\n${route.replace("port: 80", "port: 0")}`).join(), /f\.yaml:\d+:\d+ ORL4104/);
  assert.match(refusals(`${route}---\n${route}`).join(), /HTTPRoute shop\/api stands here and at/);
});

test("a List is its items", () => {
  const indented = WORKLOAD.trimEnd().split("\n").join("\n    ");
  assert.equal(workload(`apiVersion: v1\nkind: List\nitems:\n  - ${indented}\n`).name, "web-1");
});

const examples = ["two-nodes.yaml", "policies.yaml"].map((name) =>
  readFileSync(fileURLToPath(new URL(`../../../docs/examples/${name}`, import.meta.url)), "utf8"),
);

test("the examples of the documentation are read whole, with nothing left aside", () => {
  assert.deepEqual(
    examples.map((text) => [read(text).updates.length, read(text).findings.length]),
    [
      [6, 0],
      [6, 0],
    ],
  );
});

test("damaged configuration is refused as a whole or read as a whole; nothing but ConfigError is ever thrown", () => {
  const damage = fc.oneof(
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(), length: fc.integer({ min: 1, max: 40 }) }),
    fc.record({
      kind: fc.constant("put" as const),
      at: fc.nat(),
      text: fc.oneof(
        fc.string({ maxLength: 6 }),
        fc.constantFrom("\n", "  ", "- ", ": ", "{", "]", "null", "*", "&a ", "__proto__: 1\n", "---\n", "/", "0"),
      ),
    }),
    fc.record({ kind: fc.constant("swap" as const), at: fc.nat(), to: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.constantFrom(...examples), fc.array(damage, { minLength: 1, maxLength: 4 }), (good, changes) => {
      let text = good;
      for (const change of changes) {
        const at = change.at % text.length;
        if (change.kind === "cut") text = text.slice(0, at) + text.slice(at + change.length);
        else if (change.kind === "put") text = text.slice(0, at) + change.text + text.slice(at);
        else {
          const lines = text.split("\n");
          const [a, b] = [change.at % lines.length, change.to % lines.length];
          [lines[a], lines[b]] = [lines[b] ?? "", lines[a] ?? ""];
          text = lines.join("\n");
        }
      }
      try {
        read(text);
      } catch (error) {
        assert.ok(error instanceof ConfigError, `${error}\n${text}`);
        assert.ok(error.problems.length > 0);
        for (const problem of error.problems) assert.match(positionText(problem.from), /^f\.yaml:[1-9]\d*:\d+$/);
      }
    }),
    { numRuns: 1_500 },
  );
});

test("one poisoned object among a thousand is found and named; the other nine hundred and ninety-nine do not hide it", () => {
  const many = Array.from({ length: 1_000 }, (_, i) =>
    WORKLOAD.replace("web-1", `web-${i}`)
      .replace("u1", `u${i}`)
      .replace("10.0.0.1", `10.0.${i >> 8}.${i & 255}`),
  );
  many[617] = many[617]?.replace("node: west", "node: [west]") ?? "";
  const all = refusals(many.join("---\n"));
  assert.deepEqual(all, [`f.yaml:${617 * 7 + 6}:9 ORL4103 spec.node should be a string, but is a list`]);
});
