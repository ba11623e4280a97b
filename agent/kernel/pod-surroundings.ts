// main thread · what of the mesh bears on the pods of this node among themselves: their namespaces' policies, the Services that they
// answer for, other claimants of their addresses. A change of anything else leaves the pair tables as they are. Pure.
import { fullName, namespaceOf } from "../mesh/full-name.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { LocalPod } from "./pair-verdicts.ts";

export class PodSurroundings {
  /** The Services of which pods of this node are endpoints. */
  readonly services: readonly Service[];
  readonly #mesh: Snapshot;
  readonly #namespaces: ReadonlySet<string>;
  readonly #serviceKeys: ReadonlySet<string>;
  /** The pods' own and those of their Services. `#serviceKeys` holds also the Services that claim such an address first. */
  readonly #addresses: ReadonlySet<string>;
  /** The pods, and the workloads that are meant by the pods' addresses. */
  readonly #workloads: ReadonlySet<string>;

  constructor(pods: readonly LocalPod[], mesh: Snapshot) {
    this.#mesh = mesh;
    const workloads = pods.map(({ workload }) => workload);
    const addresses = workloads.flatMap((workload) => workload.addresses);
    this.services = [...new Set(workloads.flatMap((workload) => mesh.servicesOf(workload)))];
    this.#addresses = new Set([...addresses, ...this.services.flatMap(({ vips }) => vips)]);
    const meant = [...this.#addresses]
      .map((address) => mesh.serviceAt(address))
      .filter((service) => service !== undefined);
    this.#namespaces = new Set([mesh.rootNamespace, ...workloads.map(({ namespace }) => namespace)]);
    this.#serviceKeys = new Set([...this.services, ...meant].map(fullName));
    this.#workloads = new Set(
      [...workloads, ...addresses.flatMap((address) => mesh.workloadAt(address) ?? mesh.rivalsAt(address))].map(
        ({ uid }) => uid,
      ),
    );
  }

  /** May the verdicts on the pods differ after this change? It is applied already. */
  touchedBy(change: MeshChange): boolean {
    const { authorizationPolicies, peerAuthentications, services, workloads, endpointsOf, routedServices } = change;
    return (
      some(authorizationPolicies, (key) => this.#namespaces.has(namespaceOf(key))) ||
      some(peerAuthentications, (key) => this.#namespaces.has(namespaceOf(key))) ||
      some(endpointsOf, (key) => this.#serviceKeys.has(key)) ||
      some(routedServices, (key) => this.#serviceKeys.has(key)) ||
      some(services, (key) => this.#isTouchedByService(key)) ||
      some(workloads, (uid) => this.#isTouchedByWorkload(uid))
    );
  }

  #isTouchedByService(key: string): boolean {
    // A Service of their namespaces may select them now.
    if (this.#serviceKeys.has(key) || this.#namespaces.has(namespaceOf(key))) return true;
    const service = this.#mesh.service(key);
    const means = (address: string): boolean => this.#addresses.has(address);
    return (
      service !== undefined && (service.vips.some(means) || service.endpoints.some(({ address }) => means(address)))
    );
  }

  #isTouchedByWorkload(uid: string): boolean {
    return (
      this.#workloads.has(uid) ||
      (this.#mesh.workload(uid)?.addresses.some((address) => this.#addresses.has(address)) ?? false)
    );
  }
}

function some(keys: ReadonlySet<string>, test: (key: string) => boolean): boolean {
  for (const key of keys) if (test(key)) return true;
  return false;
}
