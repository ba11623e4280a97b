// 9, 12 · any thread · plaintext that arrives for a pod: judged as from nobody, and as from the member of the mesh that has the
// caller's address. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Decision } from "../policy/decision.ts";
import type { Judge } from "../policy/evaluate.ts";

/**
 * Nothing proves who calls in plaintext, so an address earns nobody anything. But it may be a reason to refuse: a pod that was
 * called, or that called, before it was captured must not keep in plaintext what it would be denied as itself.
 */
export function judgePlaintext(
  facts: ConnectionFacts,
  world: { readonly mesh: Pick<Snapshot, "workloadAt" | "rivalsAt">; readonly judge: Judge },
): Decision {
  const decision = world.judge(facts);
  if (decision.verdict === "deny") return decision;
  for (const member of membersAt(facts.sourceAddress, world.mesh)) {
    if (member.uid === facts.destination.uid) continue;
    const asMember = world.judge({ ...facts, sourceIdentity: member.identity, security: "mtls" });
    if (asMember.verdict === "deny") return asMember;
  }
  return decision;
}

function membersAt(address: string, mesh: Pick<Snapshot, "workloadAt" | "rivalsAt">): readonly Workload[] {
  const owner = mesh.workloadAt(address);
  const claimants = owner === undefined ? mesh.rivalsAt(address) : [owner];
  return claimants.filter(({ protocol }) => protocol === "hbone");
}
