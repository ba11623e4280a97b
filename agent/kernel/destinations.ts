// 1 · main thread · what every destination gets while no agent lives, kept up to date change by change: one endpoint of a
// hundred thousand costs that endpoint and the Services it answers for. Where two claim an address, the stricter wins. Pure.
import { fullName, namespaceOf } from "../mesh/full-name.ts";
import { Claims } from "../mesh/ownership.ts";
import type { MeshChange } from "../mesh/store.ts";
import {
  type Difference,
  type OutEntry,
  type OutVerdict,
  outEntries,
  type VerdictWorld,
  vipEntries,
} from "./plaintext-verdicts.ts";

/** Of the whole of an address the address itself: most are, and the text is there already. */
const keyOf = ({ address, port }: OutEntry): string => (port === 0 ? address : `${address} ${port}`);

/** What was said of each key before it was touched; undefined: nothing. */
type Touched = Map<string, OutEntry | undefined>;

export class Destinations {
  readonly #world: VerdictWorld;
  /** What each of them claims, by uid and by `<namespace>/<name>`. */
  readonly #workloads = new Map<string, readonly OutEntry[]>();
  readonly #services = new Map<string, readonly OutEntry[]>();
  readonly #claims = new Claims<OutEntry>(() => false);
  /** What the kernel's table holds from an earlier agent, until it is ours. */
  #found: Map<string, OutEntry>;

  /** @param written what the kernel's table holds already. */
  constructor(world: VerdictWorld, written: readonly OutEntry[]) {
    this.#world = world;
    this.#found = new Map(written.map((entry) => [keyOf(entry), entry]));
  }

  /** Everything anew: what has to be written so that the table is right. */
  all(): Difference<OutEntry> {
    const { mesh } = this.#world;
    const touched: Touched = new Map(this.#found);
    for (const uid of this.#workloads.keys()) if (mesh.workload(uid) === undefined) this.#workload(uid, touched);
    for (const key of this.#services.keys()) if (mesh.service(key) === undefined) this.#service(key, touched);
    for (const { uid } of mesh.workloads()) this.#workload(uid, touched);
    for (const service of mesh.services()) this.#service(fullName(service), touched);
    this.#found = new Map();
    return this.#difference(touched);
  }

  /** After the store applied `change`. A policy may bear on all of its namespace; one of the root namespace on anybody. */
  changed(change: MeshChange): Difference<OutEntry> {
    const { mesh } = this.#world;
    const namespaces = new Set([...change.authorizationPolicies, ...change.peerAuthentications].map(namespaceOf));
    if (namespaces.has(mesh.rootNamespace)) return this.all();
    const touched: Touched = new Map();
    const workloads = new Set(change.workloads);
    const services = new Set([...change.services, ...change.endpointsOf]);
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

  #claim(
    owners: Map<string, readonly OutEntry[]>,
    owner: string,
    entries: readonly OutEntry[],
    touched: Touched,
  ): void {
    const before = owners.get(owner) ?? [];
    if (same(before, entries)) return;
    for (const entry of before) this.#touch(entry, touched, (key) => this.#claims.remove(key, entry));
    for (const entry of entries) this.#touch(entry, touched, (key) => this.#claims.add(key, entry));
    if (entries.length === 0) owners.delete(owner);
    else owners.set(owner, entries.slice());
  }

  #touch(entry: OutEntry, touched: Touched, change: (key: string) => void): void {
    const key = keyOf(entry);
    if (!touched.has(key)) touched.set(key, this.#strictest(key));
    change(key);
  }

  #strictest(key: string): OutEntry | undefined {
    return this.#claims.preferred(key, ({ verdict }) => verdict === "refuse");
  }

  /** The strictest first, then what goes: no moment in between is weaker than before and after. */
  #difference(touched: Touched): Difference<OutEntry> {
    const put: OutEntry[] = [];
    const remove: OutEntry[] = [];
    for (const [key, before] of touched) {
      const after = this.#strictest(key);
      if (after !== undefined && after.verdict !== before?.verdict) put.push(after);
      if (after === undefined && before !== undefined) remove.push(before);
    }
    const strictness = (verdict: OutVerdict): number => Number(verdict === "refuse");
    put.sort((one, other) => strictness(other.verdict) - strictness(one.verdict));
    return { put, remove };
  }
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
