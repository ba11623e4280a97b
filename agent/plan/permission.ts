// 9 again · any thread · what an open connection was allowed on, and whether that still holds. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Decision } from "../policy/decision.ts";
import type { Refusal } from "./outcome.ts";
import type { PlanWorld } from "./plan.ts";

/** What a connection stands on. Workloads by uid, so that they are looked up as they are now. */
export type Permission = {
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

/** The permission of a connection with these facts. */
export function permissionOf(source: Workload | null, facts: ConnectionFacts | null): Permission {
  return {
    source: source === null ? null : { uid: source.uid, identity: source.identity.text },
    judged: facts === null ? null : { ...facts, destinationUid: facts.destination.uid },
  };
}

/** Why it must end, or null: it still stands. */
export type Revocation = { readonly refusal: Refusal; readonly decision: Decision | null };

/** Judges one permission as things are now. Pure. */
export function revocationOf(permission: Permission, world: Pick<PlanWorld, "mesh" | "judge">): Revocation | null {
  if (permission.source !== null) {
    const source = world.mesh.workload(permission.source.uid);
    if (source?.identity.text !== permission.source.identity) return { refusal: "unknown-source", decision: null };
  }
  const { judged } = permission;
  if (judged === null) return null;
  const destination = world.mesh.workload(judged.destinationUid);
  // Nobody left to judge for: its policies cannot be known, so it does not stand.
  if (destination === undefined) return { refusal: "unknown-pod", decision: null };
  const decision = world.judge({ ...judged, destination });
  return decision.verdict === "allow" ? null : { refusal: "policy", decision };
}
