// 9 again · data thread · open connections with what each was allowed on. After a change they are judged again, and closed when
// they are no longer allowed. What takes long is done piece by piece, so that nothing else of the thread waits for it.
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import { type Permission, permissionKey, type Revocation, revocationOf } from "../plan/permission.ts";
import type { PlanWorld } from "../plan/plan.ts";
import type { AllowedAlike, Connection } from "./connection.ts";

/** What the store says of a change; a Service's change touches nothing that is open. */
export type Change = Pick<MeshChange, "workloads" | "authorizationPolicies" | "peerAuthentications">;

/** With null its open request must be judged again. */
export type Rejudged = { readonly connection: Connection; readonly revocation: Revocation | null };

export class LiveConnections {
  readonly #byKey = new Map<string, AllowedAlike>();
  readonly #byWorkload = new Map<string, Set<AllowedAlike>>();
  /** Plaintext by its source's address, which may become a workload's. */
  readonly #plaintextFrom = new Map<string, Set<AllowedAlike>>();

  /** Served connections of HTTP/2: their requests that are judged here may each have another destination. */
  readonly #multiplexed = new Set<Connection>();

  /** Those that a change may bear on and that were not judged since. */
  readonly #due = new Set<AllowedAlike>();

  /**
   * Called before the first judgement, so that no change can fall between judging and registering. A connection that is due stays due, since
   * it may get another permission without a judgement.
   */
  add(connection: Connection, permission: Permission): void {
    const wasDue = connection.allowedWith !== null && this.#due.has(connection.allowedWith);
    this.remove(connection);
    const key = permissionKey(permission);
    let group = this.#byKey.get(key);
    if (group === undefined) {
      group = { key, permission, members: [] };
      this.#byKey.set(key, group);
      for (const uid of workloadsOf(permission)) addTo(this.#byWorkload, uid, group);
      for (const address of plaintextSourceOf(permission)) addTo(this.#plaintextFrom, address, group);
    }
    if (wasDue) this.#due.add(group);
    connection.allowedWith = group;
    connection.place = group.members.push(connection) - 1;
  }

  /** What the connection is allowed on. undefined: it is not open. */
  permissionOf(connection: Connection): Permission | undefined {
    return connection.allowedWith?.permission;
  }

  /** Until `remove`: whatever changes, it is asked about its open requests. */
  asksAlways(connection: Connection): void {
    this.#multiplexed.add(connection);
  }

  /** None of its open requests is judged here any more. */
  asksNoMore(connection: Connection): void {
    this.#multiplexed.delete(connection);
  }

  remove(connection: Connection): void {
    this.#multiplexed.delete(connection);
    const { allowedWith: group, place } = connection;
    if (group === null) return;
    connection.allowedWith = null;
    // The last takes its place: an array without gaps is half of a set, and of a set's garbage nothing.
    const last = group.members.pop();
    if (last !== undefined && last !== connection) {
      group.members[place] = last;
      last.place = place;
    }
    if (group.members.length > 0) return;
    this.#byKey.delete(group.key);
    this.#due.delete(group);
    for (const uid of workloadsOf(group.permission)) removeFrom(this.#byWorkload, uid, group);
    for (const address of plaintextSourceOf(group.permission)) removeFrom(this.#plaintextFrom, address, group);
  }

  /** `change` is applied already: what it may bear on is due. */
  changed(change: Change, mesh: Snapshot): void {
    for (const group of this.#touched(change, mesh)) this.#due.add(group);
  }

  /** Whether any connection is to be judged again. */
  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** Those that are asked about their open requests whatever has changed. */
  get multiplexed(): Iterable<Connection> {
    return this.#multiplexed;
  }

  /**
   * Judges again what is due, until `isOver`; the result is the connections that must end, each with why, and with null those whose open
   * request must be judged again. A connection that cannot be judged because of a fault of ours must end, too; `fault` hears of it.
   */
  rejudge(
    world: Pick<PlanWorld, "mesh" | "judge" | "settle">,
    fault: (error: unknown) => void,
    isOver: () => boolean,
  ): Rejudged[] {
    const list: Rejudged[] = [];
    for (const group of this.#due) {
      this.#due.delete(group);
      const revocation = judged(group.permission, world, fault);
      if (revocation !== null || group.permission.reading !== "unread")
        for (const connection of group.members)
          if (revocation !== null || connection.openRequest !== null) list.push({ connection, revocation });
      if (isOver()) break;
    }
    return list;
  }

  #touched(change: Change, mesh: Snapshot): Set<AllowedAlike> {
    const touched = new Set<AllowedAlike>();
    for (const uid of change.workloads) {
      for (const group of this.#byWorkload.get(uid) ?? []) touched.add(group);
      if (this.#plaintextFrom.size === 0) continue;
      for (const address of mesh.workload(uid)?.addresses ?? [])
        for (const group of this.#plaintextFrom.get(address) ?? []) touched.add(group);
    }
    const namespaces = new Set([...change.authorizationPolicies, ...change.peerAuthentications].map(namespaceOf));
    if (namespaces.size === 0) return touched;
    // Within its namespace a policy may select anything, now or before the change; of the root namespace, everything.
    const everywhere = namespaces.has(mesh.rootNamespace);
    for (const group of this.#byKey.values()) {
      const { judged } = group.permission;
      if (judged === null) continue;
      const destination = mesh.workload(judged.destinationUid);
      if (everywhere || destination === undefined || namespaces.has(destination.namespace)) touched.add(group);
    }
    return touched;
  }
}

export const isAnything = ({ workloads, authorizationPolicies, peerAuthentications }: Change): boolean =>
  [workloads, authorizationPolicies, peerAuthentications].some((changed) => [...changed].length > 0);

function judged(
  permission: Permission,
  world: Pick<PlanWorld, "mesh" | "judge" | "settle">,
  fault: (error: unknown) => void,
): Revocation | null {
  try {
    return revocationOf(permission, world);
  } catch (error) {
    fault(error);
    return { refusal: "fault", decision: null };
  }
}

/** Of `<namespace>/<name>`. */
const namespaceOf = (key: string): string => key.slice(0, key.indexOf("/"));

function addTo(groups: Map<string, Set<AllowedAlike>>, key: string, group: AllowedAlike): void {
  const known = groups.get(key) ?? new Set();
  known.add(group);
  groups.set(key, known);
}

function removeFrom(groups: Map<string, Set<AllowedAlike>>, key: string, group: AllowedAlike): void {
  const known = groups.get(key);
  known?.delete(group);
  if (known?.size === 0) groups.delete(key);
}

function plaintextSourceOf({ judged }: Permission): readonly string[] {
  return judged?.security === "none" ? [judged.sourceAddress] : [];
}

function workloadsOf(permission: Permission): readonly string[] {
  const uids: string[] = [];
  if (permission.source !== null) uids.push(permission.source.uid);
  if (permission.judged !== null) uids.push(permission.judged.destinationUid);
  return uids;
}
