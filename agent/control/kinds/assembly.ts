// any thread · the pieces of all documents joined: who is a member, whose endpoints are whose, nothing twice. A swap of some
// pieces costs those and what hangs on them, however many others there are; a wrong one changes nothing. Pure but for its state.
import { isDeepStrictEqual } from "node:util";
import { fullName } from "../../mesh/full-name.ts";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import { Claims } from "../../mesh/ownership.ts";
import type { Service } from "../../mesh/service.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import { idOf, nameOf, type Piece, type PieceOf } from "./parsed-object.ts";
import type { Place } from "./place.ts";
import { ConfigError, type Problem, placeText, Report, wrong } from "./value.ts";
import { placed } from "./workload.ts";

export type Upsert = Extract<MeshUpdate, { readonly op: "upsert" }>;
export type Swap = { readonly gone: readonly Piece[]; readonly come: readonly Piece[] };

export class Assembly {
  readonly #place: Place;
  readonly #byId = new Claims<Piece>(standsBefore);
  readonly #byAddress = new Claims<Piece>(standsBefore);
  readonly #byVip = new Claims<Piece>(standsBefore);
  readonly #slicesOf = new Map<string, Set<PieceOf<"EndpointSlice">>>();
  readonly #targeted = new Set<PieceOf<"TargetedPolicy">>();
  /** What is known but not honoured, where it takes several documents to see it. */
  readonly #findings = new Map<string, readonly Problem[]>();
  #objects = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  /** Objects of the mesh that are in force. */
  get objects(): number {
    return this.#objects;
  }

  get findings(): readonly Problem[] {
    return [...this.#findings.values()].flat();
  }

  /**
   * What leads from the mesh as it was to the mesh with `come` instead of `gone`: removals first, so that an address which
   * changes hands never has two owners; then workloads, services, policies. An object whose place in its file alone moved
   * is an update too: refusals name the line.
   * @param known what is wrong with the documents themselves, to be told in the same breath.
   * @throws ConfigError with all that is wrong; then nothing has changed.
   */
  swap({ gone, come }: Swap, known: readonly Problem[] = []): readonly MeshUpdate[] {
    const touched = this.#touched(gone, come);
    const before = new Map([...touched].map((id) => [id, this.#inForce(id, new Report())]));
    this.#take(gone, come);
    const report = new Report();
    const after = new Map<string, Upsert | undefined>();
    const findings = new Map<string, readonly Problem[]>();
    for (const id of touched) {
      const own = new Report();
      after.set(id, this.#inForce(id, own));
      for (const problem of own.problems) report.error(problem);
      findings.set(id, own.findings);
    }
    this.#checkClaims(come, report);
    if (known.length + report.problems.length > 0) {
      this.#take(come, gone);
      throw new ConfigError([...known, ...report.problems.toSorted(byPlace)]);
    }
    for (const [id, list] of findings) {
      if (list.length > 0) this.#findings.set(id, list);
      else this.#findings.delete(id);
    }
    return this.#difference(before, after);
  }

  /** Ids of all that may come out otherwise. */
  #touched(gone: readonly Piece[], come: readonly Piece[]): ReadonlySet<string> {
    const touched = new Set<string>();
    const members = new Map<string, boolean>();
    for (const piece of [...gone, ...come]) {
      touched.add(piece.id);
      if (piece.kind === "EndpointSlice") touched.add(`Service ${piece.service}`);
      if (piece.kind === "Service") {
        const namespace = piece.id.slice("Service ".length, piece.id.indexOf("/"));
        for (const policy of this.#targeted) if (policy.namespace === namespace) touched.add(policy.id);
      }
    }
    for (const piece of gone) if (piece.kind === "Namespace") members.set(piece.namespace, false);
    for (const piece of come) if (piece.kind === "Namespace") members.set(piece.namespace, piece.member);
    for (const [namespace, member] of members) {
      if (member === this.#isMember(namespace)) continue;
      for (const piece of this.#byId.values()) {
        if (piece.kind === "Workload" && piece.own === "unset" && piece.value.namespace === namespace)
          touched.add(piece.id);
      }
    }
    return touched;
  }

  #take(gone: readonly Piece[], come: readonly Piece[]): void {
    for (const piece of gone) this.#remove(piece);
    for (const piece of come) this.#add(piece);
  }

  #add(piece: Piece): void {
    this.#byId.add(piece.id, piece);
    for (const key of addressKeys(piece)) this.#byAddress.add(key, piece);
    for (const vip of vipsOf(piece)) this.#byVip.add(vip, piece);
    if (piece.kind === "TargetedPolicy") this.#targeted.add(piece);
    if (piece.kind === "EndpointSlice") {
      const slices = this.#slicesOf.get(piece.service) ?? new Set();
      this.#slicesOf.set(piece.service, slices.add(piece));
    }
  }

  #remove(piece: Piece): void {
    this.#byId.remove(piece.id, piece);
    for (const key of addressKeys(piece)) this.#byAddress.remove(key, piece);
    for (const vip of vipsOf(piece)) this.#byVip.remove(vip, piece);
    if (piece.kind === "TargetedPolicy") this.#targeted.delete(piece);
    if (piece.kind === "EndpointSlice") {
      const slices = this.#slicesOf.get(piece.service);
      slices?.delete(piece);
      if (slices?.size === 0) this.#slicesOf.delete(piece.service);
    }
  }

  #isMember(namespace: string): boolean {
    const piece = this.#byId.first(idOf("Namespace", "", namespace));
    return piece?.kind === "Namespace" && piece.member;
  }

  /** The object of this id as it is in force; undefined: none, or none of the mesh. */
  #inForce(id: string, report: Report): Upsert | undefined {
    const piece = this.#byId.first(id);
    switch (piece?.kind) {
      case "Workload": {
        const member = piece.own === "in" || (piece.own === "unset" && this.#isMember(piece.value.namespace));
        return { kind: "workload", op: "upsert", value: placed(piece.value, member, this.#place, report) };
      }
      case "Service": {
        const value = piece.value === null ? null : this.#withEndpoints(id, piece.value, report);
        return value === null ? undefined : { kind: "service", op: "upsert", value };
      }
      case "PeerAuthentication":
        return { kind: "peer-authentication", op: "upsert", value: piece.value };
      case "AuthorizationPolicy":
        return { kind: "authorization-policy", op: "upsert", value: piece.value };
      case "TargetedPolicy": {
        const value = piece.place((namespace, name) => this.#selectorOf(namespace, name), report);
        return value && { kind: "authorization-policy", op: "upsert", value };
      }
      case undefined:
        this.#findOrphans(id, report);
        return undefined;
      default:
        return undefined;
    }
  }

  #withEndpoints(id: string, service: Service, report: Report): Service {
    const slices = this.#slices(id);
    const [first] = slices;
    if (first === undefined) return service;
    if (service.selector !== null) {
      const what = `Service ${fullName(service)} has a selector and an EndpointSlice`;
      wrong(first.from, what, "its endpoints would follow the one or the other", "keep one", report);
    }
    return { ...service, endpoints: slices.flatMap(({ endpoints }) => endpoints) };
  }

  #findOrphans(id: string, report: Report): void {
    const [orphan] = this.#slices(id);
    if (orphan === undefined) return;
    report.unsupported(orphan.from, `there is no ${id}`, "nobody asks for these endpoints", "add the Service");
  }

  /** In the order of the files, whenever each of them came. */
  #slices(id: string): readonly PieceOf<"EndpointSlice">[] {
    if (!id.startsWith("Service ")) return [];
    return [...(this.#slicesOf.get(id.slice("Service ".length)) ?? [])].sort(byPlace);
  }

  #selectorOf(namespace: string, name: string): Readonly<Record<string, string>> | undefined {
    const piece = this.#byId.first(idOf("Service", namespace, name));
    return piece?.kind === "Service" ? piece.selector : undefined;
  }

  /** Nothing stood twice before, so what stands twice now has come. */
  #checkClaims(come: readonly Piece[], report: Report): void {
    const [ids, addresses, vips] = [new Set<string>(), new Set<string>(), new Set<string>()];
    for (const piece of come) {
      ids.add(piece.id);
      for (const key of addressKeys(piece)) addresses.add(key);
      for (const vip of vipsOf(piece)) vips.add(vip);
    }
    forRivals(ids, this.#byId, (_, rival, first) => {
      const what = `${nameOf(rival)} stands here and at ${placeText(first.from)}`;
      wrong(rival.from, what, "only one of them could be in force", "keep one", report);
    });
    forRivals(addresses, this.#byAddress, (key, rival, first) => {
      if (rival.id === first.id) return;
      const what = `${key.slice(key.lastIndexOf("/") + 1)} belongs to ${nameOf(first)} already`;
      const why = "an address names one identity; with two owners it would name either";
      wrong(rival.from, what, why, "give each workload its own addresses", report);
    });
    forRivals(vips, this.#byVip, (vip, rival, first) => {
      if (rival.id === first.id) return;
      const what = `${vip} is the address of ${first.id} already`;
      wrong(rival.from, what, "a connection could go to either", "give each Service its own", report);
    });
  }

  #difference(
    before: ReadonlyMap<string, Upsert | undefined>,
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
    return [...removed, ...changed.sort((one, other) => rankOf[one.kind] - rankOf[other.kind])];
  }
}

const rankOf = { workload: 0, service: 1, "peer-authentication": 2, "authorization-policy": 3 } as const;

function keyOf(update: Upsert): string {
  return update.kind === "workload" ? update.value.uid : fullName(update.value);
}

function addressKeys(piece: Piece): readonly string[] {
  if (piece.kind !== "Workload") return [];
  const { network, addresses } = piece.value;
  return network === "" ? addresses : addresses.map((address) => `${network}/${address}`);
}

function vipsOf(piece: Piece): readonly string[] {
  return piece.kind === "Service" ? (piece.value?.vips ?? []) : [];
}

function forRivals(
  claims: ReadonlySet<string>,
  held: Claims<Piece>,
  each: (claim: string, rival: Piece, first: Piece) => void,
): void {
  for (const claim of claims) {
    const [first, ...rivals] = held.all(claim);
    if (first !== undefined) for (const rival of rivals) each(claim, rival, first);
  }
}

type Placed = { readonly from: SourceRef };

function byPlace({ from: one }: Placed, { from: other }: Placed): number {
  if (one.file !== other.file) return one.file < other.file ? -1 : 1;
  return one.line - other.line || one.column - other.column;
}

const standsBefore = (one: Placed, other: Placed): boolean => byPlace(one, other) < 0;
