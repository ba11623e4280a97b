// AuthorizationPolicy → mesh value: what a connection and a request decide, and what is reported because nobody can.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyOperation } from "../../mesh/policies.ts";
import { lineText, nowhere } from "../../mesh/source-ref.ts";
import { findings, POLICY, policy, RULE, read, refusals, SERVICE, values } from "./translate.fake.ts";

test("an authorization policy, every field that a connection can decide", () => {
  const value = policy(
    POLICY(`
  selector: {matchLabels: {app: api}}
  action: DENY
  rules:
    - from:
        - source: {principals: ["td/ns/a/sa/b", "*", "*/sa/x", "td/*"], notNamespaces: [evil], ipBlocks: [10.0.0.0/8], notIpBlocks: ["2001:db8::1"]}
        - source: {serviceAccounts: [other/sa, own]}
      to:
        - operation: {ports: ["80", "8080"], notPorts: ["22"]}
      when:
        - {key: destination.port, values: ["80"]}
        - {key: source.ip, notValues: [10.1.0.0/16]}
        - {key: source.serviceAccount, values: [x]}`),
  );
  const [rule] = value.rules;
  const [first, second] = rule?.sources ?? [];
  assert.deepEqual(value.selector, { app: "api" });
  assert.equal(value.action, "DENY");
  assert.deepEqual(first?.principals, [
    { kind: "exact", value: "td/ns/a/sa/b" },
    { kind: "presence" },
    { kind: "suffix", value: "/sa/x" },
    { kind: "prefix", value: "td/" },
  ]);
  assert.deepEqual(first?.notNamespaces, [{ kind: "exact", value: "evil" }]);
  assert.deepEqual([first?.ipBlocks[0]?.prefixBits, first?.notIpBlocks[0]?.prefixBits], [104, 128]);
  assert.deepEqual(second?.serviceAccounts, ["other/sa", "shop/own"]);
  assert.deepEqual(rule?.operations, [{ ...emptyOperation, ports: [80, 8080], notPorts: [22] }]);
  assert.deepEqual(
    rule?.when.map((one) => [one.key, one.ports, one.notCidrs.length, one.strings, one.http]),
    [
      ["destination.port", [80], 0, [], false],
      ["source.ip", [], 1, [], false],
      ["source.serviceAccount", [], 0, [{ kind: "exact", value: "shop/x" }], false],
    ],
  );
  assert.deepEqual(rule?.from, { file: "f.yaml", line: 8, column: 7 });
  assert.equal(lineText(rule?.when[1]?.from ?? nowhere), "f.yaml:15");
});

test("nothing, all, dry run", () => {
  assert.deepEqual([policy(POLICY(" {}")).rules, policy(POLICY(" {}")).action], [[], "ALLOW"]);
  assert.deepEqual(policy(POLICY("").replace("spec:\n", "")).rules, []);
  assert.deepEqual(policy(POLICY("\n  rules: [{}]")).rules[0]?.sources, []);
  const dry = POLICY(" {}").replace("namespace: shop", 'namespace: shop, annotations: {istio.io/dry-run: "true"}');
  assert.equal(policy(dry).dryRun, true);
  assert.match(refusals(dry.replace('"true"', "yes-please")).join(), /neither/);
});

test("what only a request shows is kept with its values; what this release does not see is reported with its position, never dropped", () => {
  const text = POLICY(`
  action: DENY
  rules:
    - from: [{source: {requestPrincipals: ["*"], remoteIpBlocks: [1.2.3.4]}}]
      to: [{operation: {methods: [GET], paths: ["/admin*", "/{*}/x/{**}"], hosts: [a.example]}}]
      when: [{key: "request.headers[x-y]", values: [a]}, {key: remote.ip, values: [10.0.0.0/8]}, {key: connection.sni, values: [a]}]`);
  const [rule] = policy(text).rules;
  const [source, operation] = [rule?.sources[0], rule?.operations[0]];
  assert.deepEqual(source?.requestPrincipals, [{ kind: "presence" }]);
  assert.deepEqual(
    source?.remoteIpBlocks.map((one) => one.text),
    ["1.2.3.4"],
  );
  assert.deepEqual(operation?.hosts, [{ kind: "exact", value: "a.example" }]);
  assert.deepEqual(operation?.methods, [{ kind: "exact", value: "GET" }]);
  assert.deepEqual(operation?.paths, [
    { kind: "prefix", value: "/admin" },
    { kind: "template", value: "/{*}/x/{**}" },
  ]);
  assert.deepEqual(
    rule?.when.map((one) => one.http),
    [true, true, true],
  );
  const found = findings(text);
  for (const [index, field] of ["requestPrincipals", "remoteIpBlocks", "remote.ip", "connection.sni"].entries()) {
    assert.match(
      found[index] ?? "",
      new RegExp(`^f\\.yaml:\\d+:\\d+ ORL4106 ${field} is not seen .*DENY, it counts as matching`),
    );
  }
  assert.equal(found.length, 4);
});

test("a template of a path that is none of Istio's is reported, and the file is taken", () => {
  const text = POLICY(`
  rules:
    - to: [{operation: {paths: ["/{*}/x/{**}", "/a{*}"], notPaths: ["/{id}"]}}]`);
  const bad = findings(text).filter((finding) => finding.includes("no template"));
  assert.equal(bad.length, 2);
  assert.match(
    bad.join("\n"),
    /^f\.yaml:6:\d+ ORL4106 paths: "\/a\{\*\}" is no template.*\n.*notPaths: "\/\{id\}" is no template/,
  );
  assert.equal(policy(text).rules[0]?.operations[0]?.paths.length, 2);
});

test("CUSTOM denies what it matches and says so", () => {
  const text = POLICY("\n  action: CUSTOM\n  provider: {name: opa}\n  rules: [{}]");
  assert.equal(policy(text).action, "DENY");
  assert.match(findings(text).join(), /^f\.yaml:5:11 ORL4106 .*CUSTOM/);
});

test("targetRefs: a Service is where its selector points; a gateway is not ours; what cannot be placed never opens", () => {
  const targeted = (kind: string, action: string, name = "api"): string =>
    POLICY(`\n  action: ${action}\n  targetRefs: [{group: "", kind: ${kind}, name: ${name}}]\n  rules: [{}]`);
  assert.deepEqual(policy(`${SERVICE}---\n${targeted("Service", "ALLOW")}`).selector, { app: "api" });
  assert.deepEqual(values(read(targeted("Gateway", "ALLOW")), "authorization-policy"), []);
  assert.match(findings(targeted("Gateway", "ALLOW")).join(), /Gateway/);
  assert.equal(policy(targeted("Service", "DENY", "missing")).selector, null);
  assert.match(findings(targeted("Service", "DENY", "missing")).join(), /whole namespace/);
  assert.match(refusals(targeted("Service", "ALLOW", "missing")).join(), /cannot be placed/);
});

test("stars and schemes that never match are pointed out", () => {
  assert.match(findings(RULE('{principals: ["td/ns/*/sa/x"]}')).join(), /inner \*/);
  assert.match(findings(RULE('{principals: ["spiffe://td/ns/a/sa/x"]}')).join(), /spiffe:\/\//);
});
