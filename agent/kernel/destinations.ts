// 1 · main thread · what every destination gets while no agent lives, kept up to date change by change: the change of an endpoint
// among a hundred thousand costs that endpoint and its Services. Where two claim an address, the stricter wins. Pure.
import { fullName, namespaceOf } from "../mesh/full-name.ts";
import { Claims } from "../mesh/ownership.ts";
import type { MeshChange } from "../mesh/store.ts";
import { goesDirect, isAnswered, type OutEntry, outVerdict } from "./maps.ts";
import { outEntries, outRules, type VerdictWorld, vipEntries } from "./plaintext-verdicts.ts";
import { inOrder, type TableChange } from "./table-change.ts";

const { keyOf } = outRules;

/** What has to be written. */
export type DestinationChange = TableChange<OutEntry> & {
  /**
   * Addresses with a row that is new, or that no longer lets go direct: connections that went direct there may have to end. A row in which
   * only something else changes, as when an endpoint falls ill, is not among them.
   */
  readonly joined: ReadonlySet<string>;
};

/** The entry that each key had before this change; undefined: none. */
type Touched = Map<string, OutEntry | undefined>;

/** A list only where there are several: as a rule a workload has a single entry, and there are 100,000 of them. */
type Claimed = OutEntry | readonly OutEntry[];
const listed = (claimed: Claimed | undefined): readonly OutEntry[] => {
  if (claimed === undefined) return [];
  return isList(claimed) ? claimed : [claimed];
};
const isList = (claimed: Claimed): claimed is readonly OutEntry[] => Array.isArray(claimed);

export class Destinations {
  readonly #world: VerdictWorld;
  /** The entries that each of them claims, by uid and by `<namespace>/<name>`. */
  readonly #workloads = new Map<string, Claimed>();
  readonly #services = new Map<string, Claimed>();
  readonly #claims = new Claims<OutEntry>(() => false);
  /** What the kernel's table holds from an earlier agent, until `all` has replaced it. */
  #found: Map<string, OutEntry>;

  /** @param written what the kernel's table holds already. */
  constructor(world: VerdictWorld, written: readonly OutEntry[]) {
    this.#world = world;
    this.#found = new Map(written.map((entry) => [keyOf(entry), entry]));
  }

  /** What has to be written so that the table is right, whatever was in it. */
  all(): DestinationChange {
    const { mesh } = this.#world;
    const touched: Touched = new Map(this.#found);
    for (const uid of this.#workloads.keys()) if (mesh.workload(uid) === undefined) this.#workload(uid, touched);
    for (const key of this.#services.keys()) if (mesh.service(key) === undefined) this.#service(key, touched);
    for (const { uid } of mesh.workloads()) this.#workload(uid, touched);
    for (const service of mesh.services()) this.#service(fullName(service), touched);
    this.#found = new Map();
    return this.#difference(touched);
  }

  /** After the store applied `change`. A policy may bear on all of its namespace, and that of the root namespace on everybody. */
  changed(change: MeshChange): DestinationChange {
    const { mesh } = this.#world;
    const namespaces = new Set([...change.authorizationPolicies, ...change.peerAuthentications].map(namespaceOf));
    if (namespaces.has(mesh.rootNamespace)) return this.all();
    const touched: Touched = new Map();
    const workloads = new Set(change.workloads);
    const services = new Set([...change.services, ...change.endpointsOf, ...change.routedServices]);
    for (const namespace of namespaces) {
      for (const workload of mesh.workloadsIn(namespace)) {
        workloads.add(workload.uid);
        for (const service of mesh.servicesOf(workload)) services.add(fullName(service));
      }
    }
    for (const uid of workloads) this.#workload(uid, touched);
    for (const key of services) this.#service(key, touched);
    return this.#difference(touched);
  }

  #workload(uid: string, touched: Touched): void {
    const workload = this.#world.mesh.workload(uid);
    this.#claim(this.#workloads, uid, workload === undefined ? [] : outEntries(workload, this.#world), touched);
  }

  #service(key: string, touched: Touched): void {
    const service = this.#world.mesh.service(key);
    this.#claim(this.#services, key, service === undefined ? [] : vipEntries(service, this.#world), touched);
  }

  #claim(owners: Map<string, Claimed>, owner: string, entries: readonly OutEntry[], touched: Touched): void {
    const before = listed(owners.get(owner));
    if (same(before, entries)) return;
    for (const entry of before) this.#touch(entry, touched, (key) => this.#claims.remove(key, entry));
    for (const entry of entries) this.#touch(entry, touched, (key) => this.#claims.add(key, entry));
    const [only] = entries;
    if (only === undefined) owners.delete(owner);
    else owners.set(owner, entries.length === 1 ? only : entries.slice());
  }

  #touch(entry: OutEntry, touched: Touched, change: (key: string) => void): void {
    const key = keyOf(entry);
    if (!touched.has(key)) touched.set(key, this.#strictest(key));
    change(key);
  }

  #strictest(key: string): OutEntry | undefined {
    return this.#claims.chosen(key, ofAll);
  }

  #difference(touched: Touched): DestinationChange {
    const put: OutEntry[] = [];
    const remove: OutEntry[] = [];
    const joined = new Set<string>();
    for (const [key, before] of touched) {
      const after = this.#strictest(key);
      if (after === undefined) {
        if (before !== undefined) remove.push(before);
      } else if (after.verdict !== before?.verdict) {
        put.push(after);
        if (before === undefined || (goesDirect(before.verdict) && !goesDirect(after.verdict)))
          joined.add(after.address);
      }
    }
    return { ...inOrder({ put, remove }, outRules), joined };
  }
}

/** Of several claims: direct if all are, and unanswered if all are. */
function ofAll(claims: readonly OutEntry[]): OutEntry | undefined {
  const [first] = claims;
  const direct = claims.every(({ verdict }) => goesDirect(verdict));
  const answered = claims.some(({ verdict }) => isAnswered(verdict));
  return first && { ...first, verdict: outVerdict(direct, answered) };
}

function same(one: readonly OutEntry[], other: readonly OutEntry[]): boolean {
  return (
    one.length === other.length &&
    one.every((entry, index) => {
      const { address, port, verdict } = other[index] ?? entry;
      return entry.address === address && entry.port === port && entry.verdict === verdict;
    })
  );
}
