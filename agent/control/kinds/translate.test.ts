// Documents → mesh values: what each kind becomes, every mistake with its position, and that random damage is refused whole.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { type AuthorizationPolicy, emptyOperation, type PeerAuthentication } from "../../mesh/policies.ts";
import type { Service } from "../../mesh/service.ts";
import { lineText, nowhere, positionText } from "../../mesh/source-ref.ts";
import type { Workload } from "../../mesh/workload.ts";
import { parseYaml } from "../static-file/parse.ts";
import type { NodeSettings } from "./node-settings.ts";
import { type Translation, translate, type Upsert } from "./translate.ts";
import { ConfigError } from "./value.ts";

const settings: NodeSettings = {
  node: "west",
  cluster: "c1",
  network: "net1",
  trustDomain: "td.example",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
  runtimeClasses: [],
};

const read = (text: string, at: NodeSettings = settings): Translation => translate(parseYaml("f.yaml", text), at);

type ValueOf<K extends Upsert["kind"]> = Extract<Upsert, { readonly kind: K }>["value"];
function values<K extends Upsert["kind"]>(translation: Translation, kind: K): ValueOf<K>[] {
  return translation.updates.filter((one) => one.kind === kind).map((one) => one.value as ValueOf<K>);
}
function only<T>(all: readonly T[]): T {
  const [first] = all;
  assert.ok(first !== undefined && all.length === 1, `${all.length} instead of one`);
  return first;
}
const workload = (text: string, at?: NodeSettings): Workload => only(values(read(text, at), "workload"));
const service = (text: string): Service => only(values(read(text), "service"));
const policy = (text: string): AuthorizationPolicy => only(values(read(text), "authorization-policy"));
const peers = (text: string): PeerAuthentication => only(values(read(text), "peer-authentication"));
const findings = (text: string): string[] =>
  read(text).findings.map((one) => `${positionText(one.from)} ${one.code} ${one.what}`);

function refusals(text: string): string[] {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems.map((one) => `${positionText(one.from)} ${one.code} ${one.what}`);
  }
  return [];
}

const WORKLOAD = `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, uid: u1, labels: {app: web}}
spec:
  addresses: [10.0.0.1]
  node: west
`;
const SHOP = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {orlop.dev/dataplane-mode: ambient}}\n";
const SERVICE = `apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  selector: {app: api}
  ports:
    - {name: http, port: 80, targetPort: 8080}
`;
const POLICY = (spec: string): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec:${spec}\n`;
const PEERS = (spec: string): string =>
  `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec:${spec}\n`;
const RULE = (source: string): string => POLICY(`\n  rules:\n    - from:\n        - source: ${source}`);

test("a workload, with every default", () => {
  const value = workload(`${SHOP}---\n${WORKLOAD}`);
  assert.deepEqual(value, {
    uid: "c1//Pod/shop/web-1",
    podUid: "u1",
    name: "web-1",
    namespace: "shop",
    addresses: ["10.0.0.1"],
    node: "west",
    network: "net1",
    cluster: "c1",
    identity: {
      text: "spiffe://td.example/ns/shop/sa/default",
      trustDomain: "td.example",
      namespace: "shop",
      serviceAccount: "default",
    },
    labels: { app: "web" },
    protocol: "hbone",
    ports: {},
    probePorts: null,
    removesProxyHeaders: false,
    healthy: true,
    locality: { region: "", zone: "", subzone: "" },
    weight: 1,
    workloadName: "web-1",
    canonicalName: "web",
    canonicalRevision: "latest",
    from: { file: "f.yaml", line: 5, column: 1 },
  });
});

test("who is in the mesh: the namespace's label, the pod's own before it, the workload's protocol, and the node's pod UID", () => {
  const pod = (label: string): string => WORKLOAD.replace("app: web", `app: web, ${label}`);
  assert.equal(workload(WORKLOAD).protocol, "none");
  assert.equal(workload(`${SHOP}---\n${pod("orlop.dev/dataplane-mode: none")}`).protocol, "none");
  assert.equal(workload(pod("orlop.dev/dataplane-mode: ambient")).protocol, "hbone");
  assert.equal(workload(`${SHOP}---\n${WORKLOAD}  protocol: TCP\n`).protocol, "none");
  const istio = `${SHOP.replace("orlop.dev/", "istio.io/")}---\n${WORKLOAD}`;
  assert.equal(workload(istio).protocol, "none");
  assert.equal(workload(istio, { ...settings, honourIstioLabels: true }).protocol, "hbone");
  assert.equal(workload(`${SHOP}---\n${WORKLOAD}`, { ...settings, node: "east" }).podUid, "");
});

test("a namespace says for all its workloads whether other proxies' fields are taken out, and only in words that are known", () => {
  const annotated = (word: string): string =>
    SHOP.replace("{name: shop,", `{name: shop, annotations: {orlop.dev/remove-proxy-headers: ${word}},`);
  assert.equal(workload(`${annotated('"true"')}---\n${WORKLOAD}`).removesProxyHeaders, true);
  assert.equal(workload(`${annotated('"false"')}---\n${WORKLOAD}`).removesProxyHeaders, false);
  assert.equal(workload(`${SHOP}---\n${WORKLOAD}`).removesProxyHeaders, false);
  assert.throws(
    () => workload(`${annotated('"yes"')}---\n${WORKLOAD}`),
    (error) => error instanceof ConfigError && error.problems.length === 1 && error.problems[0]?.code === "ORL4104",
  );
});

test("names for telemetry, as Istio chooses them", () => {
  const named = (labels: string, name = "web-1"): Workload =>
    workload(WORKLOAD.replace("app: web", labels).replace("web-1", name));
  assert.equal(named("app: a, app.kubernetes.io/name: b, service.istio.io/canonical-name: c").canonicalName, "c");
  assert.equal(named("app: a, app.kubernetes.io/name: b").canonicalName, "b");
  assert.equal(named("x: y").canonicalName, "web-1");
  assert.equal(named("version: v2").canonicalRevision, "v2");
  assert.equal(named("pod-template-hash: 7d9f8b6c5", "web-7d9f8b6c5-x2x4q").workloadName, "web");
  assert.equal(named("pod-template-hash: 7d9f8b6c5", "web-7d9f8b6c5-x2x4q").canonicalName, "web");
});

test("a service, with Kubernetes' words for where its connections go", () => {
  const value = service(SERVICE);
  assert.equal(value.hostname, "api.shop.svc.cluster.local");
  assert.deepEqual(value.vips, ["10.96.0.1"]);
  assert.deepEqual(value.ports, [{ name: "http", port: 80, targetPort: 8080, appProtocol: "" }]);
  assert.deepEqual(value.loadBalancing, { preference: [], mode: "unspecified", health: "only-healthy" });
  const balanced = (more: string): unknown => service(`${SERVICE}  ${more}\n`).loadBalancing;
  const zones = { preference: ["network", "region", "zone"], mode: "failover", health: "only-healthy" };
  assert.deepEqual(balanced("trafficDistribution: PreferClose"), zones);
  assert.deepEqual(balanced("trafficDistribution: PreferSameZone"), zones);
  assert.deepEqual(balanced("internalTrafficPolicy: Local"), {
    preference: ["node"],
    mode: "strict",
    health: "only-healthy",
  });
  assert.deepEqual(balanced("publishNotReadyAddresses: true"), {
    preference: [],
    mode: "unspecified",
    health: "allow-all",
  });
  assert.deepEqual(service(SERVICE.replace("10.96.0.1", "None")).vips, []);
  assert.deepEqual(service(SERVICE.replace("targetPort: 8080", "appProtocol: tcp")).ports[0]?.targetPort, 80);
});

test("a service says how its endpoints share requests; a word that is not known is reported, and counts for nothing", () => {
  const annotated = (word: string): string =>
    SERVICE.replace("metadata: {name: api,", `metadata: {name: api, annotations: {orlop.dev/balance: ${word}},`);
  for (const word of ["cost", "least-request", "round-robin", "random"])
    assert.equal(service(annotated(word)).loadBalancing.requests, word);
  assert.equal(service(annotated("fastest")).loadBalancing.requests, undefined);
});

test("a service fails direct only by the word true; another word is reported", () => {
  const annotated = (word: string): string =>
    SERVICE.replace("metadata: {name: api,", `metadata: {name: api, annotations: {orlop.dev/fail-direct: ${word}},`);
  assert.equal(service(annotated('"true"')).failsDirect, true);
  for (const word of ['"false"', '"TRUE"', '"yes"', '""'])
    assert.equal(service(annotated(word)).failsDirect, undefined, word);
});

test("one service's flags never reach another (G5)", () => {
  const flags = fc.record({
    traffic: fc.constantFrom(
      "",
      "  trafficDistribution: PreferClose\n",
      "  trafficDistribution: PreferSameNode\n",
      "  internalTrafficPolicy: Local\n",
    ),
    notReady: fc.boolean(),
  });
  const text = (name: string, vip: string, flag: { traffic: string; notReady: boolean }): string =>
    SERVICE.replace("name: api", `name: ${name}`).replace("10.96.0.1", vip) +
    flag.traffic +
    (flag.notReady ? "  publishNotReadyAddresses: true\n" : "");
  fc.assert(
    fc.property(flags, flags, (a, b) => {
      const [first, second] = values(read(`${text("a", "10.96.0.1", a)}---\n${text("b", "10.96.0.2", b)}`), "service");
      assert.deepEqual(first?.loadBalancing, service(text("a", "10.96.0.1", a)).loadBalancing);
      assert.deepEqual(second?.loadBalancing, service(text("b", "10.96.0.2", b)).loadBalancing);
    }),
    { numRuns: 60 },
  );
});

test("explicit endpoints come from EndpointSlices", () => {
  const slice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, namespace: shop, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: http, port: 9000}]
endpoints:
  - {addresses: [192.0.2.1]}
  - {addresses: [192.0.2.2], conditions: {ready: false}}
`;
  const bare = SERVICE.replace("  selector: {app: api}\n", "");
  assert.deepEqual(service(`${slice}---\n${bare}`).endpoints, [
    { address: "192.0.2.1", ports: { http: 9000 }, weight: 1, healthy: true },
    { address: "192.0.2.2", ports: { http: 9000 }, weight: 1, healthy: false },
  ]);
  assert.match(refusals(`${slice}---\n${SERVICE}`).join(), /f\.yaml:1:1 ORL4105 .*selector and an EndpointSlice/);
  assert.match(findings(slice).join(), /no Service shop\/api/);
});

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

test("peer authentication, with its ports", () => {
  const value = peers(
    PEERS(
      '\n  selector: {matchLabels: {a: b}}\n  mtls: {mode: STRICT}\n  portLevelMtls:\n    8080: {mode: DISABLE}\n    "9090": {mode: PERMISSIVE}',
    ),
  );
  assert.deepEqual(
    [value.mode, value.portLevel, value.selector],
    ["STRICT", { 8080: "DISABLE", 9090: "PERMISSIVE" }, { a: "b" }],
  );
  assert.equal(peers(PEERS(" {}")).mode, "UNSET");
});

test("a selector in the root namespace selects there alone, and that is said", () => {
  const selecting = PEERS("\n  selector: {matchLabels: {a: b}}\n  mtls: {mode: STRICT}");
  const inRoot = (text: string): string => text.replace("namespace: shop", "namespace: istio-system");
  assert.match(
    findings(inRoot(selecting)).join(),
    /^f\.yaml:1:1 ORL4106 .*istio-system\/p selects .* istio-system alone$/,
  );
  assert.deepEqual(findings(selecting), []);
  assert.deepEqual(findings(inRoot(PEERS("\n  selector: {matchLabels: {}}\n  mtls: {mode: STRICT}"))), []);
  assert.deepEqual(findings(inRoot(PEERS("\n  mtls: {mode: STRICT}"))), []);
});

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

test("stars and schemes that never match are pointed out", () => {
  assert.match(findings(RULE('{principals: ["td/ns/*/sa/x"]}')).join(), /inner \*/);
  assert.match(findings(RULE('{principals: ["spiffe://td/ns/a/sa/x"]}')).join(), /spiffe:\/\//);
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
    WORKLOAD.replace("web-1", `web-${i}`).replace("10.0.0.1", `10.0.${i >> 8}.${i & 255}`),
  );
  many[617] = many[617]?.replace("node: west", "node: [west]") ?? "";
  const all = refusals(many.join("---\n"));
  assert.deepEqual(all, [`f.yaml:${617 * 7 + 6}:9 ORL4103 spec.node should be a string, but is a list`]);
});
