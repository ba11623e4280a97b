// 1 · main thread · what every destination gets while no agent lives, kept up to date change by change: one endpoint of a
// hundred thousand costs that endpoint and the Services of its namespace. Where two claim an address, the stricter wins. Pure.
import type { MeshChange } from "../mesh/store.ts";
import {
  type Difference,
  type OutEntry,
  type OutVerdict,
  outEntries,
  type VerdictWorld,
  vipEntries,
} from "./kernel-verdicts.ts";

const keyOf = ({ address, port }: OutEntry): string => `${address} ${port}`;

export class Destinations {
  readonly #world: VerdictWorld;
  /** By `w <uid>` or `s <namespace/name>`. */
  readonly #byOwner = new Map<string, readonly OutEntry[]>();
  /** By address and port: who claims it, and what for. */
  readonly #claims = new Map<string, Map<string, OutEntry>>();
  /** Keys of Services by namespace, and of those that name endpoints anywhere. */
  readonly #servicesIn = new Map<string, Set<string>>();
  readonly #explicit = new Set<string>();
  readonly #namespaceOf = new Map<string, string>();
  #written: Map<string, OutEntry>;

  /** @param written what the kernel's table holds already, from an earlier agent. */
  constructor(world: VerdictWorld, written: readonly OutEntry[]) {
    this.#world = world;
    this.#written = new Map(written.map((entry) => [keyOf(entry), entry]));
  }

  /** Everything anew: what has to be written so that the table is right. */
  all(): Difference<OutEntry> {
    const { mesh } = this.#world;
    const touched = new Set(this.#written.keys());
    const gone = new Set(this.#byOwner.keys());
    for (const { uid } of mesh.workloads()) {
      gone.delete(`w ${uid}`);
      this.#workload(uid, touched);
    }
    for (const { namespace, name } of mesh.services()) {
      gone.delete(`s ${namespace}/${name}`);
      this.#service(`${namespace}/${name}`, touched);
    }
    for (const owner of gone) this.#claim(owner, [], touched);
    return this.#difference(touched);
  }

  /** After the store applied `change`. A policy may bear on anybody, so it is everything anew. */
  changed(change: MeshChange): Difference<OutEntry> {
    if (change.authorizationPolicies.size + change.peerAuthentications.size > 0) return this.all();
    const touched = new Set<string>();
    const services = new Set(change.services);
    for (const uid of change.workloads) {
      for (const namespace of this.#namespacesOf(uid)) {
        for (const key of this.#servicesIn.get(namespace) ?? []) services.add(key);
      }
      this.#workload(uid, touched);
    }
    if (change.workloads.size > 0) for (const key of this.#explicit) services.add(key);
    for (const key of services) this.#service(key, touched);
    return this.#difference(touched);
  }

  /** Where the workload is and where it was: Services of both may choose otherwise now. */
  #namespacesOf(uid: string): ReadonlySet<string> {
    const now = this.#world.mesh.workload(uid)?.namespace;
    const before = this.#namespaceOf.get(uid);
    return new Set([now, before].filter((one) => one !== undefined));
  }

  #workload(uid: string, touched: Set<string>): void {
    const workload = this.#world.mesh.workload(uid);
    if (workload === undefined) this.#namespaceOf.delete(uid);
    else this.#namespaceOf.set(uid, workload.namespace);
    this.#claim(`w ${uid}`, workload === undefined ? [] : outEntries(workload, this.#world), touched);
  }

  #service(key: string, touched: Set<string>): void {
    const service = this.#world.mesh.service(key);
    const namespace = key.slice(0, key.indexOf("/"));
    const known = this.#servicesIn.get(namespace) ?? new Set();
    this.#servicesIn.set(namespace, known);
    if (service === undefined) known.delete(key);
    else known.add(key);
    if (service !== undefined && service.selector === null) this.#explicit.add(key);
    else this.#explicit.delete(key);
    this.#claim(`s ${key}`, service === undefined ? [] : vipEntries(service, this.#world), touched);
  }

  #claim(owner: string, entries: readonly OutEntry[], touched: Set<string>): void {
    for (const entry of this.#byOwner.get(owner) ?? []) {
      const claims = this.#claims.get(keyOf(entry));
      claims?.delete(owner);
      if (claims?.size === 0) this.#claims.delete(keyOf(entry));
      touched.add(keyOf(entry));
    }
    for (const entry of entries) {
      const claims = this.#claims.get(keyOf(entry)) ?? new Map<string, OutEntry>();
      this.#claims.set(keyOf(entry), claims);
      // One owner may name a key twice, as a Service with two ports of one number would.
      if (claims.get(owner)?.verdict !== "refuse") claims.set(owner, entry);
      touched.add(keyOf(entry));
    }
    if (entries.length === 0) this.#byOwner.delete(owner);
    else this.#byOwner.set(owner, entries);
  }

  /** The strictest first, then what goes: no moment in between is weaker than before and after. */
  #difference(touched: ReadonlySet<string>): Difference<OutEntry> {
    const put: OutEntry[] = [];
    const remove: OutEntry[] = [];
    for (const key of touched) {
      const claims = this.#claims.get(key);
      const written = this.#written.get(key);
      if (claims === undefined) {
        if (written !== undefined) remove.push(written);
        this.#written.delete(key);
        continue;
      }
      const [first] = claims.values();
      if (first === undefined) continue;
      const verdict: OutVerdict = claims.values().some((one) => one.verdict === "refuse") ? "refuse" : "direct";
      if (written?.verdict === verdict) continue;
      const entry = { address: first.address, port: first.port, verdict };
      this.#written.set(key, entry);
      put.push(entry);
    }
    put.sort((one, other) => Number(other.verdict === "refuse") - Number(one.verdict === "refuse"));
    return { put, remove };
  }
}
