import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { HttpRoute } from "./http-rule.ts";
import type { MeshUpdate } from "./mesh-update.ts";
import type { Service } from "./service.ts";
import { authorizationPolicy, peerAuthentication, service, workload } from "./small-mesh.fake.ts";
import type { ServiceEndpoint } from "./snapshot.ts";
import { nowhere } from "./source-ref.ts";
import { MeshStore } from "./store.ts";
import type { Workload } from "./workload.ts";

function byText(list: readonly ServiceEndpoint[]): string[] {
  return list.map((one) => JSON.stringify(one)).toSorted();
}

test("G5: an object never changes what is said of another of its kind", () => {
  fc.assert(
    fc.property(
      fc.array(service, { minLength: 2, maxLength: 6 }),
      fc.array(workload, { maxLength: 5 }),
      (all, pods) => {
        const alone = (one: Service): string[] => {
          const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
          store.apply([...pods.map(upsertWorkload), upsertService(one)]);
          return byText(store.endpointsOf(one));
        };
        const unique = [...new Map(all.map((one) => [`${one.namespace}/${one.name}`, one])).values()];
        const together = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
        together.apply([...pods.map(upsertWorkload), ...unique.map(upsertService)]);
        for (const one of unique) assert.deepEqual(byText(together.endpointsOf(one)), alone(one));
      },
    ),
  );
});

function upsertWorkload(value: Workload): MeshUpdate {
  return { kind: "workload", op: "upsert", value };
}

function upsertService(value: Service): MeshUpdate {
  return { kind: "service", op: "upsert", value };
}

function sample<T>(arbitrary: fc.Arbitrary<T>): T {
  const [one] = fc.sample(arbitrary, { numRuns: 1, seed: 7 });
  assert.ok(one !== undefined);
  return one;
}

test("the change names what changed, once; an equal value and a removal of nothing are none", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const one = sample(workload);
  const first = store.apply([upsertWorkload(one), upsertWorkload(one)]);
  assert.deepEqual([...first.workloads], [one.uid]);
  assert.equal(first.services.size, 0);
  assert.equal(store.apply([upsertWorkload(structuredClone(one))]).workloads.size, 0);
  assert.equal(store.apply([{ kind: "service", op: "remove", key: "shop/none" }]).services.size, 0);
  assert.equal(store.version, 1);
  assert.deepEqual([...store.apply([{ kind: "workload", op: "remove", key: one.uid }]).workloads], [one.uid]);
  assert.equal(store.apply([upsertWorkload(one)]).version, 3);
  assert.equal(store.version, 3);
});

test("who shares an address with a workload that comes or goes has changed too, and so have its services", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const owner: Workload = { ...sample(workload), uid: "c//Pod/a", addresses: ["10.0.0.1"], network: "" };
  const rival: Workload = { ...owner, uid: "c//Pod/b" };
  const named: Service = {
    ...sample(service),
    selector: null,
    endpoints: [{ address: "10.0.0.1", ports: {}, weight: 1, healthy: true }],
  };
  store.apply([upsertWorkload(owner), upsertService(named)]);
  assert.equal(store.hasRivals, false);
  const came = store.apply([upsertWorkload(rival)]);
  assert.deepEqual([...came.workloads].toSorted(), [owner.uid, rival.uid]);
  assert.deepEqual([...store.addressConflicts()], [{ address: "10.0.0.1", claimants: [owner, rival] }]);
  assert.deepEqual([...came.endpointsOf], [`${named.namespace}/${named.name}`]);
  assert.equal(store.workloadAt("10.0.0.1"), undefined);
  assert.deepEqual(
    store.rivalsAt("10.0.0.1").map(({ uid }) => uid),
    [owner.uid, rival.uid],
  );
  assert.equal(store.endpointsOf(named)[0]?.workload, null);
  const went = store.apply([{ kind: "workload", op: "remove", key: rival.uid }]);
  assert.deepEqual([...went.workloads].toSorted(), [owner.uid, rival.uid]);
  assert.deepEqual([...store.addressConflicts()], []);
  assert.equal(store.workloadAt("10.0.0.1"), owner);
  assert.equal(store.hasRivals, false);
  // Another network may use the same addresses.
  store.apply([upsertWorkload({ ...rival, network: "west" })]);
  assert.deepEqual([store.workloadAt("10.0.0.1"), store.rivalsAt("10.0.0.1")], [owner, []]);
  assert.deepEqual([...store.addressConflicts()], [], "of another network");
});

test("a route that changes names the Services that it was about and is about", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const about = (...services: string[]): HttpRoute => ({
    ...{ kind: "HTTPRoute", name: "r", namespace: "shop", createdMs: 0, rules: [], from: nowhere },
    parents: services.map((service) => ({ service, port: null, portName: null })),
  });
  const upsert = (value: HttpRoute): MeshUpdate => ({ kind: "http-route", op: "upsert", value });
  const first = store.apply([upsert(about("shop/a", "shop/a", "shop/b"))]);
  assert.deepEqual([[...first.httpRoutes], [...first.routedServices]], [["shop/r"], ["shop/a", "shop/b"]]);
  assert.equal(store.httpRoutesAbout("shop/a").length, 1);
  assert.equal(store.routesVersion, 1);
  assert.deepEqual([...store.apply([upsert(about("shop/a", "shop/a", "shop/b"))]).routedServices], []);
  assert.equal(store.routesVersion, 1);
  assert.deepEqual([...store.apply([upsert(about("shop/c"))]).routedServices], ["shop/a", "shop/b", "shop/c"]);
  assert.deepEqual([store.httpRoutesAbout("shop/a"), store.httpRoutesAbout("shop/c").length], [[], 1]);
  const gone = store.apply([{ kind: "http-route", op: "remove", key: "shop/r" }]);
  assert.deepEqual([[...gone.routedServices], store.httpRoutesAbout("shop/c")], [["shop/c"], []]);
  assert.equal(store.policyVersion, 0);
});

test("only policies raise the policy version", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  store.apply([upsertWorkload(sample(workload)), upsertService(sample(service))]);
  assert.equal(store.policyVersion, 0);
  store.apply([{ kind: "authorization-policy", op: "upsert", value: sample(authorizationPolicy) }]);
  store.apply([{ kind: "peer-authentication", op: "upsert", value: sample(peerAuthentication) }]);
  assert.equal(store.policyVersion, 2);
});

test("a service that is no longer in force has no endpoints", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const pod = sample(workload);
  const before: Service = { ...sample(service), namespace: pod.namespace, selector: null, endpoints: [] };
  store.apply([upsertWorkload(pod), upsertService(before)]);
  const after: Service = { ...before, endpoints: [{ address: "10.0.0.9", ports: {}, weight: 1, healthy: true }] };
  store.apply([upsertService(after)]);
  assert.equal(store.endpointsOf(before).length, 0);
  assert.equal(store.endpointsOf(after).length, 1);
});
