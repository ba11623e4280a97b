// any thread · who answers for each Service. Built when first asked for, then kept up to date one workload at a time.
import type { Labels } from "./names.ts";
import { SelectorIndex, selects } from "./selector-index.ts";
import type { Service } from "./service.ts";
import type { ServiceEndpoint } from "./snapshot.ts";
import type { Workload } from "./workload.ts";

/** What the index asks of the store around it. */
export type EndpointWorld = {
  readonly workloadsIn: (namespace: string) => Iterable<Workload>;
  readonly workloadAt: (address: string) => Workload | undefined;
};

/** A list, and the index of each workload in it, so that a change costs the same in a list of any length. */
type SelectedEndpoints = { readonly list: ServiceEndpoint[]; readonly indexOf: Map<string, number> };

const noPorts: Readonly<Record<string, number>> = Object.freeze({});

export class EndpointIndex {
  readonly #world: EndpointWorld;
  readonly #selecting = new SelectorIndex<Service>();
  readonly #selected = new Map<string, SelectedEndpoints>();
  /** Explicit endpoints by address: whose lists name it. */
  readonly #naming = new Map<string, Set<string>>();
  readonly #explicit = new Map<string, readonly ServiceEndpoint[]>();

  constructor(world: EndpointWorld) {
    this.#world = world;
  }

  addService(key: string, service: Service): void {
    const selector = selectorOf(service);
    if (selector !== null) this.#selecting.set(key, { namespace: service.namespace, selector, value: service });
    else for (const { address } of service.endpoints) this.#namers(address).add(key);
  }

  removeService(key: string, service: Service): void {
    this.#selecting.remove(key);
    this.#selected.delete(key);
    this.#explicit.delete(key);
    for (const { address } of service.endpoints) {
      const namers = this.#naming.get(address);
      namers?.delete(key);
      if (namers?.size === 0) this.#naming.delete(address);
    }
  }

  /** Keys of the services that the workload answers for. */
  servicesOf(workload: Workload): readonly string[] {
    const keys = this.#selecting.matching(workload.namespace, workload.labels).map(([key]) => key);
    for (const address of workload.addresses) {
      const namers = this.#naming.get(address);
      if (namers !== undefined) keys.push(...namers);
    }
    return keys;
  }

  /** Called after the store can find (or no longer find) the workload by its addresses. `keys`: its services. */
  addWorkload(workload: Workload, keys: readonly string[]): void {
    for (const key of keys) {
      const selected = this.#selected.get(key);
      if (selected === undefined) this.#explicit.delete(key);
      else put(selected, workload);
    }
  }

  removeWorkload(workload: Workload, keys: readonly string[]): void {
    for (const key of keys) {
      const selected = this.#selected.get(key);
      if (selected === undefined) this.#explicit.delete(key);
      else take(selected, workload.uid);
    }
  }

  endpointsOf(key: string, service: Service): readonly ServiceEndpoint[] {
    const selector = selectorOf(service);
    if (selector !== null) return this.#selectedOf(key, service.namespace, selector).list;
    const known = this.#explicit.get(key);
    if (known !== undefined) return known;
    const list = service.endpoints.map((endpoint): ServiceEndpoint => {
      const workload = this.#world.workloadAt(endpoint.address) ?? null;
      const healthy = endpoint.healthy && (workload === null || workload.healthy);
      return { workload, addresses: [endpoint.address], ports: endpoint.ports, weight: endpoint.weight, healthy };
    });
    this.#explicit.set(key, list);
    return list;
  }

  #selectedOf(key: string, namespace: string, selector: Labels): SelectedEndpoints {
    const known = this.#selected.get(key);
    if (known !== undefined) return known;
    const selected: SelectedEndpoints = { list: [], indexOf: new Map() };
    for (const workload of this.#world.workloadsIn(namespace)) {
      if (selects(selector, workload.labels)) put(selected, workload);
    }
    this.#selected.set(key, selected);
    return selected;
  }

  #namers(address: string): Set<string> {
    const known = this.#naming.get(address) ?? new Set();
    this.#naming.set(address, known);
    return known;
  }
}

/** Kubernetes: an empty selector on a Service selects nobody; its endpoints are explicit. */
function selectorOf({ selector }: Service): Labels | null {
  return selector !== null && Object.keys(selector).length > 0 ? selector : null;
}

function put({ list, indexOf }: SelectedEndpoints, workload: Workload): void {
  const { addresses, weight, healthy } = workload;
  const index = indexOf.get(workload.uid) ?? list.length;
  list[index] = { workload, addresses, ports: noPorts, weight, healthy };
  indexOf.set(workload.uid, index);
}

/** The last endpoint moves to the index that became free. */
function take({ list, indexOf }: SelectedEndpoints, uid: string): void {
  const index = indexOf.get(uid);
  if (index === undefined) return;
  indexOf.delete(uid);
  const last = list.pop();
  if (last === undefined || index === list.length) return;
  list[index] = last;
  if (last.workload !== null) indexOf.set(last.workload.uid, index);
}
