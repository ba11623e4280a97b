// The store beside a model of it: whatever changes come, in whatever order, every index answers as a scan of all objects does.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NamespacedName } from "./full-name.ts";
import type { HttpRoute } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import type { MeshUpdate } from "./mesh-update.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "./policies.ts";
import type { Service } from "./service.ts";
import { addresses, hosts, namespaces, nodes, update, vips } from "./small-mesh.fake.ts";
import type { ServiceEndpoint } from "./snapshot.ts";
import { MeshStore } from "./store.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";

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
