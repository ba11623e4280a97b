// main thread · what of the mesh bears on the pods of this node among themselves: their namespaces' policies, the Services they
// answer for, whoever else is meant by their addresses. So that a change of all the rest is told from one that matters. Pure.
import { fullName, namespaceOf } from "../mesh/full-name.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { LocalPod } from "./pair-verdicts.ts";

export class PodSurroundings {
  /** Of which pods of this node are endpoints. */
  readonly services: readonly Service[];
  readonly #mesh: Snapshot;
  readonly #namespaces: ReadonlySet<string>;
  readonly #serviceKeys: ReadonlySet<string>;
  /** The pods' own and those of their Services; `#serviceKeys` has whoever else claims one of them and comes first. */
  readonly #addresses: ReadonlySet<string>;
  /** Who is meant by the pods' addresses. */
  readonly #workloads: ReadonlySet<string>;

  constructor(pods: readonly LocalPod[], mesh: Snapshot) {
    this.#mesh = mesh;
    const workloads = pods.map(({ workload }) => workload);
    const addresses = workloads.flatMap((one) => one.addresses);
    this.services = [...new Set(workloads.flatMap((one) => mesh.servicesOf(one)))];
    this.#addresses = new Set([...addresses, ...this.services.flatMap(({ vips }) => vips)]);
    const meant = [...this.#addresses].map((one) => mesh.serviceAt(one)).filter((one) => one !== undefined);
    this.#namespaces = new Set([mesh.rootNamespace, ...workloads.map(({ namespace }) => namespace)]);
    this.#serviceKeys = new Set([...this.services, ...meant].map(fullName));
    this.#workloads = new Set(
      [...workloads, ...addresses.map((one) => mesh.workloadAt(one))].map((one) => one?.uid ?? ""),
    );
  }

  /** May the pods be told otherwise after this change, already applied? */
  touchedBy(change: MeshChange): boolean {
    const { authorizationPolicies, peerAuthentications, services, workloads, endpointsOf } = change;
    return (
      some(authorizationPolicies, (key) => this.#namespaces.has(namespaceOf(key))) ||
      some(peerAuthentications, (key) => this.#namespaces.has(namespaceOf(key))) ||
      some(endpointsOf, (key) => this.#serviceKeys.has(key)) ||
      some(services, (key) => this.#isTouchedByService(key)) ||
      some(workloads, (uid) => this.#isTouchedByWorkload(uid))
    );
  }

  #isTouchedByService(key: string): boolean {
    // One of their namespaces may select them now.
    if (this.#serviceKeys.has(key) || this.#namespaces.has(namespaceOf(key))) return true;
    const service = this.#mesh.service(key);
    const means = (address: string): boolean => this.#addresses.has(address);
    return service !== undefined && (service.vips.some(means) || service.endpoints.some((one) => means(one.address)));
  }

  #isTouchedByWorkload(uid: string): boolean {
    return (
      this.#workloads.has(uid) || (this.#mesh.workload(uid)?.addresses.some((one) => this.#addresses.has(one)) ?? false)
    );
  }
}

function some(keys: ReadonlySet<string>, test: (key: string) => boolean): boolean {
  for (const key of keys) if (test(key)) return true;
  return false;
}
