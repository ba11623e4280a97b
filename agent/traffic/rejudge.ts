// 9 again · data thread · what open connections stand on; after a change they are judged again and closed when it fell.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Refusal } from "../plan/outcome.ts";
import type { PlanWorld } from "../plan/plan.ts";
import type { Decision } from "../policy/decision.ts";
import type { Connection } from "./connection.ts";

/** What a connection stands on. Workloads by uid, so that they are looked up as they are now. */
export type Standing = {
  /** Our own pod's workload, when it is the client; its identity must stay what it was. */
  readonly source: { readonly uid: string; readonly identity: string } | null;
  /** What the evaluator was shown; null: judged at the far end. */
  readonly judged: {
    readonly destinationUid: string;
    readonly sourceAddress: string;
    readonly sourcePort: number;
    readonly sourceIdentity: SpiffeId | null;
    readonly destinationAddress: string;
    readonly destinationPort: number;
    readonly security: ConnectionFacts["security"];
  } | null;
};

/** The standing of a connection with these facts. */
export function standingOf(source: Workload | null, facts: ConnectionFacts | null): Standing {
  return {
    source: source === null ? null : { uid: source.uid, identity: source.identity.text },
    judged: facts === null ? null : { ...facts, destinationUid: facts.destination.uid },
  };
}

/** Why it must end, or null: it still stands. */
export type Fall = { readonly refusal: Refusal; readonly decision: Decision | null };

/** Judges one standing as things are now. Pure. */
export function fallen(standing: Standing, world: Pick<PlanWorld, "mesh" | "judge">): Fall | null {
  if (standing.source !== null) {
    const source = world.mesh.workload(standing.source.uid);
    if (source?.identity.text !== standing.source.identity) return { refusal: "unknown-source", decision: null };
  }
  const { judged } = standing;
  if (judged === null) return null;
  const destination = world.mesh.workload(judged.destinationUid);
  // Nobody left to judge for: its policies cannot be known, so it does not stand.
  if (destination === undefined) return { refusal: "unknown-pod", decision: null };
  const decision = world.judge({ ...judged, destination });
  return decision.verdict === "allow" ? null : { refusal: "policy", decision };
}

/** What the store says of a change; a Service's change touches nothing that is open. */
export type Change = Pick<MeshChange, "workloads" | "authorizationPolicies" | "peerAuthentications">;

/** Connections that no rule can tell apart: one judgement serves them all. */
type Group = { readonly key: string; readonly standing: Standing; readonly members: Set<Connection> };

export class LiveConnections {
  readonly #byKey = new Map<string, Group>();
  readonly #byWorkload = new Map<string, Set<Group>>();
  readonly #groupOf = new Map<Connection, Group>();

  /** Called before the first judgement, so that no change can fall between judging and registering. */
  add(connection: Connection, standing: Standing): void {
    this.remove(connection);
    const key = keyOf(standing);
    let group = this.#byKey.get(key);
    if (group === undefined) {
      group = { key, standing, members: new Set() };
      this.#byKey.set(key, group);
      for (const uid of workloadsOf(standing)) {
        const groups = this.#byWorkload.get(uid) ?? new Set();
        groups.add(group);
        this.#byWorkload.set(uid, groups);
      }
    }
    group.members.add(connection);
    this.#groupOf.set(connection, group);
  }

  remove(connection: Connection): void {
    const group = this.#groupOf.get(connection);
    if (group === undefined) return;
    this.#groupOf.delete(connection);
    group.members.delete(connection);
    if (group.members.size > 0) return;
    this.#byKey.delete(group.key);
    for (const uid of workloadsOf(group.standing)) {
      const groups = this.#byWorkload.get(uid);
      groups?.delete(group);
      if (groups?.size === 0) this.#byWorkload.delete(uid);
    }
  }

  /**
   * Judges again whatever `change` (already applied) may have touched; the fallen, each with why. What cannot be judged
   * because of a fault of ours does not stand either; `fault` is told.
   */
  rejudge(
    change: Change,
    world: Pick<PlanWorld, "mesh" | "judge">,
    fault: (error: unknown) => void,
  ): { readonly connection: Connection; readonly fall: Fall }[] {
    const list: { readonly connection: Connection; readonly fall: Fall }[] = [];
    for (const group of this.#touched(change, world.mesh)) {
      const fall = judged(group.standing, world, fault);
      if (fall !== null) for (const connection of group.members) list.push({ connection, fall });
    }
    return list;
  }

  #touched(change: Change, mesh: Snapshot): Set<Group> {
    const touched = new Set<Group>();
    for (const uid of change.workloads) for (const group of this.#byWorkload.get(uid) ?? []) touched.add(group);
    const namespaces = new Set([...change.authorizationPolicies, ...change.peerAuthentications].map(namespaceOf));
    if (namespaces.size === 0) return touched;
    // Within its namespace a policy may select anything, now or before the change; of the root namespace, everything.
    const everywhere = namespaces.has(mesh.rootNamespace);
    for (const group of this.#byKey.values()) {
      const { judged } = group.standing;
      if (judged === null) continue;
      const destination = mesh.workload(judged.destinationUid);
      if (everywhere || destination === undefined || namespaces.has(destination.namespace)) touched.add(group);
    }
    return touched;
  }
}

function judged(
  standing: Standing,
  world: Pick<PlanWorld, "mesh" | "judge">,
  fault: (error: unknown) => void,
): Fall | null {
  try {
    return fallen(standing, world);
  } catch (error) {
    fault(error);
    return { refusal: "fault", decision: null };
  }
}

/** Of `<namespace>/<name>`. */
const namespaceOf = (key: string): string => key.slice(0, key.indexOf("/"));

function workloadsOf(standing: Standing): readonly string[] {
  const uids: string[] = [];
  if (standing.source !== null) uids.push(standing.source.uid);
  if (standing.judged !== null) uids.push(standing.judged.destinationUid);
  return uids;
}

// Without the source port: no rule can see it, and it alone would put each connection into a group of its own.
function keyOf({ source, judged }: Standing): string {
  const own = source === null ? "" : `${source.uid} ${source.identity}`;
  if (judged === null) return own;
  const { destinationUid, sourceAddress, sourceIdentity, destinationAddress, destinationPort, security } = judged;
  return `${own}|${destinationUid} ${sourceAddress} ${sourceIdentity?.text ?? ""} ${destinationAddress} ${destinationPort} ${security}`;
}
