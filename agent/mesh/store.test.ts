import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NamespacedName } from "./full-name.ts";
import type { HttpRoute } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import type { MeshUpdate } from "./mesh-update.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "./policies.ts";
import type { Service } from "./service.ts";
import type { ServiceEndpoint } from "./snapshot.ts";
import { nowhere } from "./source-ref.ts";
import { spiffeId } from "./spiffe-id.ts";
import { MeshStore } from "./store.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";

// Small worlds: everything collides with everything.
const namespaces = ["shop", "bank", "istio-system"] as const;
const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"] as const;
const vips = ["10.96.0.1", "10.96.0.2", "10.0.0.1"] as const;
const hosts = ["api.shop.svc.cluster.local", "db.bank.svc.cluster.local"] as const;
const nodes = ["n1", "n2"] as const;

const namespace = fc.constantFrom(...namespaces);
const name = fc.constantFrom("a", "b", "c");
const labels = fc.dictionary(fc.constantFrom("app", "version", "tier"), fc.constantFrom("x", "y"), {
  maxKeys: 3,
  noNullPrototype: true,
});
const selector = fc.option(labels);

const workload: fc.Arbitrary<Workload> = fc
  .record({
    kind: fc.constantFrom("Pod", "WorkloadEntry"),
    name,
    namespace,
    addresses: fc.uniqueArray(fc.constantFrom(...addresses), { maxLength: 2 }),
    node: fc.constantFrom(...nodes),
    labels,
    protocol: fc.constantFrom("hbone" as const, "none" as const),
    probePorts: fc.constant(null),
    removesProxyHeaders: fc.boolean(),
    healthy: fc.boolean(),
    weight: fc.nat(2),
    network: fc.constantFrom("", "", "west"),
  })
  .map(({ kind, ...rest }) => ({
    ...rest,
    uid: `c//${kind}/${rest.name}`,
    podUid: "",
    cluster: "c",
    identity: spiffeId("cluster.local", rest.namespace, rest.name),
    ports: {},
    locality: { region: "", zone: "", subzone: "" },
    workloadName: rest.name,
    canonicalName: rest.name,
    canonicalRevision: "latest",
    from: nowhere,
  }));

const service: fc.Arbitrary<Service> = fc
  .record({
    name,
    namespace,
    hostname: fc.constantFrom(...hosts),
    vips: fc.uniqueArray(fc.constantFrom(...vips), { maxLength: 2 }),
    selector,
    endpoints: fc.array(
      fc.record({
        address: fc.constantFrom(...addresses),
        ports: fc.constant({}),
        weight: fc.nat(2),
        healthy: fc.boolean(),
      }),
      { maxLength: 2 },
    ),
  })
  .map((rest) => ({
    ...rest,
    ports: [],
    subjectAltNames: [],
    loadBalancing: { preference: [], mode: "unspecified", health: "only-healthy" },
    from: nowhere,
  }));

const authorizationPolicy: fc.Arbitrary<AuthorizationPolicy> = fc
  .record({ name, namespace, selector, action: fc.constantFrom("ALLOW" as const, "DENY" as const) })
  .map((rest) => ({ ...rest, dryRun: false, rules: [], from: nowhere }));

const peerAuthentication: fc.Arbitrary<PeerAuthentication> = fc
  .record({ name, namespace, selector, mode: fc.constantFrom("STRICT" as const, "PERMISSIVE" as const) })
  .map((rest) => ({ ...rest, portLevel: {}, from: nowhere }));

const httpRoute: fc.Arbitrary<HttpRoute> = fc
  .record({ name, namespace, parents: fc.array(fc.tuple(namespace, name), { maxLength: 3 }), createdMs: fc.nat(1) })
  .map(({ parents, ...rest }) => ({
    ...rest,
    kind: "HTTPRoute" as const,
    parents: parents.map((parts) => ({ service: parts.join("/"), port: null, portName: null })),
    rules: [],
    from: nowhere,
  }));

const streamRoute: fc.Arbitrary<Omit<StreamRoute, "kind">> = httpRoute.map(({ rules, ...rest }) => ({
  ...rest,
  ...{ hostnames: [], backends: [] },
}));

const limitPolicy: fc.Arbitrary<LimitPolicy> = fc
  .record({ name, namespace, selector, requests: fc.nat(2) })
  .map((rest) => ({
    ...rest,
    ...{ mode: "enforce", priority: 0, unitMs: 1_000, burst: 1, per: [], from: nowhere },
    match: { sources: [], operations: [], when: [], unreadable: [], from: nowhere },
  }));

const key = fc.tuple(namespace, name).map((parts) => parts.join("/"));
const uid = fc.tuple(fc.constantFrom("Pod", "WorkloadEntry"), name).map(([kind, one]) => `c//${kind}/${one}`);
const update: fc.Arbitrary<MeshUpdate> = fc.oneof(
  { arbitrary: workload.map((value) => ({ kind: "workload", op: "upsert", value }) as const), weight: 4 },
  { arbitrary: service.map((value) => ({ kind: "service", op: "upsert", value }) as const), weight: 3 },
  authorizationPolicy.map((value) => ({ kind: "authorization-policy", op: "upsert", value }) as const),
  peerAuthentication.map((value) => ({ kind: "peer-authentication", op: "upsert", value }) as const),
  httpRoute.map((value) => ({ kind: "http-route", op: "upsert", value }) as const),
  streamRoute.map((value) => ({ kind: "tls-route", op: "upsert", value: { ...value, kind: "TLSRoute" } }) as const),
  streamRoute.map((value) => ({ kind: "tcp-route", op: "upsert", value: { ...value, kind: "TCPRoute" } }) as const),
  limitPolicy.map((value) => ({ kind: "limit-policy", op: "upsert", value }) as const),
  uid.map((one) => ({ kind: "workload", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "service", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "authorization-policy", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "peer-authentication", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "http-route", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "tls-route", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "tcp-route", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "limit-policy", op: "remove", key: one }) as const),
);

/** Maps and scans; knows nothing of the store's indexes. */
class Model {
  readonly workloads = new Map<string, Workload>();
  readonly services = new Map<string, Service>();
  readonly authorization = new Map<string, AuthorizationPolicy>();
  readonly peer = new Map<string, PeerAuthentication>();
  readonly routes = new Map<string, HttpRoute>();
  readonly tls = new Map<string, StreamRoute>();
  readonly tcp = new Map<string, StreamRoute>();
  readonly limits = new Map<string, LimitPolicy>();

  apply(one: MeshUpdate): void {
    const map: Map<string, unknown> = {
      workload: this.workloads,
      service: this.services,
      "authorization-policy": this.authorization,
      "peer-authentication": this.peer,
      "http-route": this.routes,
      "tls-route": this.tls,
      "tcp-route": this.tcp,
      "limit-policy": this.limits,
    }[one.kind];
    if (one.op === "remove") map.delete(one.key);
    else map.set(one.kind === "workload" ? one.value.uid : `${one.value.namespace}/${one.value.name}`, one.value);
  }

  at(address: string): Workload | undefined {
    const rank = (one: Workload): string => {
      const isPod = one.uid.includes("//Pod/");
      const isMeshed = one.protocol === "hbone";
      return `${isPod && isMeshed ? 0 : isPod ? 1 : isMeshed ? 2 : 3} ${one.uid}`;
    };
    const claimants = this.#claimants(address);
    return this.rivalsAt(address).length > 0
      ? undefined
      : claimants.toSorted((one, other) => (rank(one) < rank(other) ? -1 : 1))[0];
  }

  rivalsAt(address: string): Workload[] {
    const claimants = this.#claimants(address);
    const isDisputed = claimants.some((one) =>
      claimants.some((other) => one !== other && one.network === other.network),
    );
    return isDisputed ? byUid(claimants) : [];
  }

  #claimants(address: string): Workload[] {
    return [...this.workloads.values()].filter((one) => one.addresses.includes(address));
  }

  serviceAt(vip: string, client: string): Service | undefined {
    const all = sorted(this.services).filter((one) => one.vips.includes(vip));
    return all.find((one) => one.namespace === client) ?? all[0];
  }

  endpointsOf(one: Service): ServiceEndpoint[] {
    const wanted = one.selector;
    if (wanted !== null && Object.keys(wanted).length > 0) {
      return [...this.workloads.values()]
        .filter((each) => each.namespace === one.namespace && carries(each.labels, wanted))
        .map((each) => ({
          workload: each,
          addresses: each.addresses,
          ports: {},
          weight: each.weight,
          healthy: each.healthy,
        }));
    }
    return one.endpoints.map((endpoint) => {
      const owner = this.at(endpoint.address) ?? null;
      return {
        workload: owner,
        addresses: [endpoint.address],
        ports: endpoint.ports,
        weight: endpoint.weight,
        healthy: endpoint.healthy && owner?.healthy !== false,
      };
    });
  }
}

function carries(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([one, value]) => labels[one] === value);
}

function sorted<T>(map: ReadonlyMap<string, T>): T[] {
  return [...map].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, value]) => value);
}

function byUid(list: Iterable<Workload>): Workload[] {
  return [...list].toSorted((one, other) => (one.uid < other.uid ? -1 : 1));
}

function byName(one: NamespacedName, other: NamespacedName): number {
  return `${one.namespace}/${one.name}` < `${other.namespace}/${other.name}` ? -1 : 1;
}

function byText(list: readonly ServiceEndpoint[]): string[] {
  return list.map((one) => JSON.stringify(one)).toSorted();
}

function compare(store: MeshStore, model: Model): void {
  assert.deepEqual(byUid(store.workloads()), byUid(model.workloads.values()));
  assert.deepEqual(new Set(store.services()), new Set(model.services.values()));
  assert.deepEqual(new Set(store.authorizationPolicies()), new Set(model.authorization.values()));
  assert.deepEqual(new Set(store.limitPolicies()), new Set(model.limits.values()));
  assert.deepEqual(new Set(store.peerAuthentications()), new Set(model.peer.values()));
  assert.deepEqual(new Set(store.httpRoutes()), new Set(model.routes.values()));
  for (const service of model.routes.values().flatMap(({ parents }) => parents.map((parent) => parent.service))) {
    const about = sorted(model.routes).filter(({ parents }) => parents.some((parent) => parent.service === service));
    assert.deepEqual(store.httpRoutesAbout(service).toSorted(byName), about);
  }
  for (const [of, routes, all] of [
    [(key: string) => store.tlsRoutesAbout(key), model.tls, store.tlsRoutes()],
    [(key: string) => store.tcpRoutesAbout(key), model.tcp, store.tcpRoutes()],
  ] as const) {
    assert.deepEqual(new Set(all), new Set(routes.values()));
    for (const service of routes.values().flatMap(({ parents }) => parents.map((parent) => parent.service))) {
      const about = sorted(routes).filter(({ parents }) => parents.some((parent) => parent.service === service));
      assert.deepEqual(of(service).toSorted(byName), about);
    }
  }
  for (const address of addresses) {
    assert.deepEqual(store.workloadAt(address), model.at(address));
    assert.deepEqual(byUid(store.rivalsAt(address)), model.rivalsAt(address));
    assert.ok(store.hasRivals || model.rivalsAt(address).length === 0);
  }
  for (const node of nodes) {
    const there = [...model.workloads.values()].filter((one) => one.node === node);
    assert.deepEqual(byUid(store.workloadsOnNode(node)), byUid(there));
  }
  for (const host of hosts) {
    assert.deepEqual(
      store.serviceNamed(host),
      sorted(model.services).find(({ hostname }) => hostname === host),
    );
  }
  for (const vip of vips) {
    for (const client of namespaces) assert.deepEqual(store.serviceAt(vip, client), model.serviceAt(vip, client));
  }
  for (const one of store.services()) assert.deepEqual(byText(store.endpointsOf(one)), byText(model.endpointsOf(one)));
  for (const one of store.workloads()) comparePolicies(store, model, one);
}

function comparePolicies(store: MeshStore, model: Model, one: Workload): void {
  const authorization = sorted(model.authorization).filter(
    ({ namespace: scope, selector: wanted }) =>
      (scope === one.namespace || scope === "istio-system") && carries(one.labels, wanted ?? {}),
  );
  assert.deepEqual(store.authorizationPoliciesFor(one), authorization);
  const limits = sorted(model.limits).filter(
    ({ namespace: scope, selector: wanted }) =>
      (scope === one.namespace || scope === "istio-system") && carries(one.labels, wanted ?? {}),
  );
  assert.deepEqual(store.limitPoliciesFor(one), limits);
  const peer = sorted(model.peer).filter(
    ({ namespace: scope, selector: wanted }) =>
      (scope === one.namespace && carries(one.labels, wanted ?? {})) ||
      (scope === "istio-system" && Object.keys(wanted ?? {}).length === 0),
  );
  assert.deepEqual(store.peerAuthenticationsFor(one), peer);
}

test("C6: after any run of changes every index answers as a scan of the truth does", () => {
  fc.assert(
    fc.property(fc.array(fc.array(update, { maxLength: 4 }), { maxLength: 25 }), (batches) => {
      const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
      const model = new Model();
      for (const batch of batches) {
        store.apply(batch);
        for (const one of batch) model.apply(one);
        // Every read also builds what is built lazily, so that the next change has to keep it up to date.
        compare(store, model);
      }
    }),
    { numRuns: 1500 },
  );
});

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
