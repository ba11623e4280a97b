// any thread · the objects of a source joined: who is a member, whose endpoints are whose, nothing twice. A swap of some objects costs
// those and what hangs on them, however many others there are. What it does with a mistake is the source's acceptance. Pure but for
// its state.
import { isDeepStrictEqual } from "node:util";
import { fullName } from "../../mesh/full-name.ts";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import { isInMesh } from "../../mesh/names.ts";
import { Claims } from "../../mesh/ownership.ts";
import type { AuthorizationPolicy } from "../../mesh/policies.ts";
import { routeKey } from "../../mesh/route-index.ts";
import type { Service } from "../../mesh/service.ts";
import type { LeftOutPod } from "../left-out.ts";
import type { NodeSettings } from "./node-settings.ts";
import { byPosition, ObjectClaims, precedes } from "./object-claims.ts";
import { idOf, type NamespaceSays, type ParsedObject, type ParsedObjectOf } from "./parsed-object.ts";
import { type Acceptance, ConfigError, MAX_PROBLEMS, type Problem, Report, wrong } from "./value.ts";
import { requireUid } from "./workload.ts";

export type Upsert = Extract<MeshUpdate, { readonly op: "upsert" }>;
/** What is in force of an object before a swap and after it; undefined: nothing. */
export type Replacement = { readonly before: Upsert | undefined; readonly after: Upsert | undefined };
export type Swap = { readonly gone: readonly ParsedObject[]; readonly come: readonly ParsedObject[] };

/** Objects by id; problems and findings by id or claim. */
type Swapped = {
  readonly before: ReadonlyMap<string, Upsert>;
  readonly after: ReadonlyMap<string, Upsert | undefined>;
  readonly problems: ReadonlyMap<string, readonly Problem[]>;
  readonly findings: ReadonlyMap<string, readonly Problem[]>;
};

/** An object without a life of its own in the mesh: it is in force as a part of its Service. */
type PartOfService = ParsedObjectOf<"EndpointSlice" | "DestinationRule">;
const isPart = (parsed: ParsedObject): parsed is PartOfService =>
  parsed.kind === "EndpointSlice" || parsed.kind === "DestinationRule";

const saysNothing: NamespaceSays = { member: false, removesProxyHeaders: false };

export class Assembly {
  readonly #settings: NodeSettings;
  readonly #acceptance: Acceptance;
  readonly #byId = new Claims<ParsedObject>(precedes);
  readonly #claims = new ObjectClaims();
  /** By Service, what says more of it. */
  readonly #partsOf = new Map<string, Set<PartOfService>>();
  readonly #targeted = new Set<ParsedObjectOf<"TargetedPolicy">>();
  /** What is known but not honoured, where it takes several documents to see it. */
  readonly #findings = new Map<string, readonly Problem[]>();
  /** What is wrong with the objects in force, by id or claim; only where objects count for themselves. */
  readonly #problems = new Map<string, readonly Problem[]>();
  /** By id, the pods of this node that would be in the mesh. */
  readonly #leftOut = new Map<string, LeftOutPod>();
  #objects = 0;

  constructor(settings: NodeSettings, acceptance: Acceptance = "all") {
    this.#settings = settings;
    this.#acceptance = acceptance;
  }

  /** Objects of the mesh that are in force. */
  get objects(): number {
    return this.#objects;
  }

  /** Pods of this node that are in the mesh by their labels or their namespace, and stay outside all the same. */
  get leftOut(): readonly LeftOutPod[] {
    return [...this.#leftOut.values()];
  }

  get findings(): readonly Problem[] {
    return [...this.#findings.values()].flat();
  }

  get problems(): readonly Problem[] {
    return [...this.#problems.values()].flat();
  }

  /**
   * What leads from the mesh as it was to the mesh with `come` instead of `gone`: removals first, so that an address which
   * changes hands never has two owners; then workloads, services, policies. An object whose position in its file alone moved
   * is an update too: refusals name the line.
   * @param known what is wrong with the documents themselves, to be reported with the rest; only for acceptance "all".
   * @throws ConfigError with all that is wrong, for acceptance "all"; then nothing has changed.
   */
  swap(swap: Swap, known: readonly Problem[] = []): readonly MeshUpdate[] {
    const { before, after, problems, findings } = this.#swapped(swap, known);
    keepFilled(this.#findings, findings);
    keepFilled(this.#problems, problems);
    for (const id of after.keys()) this.#noteLeftOut(id);
    return this.#difference(before, after);
  }

  /** What the swap would replace; nothing changes. @throws ConfigError as `swap` does */
  preview(swap: Swap): readonly Replacement[] {
    const { before, after } = this.#swapped(swap, []);
    this.#take(swap.come, swap.gone);
    return [...after].map(([id, now]) => ({ before: before.get(id), after: now }));
  }

  /** The AuthorizationPolicies in force. */
  *authorizationPolicies(): Iterable<AuthorizationPolicy> {
    for (const { id, kind } of this.#byId.values()) {
      if (kind !== "AuthorizationPolicy" && kind !== "TargetedPolicy") continue;
      const inForce = this.#inForce(id, new Report(this.#acceptance));
      if (inForce?.kind === "authorization-policy") yield inForce.value;
    }
  }

  #swapped({ gone, come }: Swap, known: readonly Problem[]): Swapped {
    const touched = this.#touched(gone, come);
    // Of 100,000 objects that come at once, none has been in force and hardly any has something to report: they get no entries here.
    const before = new Map<string, Upsert>();
    for (const id of touched) {
      const was = this.#inForce(id, new Report());
      if (was !== undefined) before.set(id, was);
    }
    this.#take(gone, come);
    const after = new Map<string, Upsert | undefined>();
    const findings = new Map<string, readonly Problem[]>();
    const problems = this.#claims.rivalries([gone, come], this.#byId, {
      acceptance: this.#acceptance,
      isKnown: (key) => this.#problems.has(key),
    });
    for (const id of touched) {
      const report = new Report(this.#acceptance);
      after.set(id, this.#inForce(id, report));
      if (report.problems.length > 0 || this.#problems.has(id)) problems.set(id, report.problems);
      if (report.findings.length > 0 || this.#findings.has(id)) findings.set(id, report.findings);
    }
    if (this.#acceptance === "all") {
      const found = [...problems.values()].flat().toSorted(byPosition);
      if (known.length + found.length > 0) {
        this.#take(come, gone);
        throw new ConfigError([...known, ...found.slice(0, MAX_PROBLEMS)]);
      }
    }
    return { before, after, problems, findings };
  }

  /** Ids of all objects on which the swap may have an effect. */
  #touched(gone: readonly ParsedObject[], come: readonly ParsedObject[]): ReadonlySet<string> {
    const touched = new Set<string>();
    const namespaces = new Map<string, NamespaceSays>();
    for (const parsed of [...gone, ...come]) {
      touched.add(parsed.id);
      if (isPart(parsed)) touched.add(`Service ${parsed.service}`);
      if (parsed.kind === "Service") {
        const namespace = parsed.id.slice("Service ".length, parsed.id.indexOf("/"));
        for (const policy of this.#targeted) if (policy.namespace === namespace) touched.add(policy.id);
      }
    }
    for (const parsed of gone) if (parsed.kind === "Namespace") namespaces.set(parsed.namespace, saysNothing);
    for (const parsed of come) if (parsed.kind === "Namespace") namespaces.set(parsed.namespace, parsed);
    /** By namespace, whether it concerns workloads, too, whose own labels say whether they are in the mesh. */
    const changed = new Map<string, boolean>();
    for (const [namespace, now] of namespaces) {
      const was = this.#saidOf(namespace);
      const isForAll = was.removesProxyHeaders !== now.removesProxyHeaders;
      const becomesKnown = (was === saysNothing) !== (now === saysNothing);
      if (isForAll || becomesKnown || was.member !== now.member) changed.set(namespace, isForAll);
    }
    if (changed.size === 0) return touched;
    for (const parsed of this.#byId.values()) {
      if (parsed.kind !== "Workload") continue;
      const isForAll = changed.get(parsed.value.namespace);
      if (isForAll || (isForAll === false && parsed.own === "unset")) touched.add(parsed.id);
    }
    return touched;
  }

  #take(gone: readonly ParsedObject[], come: readonly ParsedObject[]): void {
    for (const parsed of gone) this.#remove(parsed);
    for (const parsed of come) this.#add(parsed);
  }

  #add(parsed: ParsedObject): void {
    this.#byId.add(parsed.id, parsed);
    this.#claims.add(parsed);
    if (parsed.kind === "TargetedPolicy") this.#targeted.add(parsed);
    if (isPart(parsed)) {
      const parts = this.#partsOf.get(parsed.service) ?? new Set();
      this.#partsOf.set(parsed.service, parts.add(parsed));
    }
  }

  #remove(parsed: ParsedObject): void {
    this.#byId.remove(parsed.id, parsed);
    this.#claims.remove(parsed);
    if (parsed.kind === "TargetedPolicy") this.#targeted.delete(parsed);
    if (isPart(parsed)) {
      const parts = this.#partsOf.get(parsed.service);
      parts?.delete(parsed);
      if (parts?.size === 0) this.#partsOf.delete(parsed.service);
    }
  }

  #saidOf(namespace: string): NamespaceSays {
    const parsed = this.#byId.first(idOf("Namespace", "", namespace));
    return parsed?.kind === "Namespace" ? parsed : saysNothing;
  }

  /** The object of this id as it is in force; undefined: none, or none of the mesh. */
  #inForce(id: string, report: Report): Upsert | undefined {
    const parsed = this.#byId.first(id);
    switch (parsed?.kind) {
      case "Workload": {
        const said = this.#saidOf(parsed.value.namespace);
        // An API server's watch of Namespaces may be behind that of Pods: until the namespace is known nobody knows whether the pod is
        // in the mesh, and "it is not" would let a pod go that just begins.
        if (parsed.leftOut?.reason === "host-network") return undefined;
        if (said === saysNothing && parsed.own === "unset" && this.#acceptance === "object") return undefined;
        const { member, removesProxyHeaders } = said;
        const isIn = isInMesh(parsed.own, member);
        const protocol = isIn ? parsed.asMember : "none";
        if (protocol !== "none") requireUid(parsed.value, this.#settings, report);
        // A value that is as it was stays the same object: what is kept by the hundred thousand is not copied.
        if (parsed.value.protocol !== protocol || parsed.value.removesProxyHeaders !== removesProxyHeaders)
          parsed.value = { ...parsed.value, protocol, removesProxyHeaders };
        return { kind: "workload", op: "upsert", value: parsed.value };
      }
      case "Service": {
        const value = parsed.value === null ? null : this.#whole(id, parsed.value, report);
        return value === null ? undefined : { kind: "service", op: "upsert", value };
      }
      case "PeerAuthentication":
        return { kind: "peer-authentication", op: "upsert", value: parsed.value };
      case "AuthorizationPolicy":
        return { kind: "authorization-policy", op: "upsert", value: parsed.value };
      case "LimitPolicy":
        return { kind: "limit-policy", op: "upsert", value: parsed.value };
      case "HTTPRoute":
      case "GRPCRoute":
        return { kind: "http-route", op: "upsert", value: parsed.value };
      case "TLSRoute":
        return { kind: "tls-route", op: "upsert", value: parsed.value };
      case "TCPRoute":
        return { kind: "tcp-route", op: "upsert", value: parsed.value };
      case "TargetedPolicy": {
        const value = parsed.resolve((namespace, name) => this.#selectorOf(namespace, name), report);
        return value && { kind: "authorization-policy", op: "upsert", value };
      }
      case undefined:
        this.#findOrphans(id, report);
        return undefined;
      default:
        return undefined;
    }
  }

  #noteLeftOut(id: string): void {
    const parsed = this.#byId.first(id);
    this.#leftOut.delete(id);
    if (parsed?.kind !== "Workload" || parsed.leftOut === undefined) return;
    const { own, value: workload, leftOut } = parsed;
    if (isInMesh(own, this.#saidOf(workload.namespace).member)) this.#leftOut.set(id, { workload, ...leftOut });
  }

  /** The Service with what its parts say. */
  #whole(id: string, service: Service, report: Report): Service {
    const parts = this.#parts(id);
    if (parts.length === 0) return service;
    return {
      ...service,
      ...this.#endpoints(service, parts, report),
      ...trafficOf(service, parts, report),
    };
  }

  #endpoints(service: Service, parts: readonly PartOfService[], report: Report): Partial<Service> {
    const slices = parts.filter((part) => part.kind === "EndpointSlice");
    const [first] = slices;
    // An API server has slices for both; there the selector's workloads are the endpoints.
    if (first === undefined || (service.selector !== null && this.#acceptance === "object")) return {};
    if (service.selector !== null) {
      const what = `Service ${fullName(service)} has a selector and an EndpointSlice`;
      wrong(first.from, what, "its endpoints would follow the one or the other", "keep one", report);
    }
    return { endpoints: slices.flatMap(({ endpoints }) => endpoints) };
  }

  #findOrphans(id: string, report: Report): void {
    const [orphan] = this.#parts(id);
    if (orphan === undefined) return;
    const what = orphan.kind === "EndpointSlice" ? "nobody asks for these endpoints" : "it is about nothing";
    report.unsupported(orphan.from, `there is no ${id}`, what, "add the Service");
  }

  /** Sorted by their position in the files, so that the order in which they were read does not matter. */
  #parts(id: string): readonly PartOfService[] {
    if (!id.startsWith("Service ")) return [];
    return [...(this.#partsOf.get(id.slice("Service ".length)) ?? [])].sort(byPosition);
  }

  #selectorOf(namespace: string, name: string): Readonly<Record<string, string>> | undefined {
    const parsed = this.#byId.first(idOf("Service", namespace, name));
    return parsed?.kind === "Service" ? parsed.selector : undefined;
  }

  #difference(
    before: ReadonlyMap<string, Upsert>,
    after: ReadonlyMap<string, Upsert | undefined>,
  ): readonly MeshUpdate[] {
    const removed: MeshUpdate[] = [];
    const changed: Upsert[] = [];
    for (const [id, now] of after) {
      const was = before.get(id);
      this.#objects += Number(now !== undefined) - Number(was !== undefined);
      if (now === undefined) {
        if (was !== undefined) removed.push({ kind: was.kind, op: "remove", key: keyOf(was) });
      } else if (was?.value !== now.value && !isDeepStrictEqual(was?.value, now.value)) changed.push(now);
    }
    return [...removed, ...changed.sort((a, b) => rankOf[a.kind] - rankOf[b.kind])];
  }
}

const rankOf = {
  workload: 0,
  service: 1,
  "peer-authentication": 2,
  "authorization-policy": 3,
  "limit-policy": 4,
  "http-route": 5,
  "tls-route": 6,
  "tcp-route": 7,
} as const;

/** Of several DestinationRules the first counts. */
function trafficOf({ loadBalancing }: Service, parts: readonly PartOfService[], report: Report): Partial<Service> {
  const [first, ...others] = parts.filter((part) => part.kind === "DestinationRule");
  if (first === undefined) return {};
  for (const other of others) {
    const what = `${other.id} is not in force: ${first.id} is about the same Service`;
    report.unsupported(other.from, what, "nobody says which of them counts", "put both into a single DestinationRule");
  }
  const { says: traffic, locality } = first;
  // Who wants its own node's endpoints alone gets no others.
  if (locality === null || loadBalancing.mode === "strict") return { traffic };
  return { traffic, loadBalancing: { ...loadBalancing, preference: locality, mode: "failover" } };
}

function keyOf(update: Upsert): string {
  if (update.kind === "http-route") return routeKey(update.value);
  return update.kind === "workload" ? update.value.uid : fullName(update.value);
}

/** Takes over the lists of `now`. An empty list removes its key. */
function keepFilled(kept: Map<string, readonly Problem[]>, now: ReadonlyMap<string, readonly Problem[]>): void {
  for (const [key, list] of now) {
    if (list.length > 0) kept.set(key, list);
    else kept.delete(key);
  }
}
