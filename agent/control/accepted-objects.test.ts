import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "../mesh/policies.ts";
import type { Service } from "../mesh/service.ts";
import { positionText } from "../mesh/source-ref.ts";
import { MeshStore } from "../mesh/store.ts";
import { AcceptedObjects, type ObjectChange } from "./accepted-objects.ts";

const settings = {
  node: "west",
  cluster: "c1",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
  runtimeClasses: [],
};

const apiVersions: Readonly<Record<string, string>> = {
  Service: "v1",
  Namespace: "v1",
  EndpointSlice: "discovery.k8s.io/v1",
  Workload: "orlop.dev/v1alpha1",
  AuthorizationPolicy: "security.istio.io/v1",
  PeerAuthentication: "security.istio.io/v1",
  HTTPRoute: "gateway.networking.k8s.io/v1",
  LimitPolicy: "orlop.dev/v1alpha1",
  Pod: "v1",
};

let versions = 0;

function present(kind: string, name: string, object: unknown, uid = "u1"): ObjectChange {
  versions += 1;
  const version = { kind, namespace: "shop", name, resourceVersion: String(versions) };
  return { op: "present", apiVersion: apiVersions[kind] ?? "", version, uid, object };
}

const deleted = (kind: string, name: string): ObjectChange => ({
  op: "deleted",
  object: { kind, namespace: "shop", name },
});

const namespace = (labels: object = {}): ObjectChange => present("Namespace", "shop", { metadata: { labels } });

/** Objects and the store that follows them. */
function source() {
  const objects = new AcceptedObjects(settings);
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const apply = (...changes: readonly ObjectChange[]): readonly MeshUpdate[] => {
    const updates = objects.apply(changes);
    store.apply(updates);
    return updates;
  };
  const problems = (): readonly string[] => objects.problems.map(({ from, what }) => `${positionText(from)} ${what}`);
  const policy = (name: string): AuthorizationPolicy | undefined =>
    [...store.authorizationPolicies()].find((one) => one.name === name);
  const peers = (name: string): PeerAuthentication | undefined =>
    [...store.peerAuthentications()].find((one) => one.name === name);
  const service = (name: string): Service | undefined => store.service(`shop/${name}`);
  return { objects, store, apply, problems, policy, peers, service };
}

const policyOf = (spec: unknown) => present("AuthorizationPolicy", "callers", { spec });
const web = { source: { principals: ["cluster.local/ns/shop/sa/web"] } };

test("an object is read, with its kind and names from the API server, and named by its version", () => {
  const { apply, policy, problems } = source();
  const object = { kind: "Pod", metadata: { name: "other", namespace: "bank" }, spec: { rules: [{ from: [web] }] } };
  const change = present("AuthorizationPolicy", "callers", object);
  apply(change);
  const read = policy("callers");
  assert.deepEqual(read?.from, change.op === "present" && change.version);
  assert.deepEqual(read?.rules[0]?.sources[0]?.principals, [{ kind: "exact", value: "cluster.local/ns/shop/sa/web" }]);
  assert.equal(read?.namespace, "shop");
  assert.deepEqual(problems(), []);
});

test("a policy is what its present version says, whatever was known before", () => {
  const good = { action: "DENY", rules: [{ from: [web] }] };
  const bad = { action: "DENY", rules: [{ from: [{ source: { principals: [7] } }] }] };
  const after = source();
  after.apply(policyOf(good));
  const change = policyOf(bad);
  after.apply(change);
  const fresh = source();
  fresh.apply(change);
  assert.deepEqual(after.policy("callers"), fresh.policy("callers"));
  assert.deepEqual(after.policy("callers")?.rules[0]?.sources[0]?.unreadable, ["principals"]);
  assert.match(after.problems().join(), /^AuthorizationPolicy\/shop\/callers@\d+ spec\.rules\[0\]\.from\[0\]/);
  after.apply(policyOf(good));
  assert.deepEqual(after.problems(), []);
});

test("closed forms: a DENY widens, an ALLOW grants nothing and counts, a mode is STRICT", () => {
  const { apply, policy, peers, problems } = source();
  const allow = [{ from: [web] }, { from: [{ source: { newer: ["x"] } }] }];
  apply(policyOf({ rules: allow }));
  assert.deepEqual(
    policy("callers")?.rules.map(({ sources }) => sources.map(({ unreadable }) => unreadable)),
    [[[]], [["newer"]]],
  );
  for (const selector of [7, { matchLabels: { app: 7 } }, { matchExpressions: [] }]) {
    apply(policyOf({ selector, rules: allow }));
    assert.deepEqual([policy("callers")?.selector, policy("callers")?.rules], [null, []]);
    apply(policyOf({ selector, action: "DENY", rules: [{ from: [web] }] }));
    assert.deepEqual([policy("callers")?.selector, policy("callers")?.rules.length], [null, 1]);
  }
  apply(policyOf({ selector: { matchLabels: { app: "api" } }, action: "ALOW", rules: allow }));
  assert.deepEqual([policy("callers")?.action, policy("callers")?.selector], ["DENY", { app: "api" }]);
  assert.deepEqual(policy("callers")?.rules[0]?.unreadable, ["*"]);

  const of = (spec: unknown) => present("PeerAuthentication", "peers", { spec });
  const selector = { matchLabels: { app: "api" } };
  apply(of({ selector, mtls: { mode: "LOOSE" }, portLevelMtls: { 80: { mode: 7 }, 81: { mode: "DISABLE" } } }));
  assert.deepEqual([peers("peers")?.mode, peers("peers")?.portLevel], ["STRICT", { 80: "STRICT", 81: "DISABLE" }]);
  assert.equal(peers("peers")?.overrides, undefined);
  apply(of({ selector: "api", mtls: { mode: "PERMISSIVE" } }));
  assert.deepEqual([peers("peers")?.mode, peers("peers")?.selector, peers("peers")?.overrides], ["STRICT", null, true]);
  assert.ok(problems().length >= 2);
});

test("a limit whose new version cannot be read stays as it was, and another object of its name begins anew", () => {
  const { apply, store, problems } = source();
  const said = (local: object, uid = "u1") => present("LimitPolicy", "orders", { spec: { local } }, uid);
  const requests = (): readonly number[] => [...store.limitPolicies()].map((limit) => limit.requests);
  apply(said({ requests: 5, per: "second" }));
  assert.deepEqual(requests(), [5]);
  apply(said({ requests: 50_000, per: "second", newer: 1 }));
  assert.deepEqual(requests(), [5]);
  assert.match(problems().join(), /^LimitPolicy\/shop\/orders@\d+ spec\.local has no field "newer"/);
  apply(said({ requests: 7, per: "second" }));
  assert.deepEqual([requests(), problems()], [[7], []]);
  apply(said({ requests: "many", per: "second" }, "u2"));
  assert.deepEqual(requests(), []);
  apply(deleted("LimitPolicy", "orders"));
  assert.deepEqual([requests(), problems()], [[], []]);
});

test("a route that is not honoured as a whole leaves its last version in force, and a gateway's route is nobody's problem", () => {
  const { apply, store, problems } = source();
  const route = (rule: object) => {
    const parentRefs = [{ group: "", kind: "Service", name: "api" }];
    return present("HTTPRoute", "api", { spec: { parentRefs, rules: [{ ...rule }] } });
  };
  apply(route({ sessionPersistence: { idleTimeout: "1m" } }));
  assert.deepEqual([...store.httpRoutes()], []);
  assert.match(
    problems().join(),
    /^HTTPRoute\/shop\/api@\d+ spec\.rules\[0\]\.sessionPersistence\.idleTimeout is not honoured/,
  );
  apply(route({ name: "good" }));
  assert.deepEqual(problems(), []);
  apply(route({ name: "other", newer: 1 }));
  assert.deepEqual(
    [...store.httpRoutes()].map(({ rules }) => rules.map(({ name }) => name)),
    [["good"]],
  );
  apply(deleted("HTTPRoute", "api"));
  assert.deepEqual([...store.httpRoutes()], []);
  apply(
    present("HTTPRoute", "edge", { spec: { parentRefs: [{ name: "gateway" }], rules: [{ sessionPersistence: {} }] } }),
  );
  assert.deepEqual([[...store.httpRoutes()], problems()], [[], []]);
});

test("what says where things are stays as it was while its object lives, and no longer", () => {
  const { apply, service, problems } = source();
  const good = { spec: { clusterIP: "10.96.0.1", ports: [{ port: 80 }] } };
  const bad = { spec: { clusterIP: "10.96.0.1", ports: [{ port: "eighty" }] } };
  apply(present("Service", "api", bad));
  assert.equal(service("api"), undefined);
  apply(present("Service", "api", good));
  const kept = service("api");
  apply(present("Service", "api", bad));
  assert.equal(service("api"), kept);
  assert.match(problems().join(), /^Service\/shop\/api@\d+ spec\.ports\[0\]\.port should be a whole number/);
  // Another object of the same name, and the same object after a delete, begin anew.
  apply(present("Service", "api", bad, "u2"));
  assert.equal(service("api"), undefined);
  apply(present("Service", "api", good, "u2"));
  assert.notEqual(service("api"), undefined);
  apply(deleted("Service", "api"), present("Service", "api", bad, "u2"));
  assert.equal(service("api"), undefined);
  apply(deleted("Service", "api"));
  assert.deepEqual(problems(), []);
});

test("a field that a Service may have and nobody here knows is reported, and the rest counts", () => {
  const { apply, service, problems, objects } = source();
  const spec = { clusterIP: "10.96.0.1", ports: [{ port: 80, newer: 1 }], newer: true };
  apply(present("Service", "api", { metadata: { newer: 1 }, spec }));
  assert.deepEqual(service("api")?.vips, ["10.96.0.1"]);
  assert.deepEqual(problems(), []);
  assert.equal(objects.findings.filter(({ code }) => code === "ORL4102").length, 3);
});

test("until the namespace of a workload is known, nothing is said of it that depends on the namespace", () => {
  const { apply, store } = source();
  const mode = (word: string) => ({ "orlop.dev/dataplane-mode": word });
  const of = (name: string, nth: number, labels: object) =>
    present("Workload", name, { metadata: { labels }, spec: { addresses: [`10.0.0.${nth}`], node: "east" } });
  const protocols = () => [1, 2, 3].map((nth) => store.workloadAt(`10.0.0.${nth}`)?.protocol);
  apply(of("unset", 1, {}), of("in", 2, mode("ambient")), of("out", 3, mode("none")));
  assert.deepEqual(protocols(), [undefined, "hbone", "none"]);
  apply(namespace(mode("ambient")));
  assert.deepEqual(protocols(), ["hbone", "hbone", "none"]);
  apply(deleted("Namespace", "shop"));
  assert.deepEqual(protocols(), [undefined, "hbone", "none"]);
  apply(namespace());
  assert.deepEqual(protocols(), ["none", "hbone", "none"]);
});

test("an address that two workloads claim: both are known, both are told apart, and it is over when it is over", () => {
  const { apply, store, problems } = source();
  const of = (name: string, address: string) =>
    present("Workload", name, { spec: { addresses: [address], node: "east" } });
  apply(namespace(), of("a", "10.0.0.1"), of("b", "10.0.0.1"), of("c", "10.0.0.3"));
  assert.deepEqual(
    store.rivalsAt("10.0.0.1").map(({ name }) => name),
    ["a", "b"],
  );
  assert.match(problems().join(), /^Workload\/shop\/b@\d+ 10\.0\.0\.1 belongs to Workload shop\/a already$/);
  apply(of("b", "10.0.0.2"));
  assert.deepEqual([store.workloadAt("10.0.0.1")?.name, store.workloadAt("10.0.0.2")?.name], ["a", "b"]);
  assert.deepEqual(problems(), []);
  apply(of("b", "10.0.0.3"));
  apply(deleted("Workload", "c"));
  assert.deepEqual([store.workloadAt("10.0.0.3")?.name, problems()], ["b", []]);
});

test("a static pod that a second mirror claims: both are known, and who claims it is said until a mirror goes", () => {
  const { apply, store, problems } = source();
  const hash = "5fb2a1a4e9b8a7a0b5c6d7e8f9a0b1c2";
  const mirror = (name: string, podIPs: readonly object[]): ObjectChange =>
    present("Pod", name, {
      metadata: {
        ...{ labels: {}, uid: `u-${name}` },
        annotations: { "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash },
        ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "west", uid: "n", controller: true }],
      },
      spec: { nodeName: "west", containers: [] },
      status: { phase: "Running", podIPs },
    });
  apply(namespace({ "orlop.dev/dataplane-mode": "ambient" }), mirror("web", [{ ip: "10.0.0.7" }]), mirror("fake", []));
  const claimants = () => [...store.workloadsOnNode("west")].filter(({ podUid }) => podUid === hash);
  assert.deepEqual(
    claimants()
      .map(({ name }) => name)
      .toSorted(),
    ["fake", "web"],
  );
  assert.match(problems().join(), /pod 5fb2a1a4e9b8a7a0b5c6d7e8f9a0b1c2 belongs to Workload shop\/fake already$/);
  apply(deleted("Pod", "fake"));
  assert.deepEqual([claimants().map(({ name }) => name), problems()], [["web"], []]);
});

for (const phase of ["Succeeded", "Failed"]) {
  test(`a pod in phase ${phase} claims nothing: another pod may have its address at once, before it is deleted or after`, () => {
    const { store, apply, problems } = source();
    const pod = (name: string, phase: string): ObjectChange =>
      present("Pod", name, {
        metadata: { labels: {}, uid: `u-${name}` },
        spec: { nodeName: "east", containers: [] },
        status: { phase, podIPs: [{ ip: "10.0.0.7" }] },
      });
    apply(namespace({ "orlop.dev/dataplane-mode": "ambient" }), pod("job", "Running"));
    assert.equal(store.workloadAt("10.0.0.7")?.name, "job");
    apply(pod("web", "Running"));
    assert.equal(store.workloadAt("10.0.0.7"), undefined, "two that run claim it");
    assert.equal(problems().length, 1);
    apply(pod("job", phase));
    assert.deepEqual([store.workloadAt("10.0.0.7")?.name, problems()], ["web", []]);
    apply(pod("late", phase));
    assert.deepEqual([store.workloadAt("10.0.0.7")?.name, problems()], ["web", []], "seen first when it has finished");
    apply(deleted("Pod", "job"), deleted("Pod", "late"));
    assert.equal(store.workloadAt("10.0.0.7")?.name, "web");
  });
}

test("whatever an object holds, nothing is thrown, and other objects stay as they were", () => {
  const kinds = fc.constantFrom(...Object.keys(apiVersions), "HTTPRoute", "Unheard", "");
  const anything = fc.oneof(fc.jsonValue(), fc.record({ metadata: fc.jsonValue(), spec: fc.jsonValue() }));
  const { apply, policy, objects } = source();
  apply(policyOf({ rules: [{ from: [web] }] }));
  const known = policy("callers");
  fc.assert(
    fc.property(kinds, anything, (kind, object) => {
      apply(present(kind, "x", object));
      assert.equal(policy("callers"), known);
      assert.ok(objects.problems.every(({ from }) => positionText(from) !== ""));
      apply(deleted(kind, "x"));
    }),
    { numRuns: 500 },
  );
  assert.deepEqual(objects.problems, []);
});

const COUNT = process.env.ORLOP_SOAK === "1" ? 100_000 : 20_000;

test(`one poisoned object among ${COUNT} closes itself alone, wherever it comes, and is named`, () => {
  const poison = COUNT - 7;
  const podAt = (at: number, spec: unknown): ObjectChange => {
    const podIPs = [{ ip: `10.${(at >> 16) & 255}.${(at >> 8) & 255}.${at & 255}` }];
    const version = { kind: "Pod", namespace: "shop", name: `p${at}`, resourceVersion: String(at) };
    const object = { metadata: { labels: { app: "a" } }, spec, status: { phase: "Running", podIPs } };
    return { op: "present", apiVersion: "v1", version, uid: `u${at}`, object };
  };
  const spec = { nodeName: "west" };
  const pods = Array.from({ length: COUNT }, (_, at) => podAt(at, at === poison ? 7 : spec));
  const { apply, problems, policy, store } = source();
  apply(namespace(), policyOf({ rules: [{ from: [web] }] }), ...pods.slice(0, 10));
  apply(present("AuthorizationPolicy", "poisoned", { spec: { action: "DENY", rules: "none" } }), deleted("Pod", "p3"));
  const updates = apply(...pods.slice(10, poison), ...pods.slice(poison));
  assert.equal(updates.length, COUNT - 11);
  assert.equal([...store.workloads()].length, COUNT - 2);
  assert.deepEqual(
    problems().map((text) => text.split("@")[0]),
    ["AuthorizationPolicy/shop/poisoned", `Pod/shop/p${poison}`],
  );
  assert.equal(policy("callers")?.rules.length, 1);
  assert.equal(policy("poisoned")?.action, "DENY", "it denies what it does not name");
  // It is over when the object is: the others were not touched.
  assert.equal(apply(podAt(poison, spec)).length, 1);
  assert.equal(problems().length, 1);
});
