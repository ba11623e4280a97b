// any thread · workloads by everything one asks for them with. The one writer is the store.
import { Claims } from "./ownership.ts";
import { getOrAdd } from "./selector-index.ts";
import type { Workload } from "./workload.ts";

/** Nobody can tell which of them has the address, in canonical text. */
export type AddressConflict = { readonly address: string; readonly claimants: readonly Workload[] };

export class WorkloadIndex {
  readonly #byUid = new Map<string, Workload>();
  readonly #byAddress = new Claims<Workload>(ranksBefore);
  readonly #byNamespace = new Map<string, Set<Workload>>();
  /** Of the nodes that were asked for: a node asks for itself, of a thousand. */
  readonly #byNode = new Map<string, Set<Workload>>();

  /** The uid must be free. */
  add(workload: Workload): void {
    this.#byUid.set(workload.uid, workload);
    for (const address of new Set(workload.addresses)) this.#byAddress.add(address, workload);
    getOrAdd(this.#byNamespace, workload.namespace, () => new Set<Workload>()).add(workload);
    this.#byNode.get(workload.node)?.add(workload);
  }

  /** The very object that was added. */
  remove(workload: Workload): void {
    this.#byUid.delete(workload.uid);
    for (const address of new Set(workload.addresses)) this.#byAddress.remove(address, workload);
    const namespace = this.#byNamespace.get(workload.namespace);
    namespace?.delete(workload);
    if (namespace?.size === 0) this.#byNamespace.delete(workload.namespace);
    this.#byNode.get(workload.node)?.delete(workload);
  }

  byUid(uid: string): Workload | undefined {
    return this.#byUid.get(uid);
  }

  at(address: string): Workload | undefined {
    return this.#byAddress.chosen(address, ownerAmong);
  }

  /** All that claim an address, when two of them do so in one network; else nobody. */
  rivalsAt(address: string): readonly Workload[] {
    if (!this.hasShared) return nobody;
    const claimants = this.#byAddress.all(address);
    return isDisputed(claimants) ? claimants : nobody;
  }

  /** Whether any address has several claimants. */
  get hasShared(): boolean {
    return this.#byAddress.shared > 0;
  }

  /** Every address that has rivals, with them. */
  *conflicts(): Generator<AddressConflict> {
    for (const [address, claimants] of this.#byAddress.disputes()) {
      if (isDisputed(claimants)) yield { address, claimants };
    }
  }

  /** The others that claim an address of this workload. */
  sharers(workload: Workload): readonly Workload[] {
    if (!this.hasShared) return nobody;
    return workload.addresses.flatMap((address) =>
      this.#byAddress.all(address).filter((claimant) => claimant !== workload),
    );
  }

  inNamespace(namespace: string): Iterable<Workload> {
    return this.#byNamespace.get(namespace) ?? [];
  }

  onNode(node: string): Iterable<Workload> {
    return getOrAdd(
      this.#byNode,
      node,
      () => new Set(this.#byUid.values().filter((workload) => workload.node === node)),
    );
  }

  all(): Iterable<Workload> {
    return this.#byUid.values();
  }
}

const nobody: readonly never[] = [];

/** An address belongs to one workload of each network. Two mean a mistake, or that the message about the old owner is late. */
function isDisputed(claimants: readonly Workload[]): boolean {
  return new Set(claimants.map(({ network }) => network)).size < claimants.length;
}

/** Of several networks that use the same address, the workload that ranks first. */
function ownerAmong(claimants: readonly Workload[]): Workload | undefined {
  return isDisputed(claimants) ? undefined : claimants[0];
}

/** Pods with HBONE first, then pods, then HBONE; then the lower uid (docs/reference/hbone.md#names-and-addresses-of-workloads). */
function ranksBefore(a: Workload, b: Workload): boolean {
  const [first, second] = [rankOf(a), rankOf(b)];
  return first !== second ? first < second : a.uid < b.uid;
}

function rankOf({ uid, protocol }: Workload): number {
  const [, , kind] = uid.split("/");
  return (kind === "Pod" ? 0 : 2) + (protocol === "hbone" ? 0 : 1);
}
