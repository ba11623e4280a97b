// any thread · the believed mesh of one thread: one writer, indexes kept up to date change by change, readers by Snapshot.
import { isDeepStrictEqual } from "node:util";
import { EndpointIndex } from "./endpoint-index.ts";
import { fullName } from "./full-name.ts";
import type { HttpRoute } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import type { MeshUpdate } from "./mesh-update.ts";
import { Claims } from "./ownership.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "./policies.ts";
import { RouteIndex, type RouteOfParents, routeKey, servicesOf } from "./route-index.ts";
import { SelectorIndex } from "./selector-index.ts";
import type { Service } from "./service.ts";
import type { ServiceEndpoint, Snapshot } from "./snapshot.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";
import { type AddressConflict, WorkloadIndex } from "./workload-index.ts";

export type MeshStoreOptions = { readonly rootNamespace: string; readonly trustDomain: string };

/**
 * Keys of what came, changed or went. An upsert of an equal value and a removal of nothing are no change. A workload that shares an
 * address with a changed workload counts as changed: it may own the address now, or no longer.
 */
export type MeshChange = {
  readonly version: number;
  readonly workloads: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
  /** LimitPolicies among them: who asks, asks because verdicts about their namespaces may be others. */
  readonly authorizationPolicies: ReadonlySet<string>;
  readonly peerAuthentications: ReadonlySet<string>;
  readonly httpRoutes: ReadonlySet<string>;
  /** Services that any of these routes is about, or was. */
  readonly routedServices: ReadonlySet<string>;
  /** Services for which any of these workloads answers, or answered. */
  readonly endpointsOf: ReadonlySet<string>;
};

type Changed = { readonly [Kind in MeshUpdate["kind"]]: Set<string> };

export class MeshStore implements Snapshot {
  readonly rootNamespace: string;
  readonly trustDomain: string;
  #version = 0;
  #policyVersion = 0;
  #routesVersion = 0;
  readonly #workloads = new WorkloadIndex();
  readonly #services = new Map<string, Service>();
  readonly #servicesByVip = new Claims<Service>(keyPrecedes);
  readonly #servicesByHost = new Claims<Service>(keyPrecedes);
  readonly #endpoints: EndpointIndex;
  readonly #authorizationPolicies = new SelectorIndex<AuthorizationPolicy>();
  readonly #peerAuthentications = new SelectorIndex<PeerAuthentication>();
  readonly #limitPolicies = new SelectorIndex<LimitPolicy>();
  readonly #httpRoutes = new RouteIndex<HttpRoute>();
  readonly #tlsRoutes = new RouteIndex<StreamRoute>();
  readonly #tcpRoutes = new RouteIndex<StreamRoute>();
  #servicesTouched = new Set<string>();
  #servicesRouted = new Set<string>();
  /** Uids of workloads that share an address with a workload that changed. */
  #sharersTouched = new Set<string>();

  constructor({ rootNamespace, trustDomain }: MeshStoreOptions) {
    this.rootNamespace = rootNamespace;
    this.trustDomain = trustDomain;
    this.#endpoints = new EndpointIndex({
      workloadsIn: (namespace) => this.#workloads.inNamespace(namespace),
      workloadAt: (address) => this.#workloads.at(address),
    });
  }

  /** Applies all updates in order, within one turn of the event loop: readers see all of them or none. */
  apply(updates: readonly MeshUpdate[]): MeshChange {
    const changed: Changed = {
      workload: new Set(),
      service: new Set(),
      "authorization-policy": new Set(),
      "peer-authentication": new Set(),
      "http-route": new Set(),
      "tls-route": new Set(),
      "tcp-route": new Set(),
      "limit-policy": new Set(),
    };
    this.#servicesTouched = new Set();
    if (this.#servicesRouted.size > 0) this.#servicesRouted = new Set();
    if (this.#sharersTouched.size > 0) this.#sharersTouched = new Set();
    for (const update of updates) {
      const key = keyOf(update);
      if (this.#applyOne(update, key)) changed[update.kind].add(key);
    }
    const limits = changed["limit-policy"];
    const policies = changed["authorization-policy"].size + changed["peer-authentication"].size + limits.size;
    const routes = changed["http-route"].size + changed["tls-route"].size + changed["tcp-route"].size;
    if (policies + routes + changed.workload.size + changed.service.size > 0) this.#version += 1;
    if (policies > 0) this.#policyVersion += 1;
    if (routes > 0) this.#routesVersion += 1;
    return {
      version: this.#version,
      workloads: this.#sharersTouched.size === 0 ? changed.workload : changed.workload.union(this.#sharersTouched),
      services: changed.service,
      authorizationPolicies:
        limits.size === 0 ? changed["authorization-policy"] : changed["authorization-policy"].union(limits),
      peerAuthentications: changed["peer-authentication"],
      httpRoutes: changed["http-route"],
      routedServices: this.#servicesRouted,
      endpointsOf: this.#servicesTouched,
    };
  }

  get version(): number {
    return this.#version;
  }

  get policyVersion(): number {
    return this.#policyVersion;
  }

  get routesVersion(): number {
    return this.#routesVersion;
  }

  workload(uid: string): Workload | undefined {
    return this.#workloads.byUid(uid);
  }

  workloadAt(address: string): Workload | undefined {
    return this.#workloads.at(address);
  }

  rivalsAt(address: string): readonly Workload[] {
    return this.#workloads.rivalsAt(address);
  }

  get hasRivals(): boolean {
    return this.#workloads.hasShared;
  }

  addressConflicts(): Iterable<AddressConflict> {
    return this.#workloads.conflicts();
  }

  workloadsOnNode(node: string): Iterable<Workload> {
    return this.#workloads.onNode(node);
  }

  workloadsIn(namespace: string): Iterable<Workload> {
    return this.#workloads.inNamespace(namespace);
  }

  servicesOf(workload: Workload): readonly Service[] {
    return this.#endpoints.servicesOf(workload).flatMap((key) => this.#services.get(key) ?? []);
  }

  service(key: string): Service | undefined {
    return this.#services.get(key);
  }

  serviceAt(address: string, clientNamespace?: string): Service | undefined {
    return this.#servicesByVip.preferred(address, ({ namespace }) => namespace === clientNamespace);
  }

  serviceNamed(hostname: string): Service | undefined {
    return this.#servicesByHost.first(hostname);
  }

  endpointsOf(service: Service): readonly ServiceEndpoint[] {
    const key = fullName(service);
    // A value that is no longer in force has no endpoints: its holder asks again.
    return this.#services.get(key) === service ? this.#endpoints.endpointsOf(key, service) : [];
  }

  authorizationPoliciesFor({ namespace, labels }: Workload): readonly AuthorizationPolicy[] {
    const own = this.#authorizationPolicies.matching(namespace, labels);
    // In the root namespace a selector chooses among the workloads of the whole mesh.
    const root =
      namespace === this.rootNamespace ? [] : this.#authorizationPolicies.matching(this.rootNamespace, labels);
    return inKeyOrder([...own, ...root]);
  }

  peerAuthenticationsFor({ namespace, labels }: Workload): readonly PeerAuthentication[] {
    const own = this.#peerAuthentications.matching(namespace, labels);
    // Unlike above: a PeerAuthentication with a selector stays in its namespace, the root one included.
    const root = namespace === this.rootNamespace ? [] : this.#peerAuthentications.matching(this.rootNamespace, {});
    return inKeyOrder([...own, ...root]);
  }

  limitPoliciesFor({ namespace, labels }: Workload): readonly LimitPolicy[] {
    const own = this.#limitPolicies.matching(namespace, labels);
    const root = namespace === this.rootNamespace ? [] : this.#limitPolicies.matching(this.rootNamespace, labels);
    return inKeyOrder([...own, ...root]);
  }

  httpRoutesAbout(service: string): readonly HttpRoute[] {
    return this.#httpRoutes.of(service);
  }

  tlsRoutesAbout(service: string): readonly StreamRoute[] {
    return this.#tlsRoutes.of(service);
  }

  tcpRoutesAbout(service: string): readonly StreamRoute[] {
    return this.#tcpRoutes.of(service);
  }

  workloads(): Iterable<Workload> {
    return this.#workloads.all();
  }

  services(): Iterable<Service> {
    return this.#services.values();
  }

  authorizationPolicies(): Iterable<AuthorizationPolicy> {
    return this.#authorizationPolicies.values();
  }

  peerAuthentications(): Iterable<PeerAuthentication> {
    return this.#peerAuthentications.values();
  }

  httpRoutes(): Iterable<HttpRoute> {
    return this.#httpRoutes.values();
  }

  tlsRoutes(): Iterable<StreamRoute> {
    return this.#tlsRoutes.values();
  }

  tcpRoutes(): Iterable<StreamRoute> {
    return this.#tcpRoutes.values();
  }

  limitPolicies(): Iterable<LimitPolicy> {
    return this.#limitPolicies.values();
  }

  /** Whether it changed anything. */
  #applyOne(update: MeshUpdate, key: string): boolean {
    switch (update.kind) {
      case "workload": {
        const after = update.op === "upsert" ? update.value : undefined;
        return replaced(this.#workloads.byUid(key), after, (before) => this.#setWorkload(before, after));
      }
      case "service": {
        const after = update.op === "upsert" ? update.value : undefined;
        return replaced(this.#services.get(key), after, (before) => this.#setService(before, after));
      }
      case "authorization-policy": {
        const after = update.op === "upsert" ? update.value : undefined;
        const index = this.#authorizationPolicies;
        return replaced(index.get(key), after, () => setSelected(index, key, after));
      }
      case "peer-authentication": {
        const after = update.op === "upsert" ? update.value : undefined;
        const index = this.#peerAuthentications;
        return replaced(index.get(key), after, () => setSelected(index, key, after));
      }
      case "limit-policy": {
        const after = update.op === "upsert" ? update.value : undefined;
        const index = this.#limitPolicies;
        return replaced(index.get(key), after, () => setSelected(index, key, after));
      }
      case "http-route": {
        const after = update.op === "upsert" ? update.value : undefined;
        return this.#setRoute(this.#httpRoutes, key, after);
      }
      case "tls-route":
        return this.#setRoute(this.#tlsRoutes, key, update.op === "upsert" ? update.value : undefined);
      case "tcp-route":
        return this.#setRoute(this.#tcpRoutes, key, update.op === "upsert" ? update.value : undefined);
    }
  }

  #setRoute<Route extends RouteOfParents>(index: RouteIndex<Route>, key: string, after: Route | undefined): boolean {
    return replaced(index.get(key), after, (before) => this.#moveRoute(index, before, after));
  }

  #moveRoute<Route extends RouteOfParents>(
    index: RouteIndex<Route>,
    before: Route | undefined,
    after: Route | undefined,
  ): void {
    if (before !== undefined) index.remove(before);
    if (after !== undefined) index.add(after);
    for (const route of [before, after])
      if (route !== undefined) for (const service of servicesOf(route)) this.#servicesRouted.add(service);
  }

  #setWorkload(before: Workload | undefined, after: Workload | undefined): void {
    if (before !== undefined) {
      if (this.#workloads.hasShared) this.#touchSharersOf(before);
      this.#workloads.remove(before);
      this.#endpoints.removeWorkload(before, this.#touchServicesOf(before));
    }
    if (after !== undefined) {
      this.#workloads.add(after);
      if (this.#workloads.hasShared) this.#touchSharersOf(after);
      this.#endpoints.addWorkload(after, this.#touchServicesOf(after));
    }
  }

  #touchSharersOf(workload: Workload): void {
    for (const sharer of this.#workloads.sharers(workload)) {
      this.#sharersTouched.add(sharer.uid);
      this.#touchServicesOf(sharer);
    }
  }

  #touchServicesOf(workload: Workload): readonly string[] {
    const keys = this.#endpoints.servicesOf(workload);
    for (const key of keys) this.#servicesTouched.add(key);
    return keys;
  }

  #setService(before: Service | undefined, after: Service | undefined): void {
    if (before !== undefined) {
      const key = fullName(before);
      this.#services.delete(key);
      for (const vip of new Set(before.vips)) this.#servicesByVip.remove(vip, before);
      this.#servicesByHost.remove(before.hostname, before);
      this.#endpoints.removeService(key, before);
    }
    if (after !== undefined) {
      const key = fullName(after);
      this.#services.set(key, after);
      for (const vip of new Set(after.vips)) this.#servicesByVip.add(vip, after);
      this.#servicesByHost.add(after.hostname, after);
      this.#endpoints.addService(key, after);
    }
  }
}

/** Key by which the update's object is known (mesh-update.ts). */
function keyOf(update: MeshUpdate): string {
  if (update.op === "remove") return update.key;
  if (update.kind === "http-route") return routeKey(update.value);
  return update.kind === "workload" ? update.value.uid : fullName(update.value);
}

function keyPrecedes(a: Service, b: Service): boolean {
  return fullName(a) < fullName(b);
}

function inKeyOrder<T>(found: (readonly [string, T])[]): readonly T[] {
  return found.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

/** A source may send again what is known: equal values are no news, for the caches above least of all. */
function replaced<T extends object>(
  before: T | undefined,
  after: T | undefined,
  replace: (before: T | undefined) => void,
): boolean {
  if (before === after) return false;
  const isNews = before === undefined || after === undefined || differPlainly(before, after);
  if (!isNews && isDeepStrictEqual(before, after)) return false;
  replace(before);
  return true;
}

/** In a field that is no object. Most changes do, and are found so without a look into all that has stayed. */
function differPlainly<T extends object>(before: T, after: T): boolean {
  for (const key in after) {
    const value = after[key];
    if (typeof value !== "object" && !Object.is(value, before[key])) return true;
  }
  return false;
}

function setSelected<T extends AuthorizationPolicy | PeerAuthentication | LimitPolicy>(
  index: SelectorIndex<T>,
  key: string,
  value: T | undefined,
): void {
  if (value === undefined) index.remove(key);
  else index.set(key, { namespace: value.namespace, selector: value.selector, value });
}
