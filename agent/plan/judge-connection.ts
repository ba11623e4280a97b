// 9, 12 · any thread · a connection, or a request on it, before the evaluator. Plaintext is judged as from nobody, and as from the
// member of the mesh that has the caller's address. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Decision, Settled } from "../policy/decision.ts";
import type { Evaluator } from "../policy/evaluate.ts";

type JudgeWorld = { readonly mesh: Pick<Snapshot, "workloadAt" | "rivalsAt"> } & Pick<Evaluator, "judge"> &
  Partial<Pick<Evaluator, "settle">>;

/**
 * `decision` is of the connection alone; `settled` says whether it holds for all requests. Without `world.settle` requests are not
 * read, so the connection's decision settles all.
 */
export function judgeConnection(
  facts: ConnectionFacts,
  world: JudgeWorld,
): { readonly decision: Decision; readonly settled: Settled } {
  const decision = judge(facts, world);
  const { settle } = world;
  if (settle === undefined) return { decision, settled: decision.verdict };
  // What one caller would be denied, whatever it asked for, is denied; and what must be read of one is read of all.
  const all = callersOf(facts, world).map(settle);
  const settled = all.includes("deny") ? "deny" : all.includes("http") ? "http" : "allow";
  return { decision, settled };
}

/**
 * Nothing proves who calls in plaintext, so an address earns nobody anything. But it may be a reason to refuse: a pod that was
 * called, or that called, before it was captured must not keep in plaintext what it would be denied as itself.
 */
export function judge(facts: ConnectionFacts, world: JudgeWorld): Decision {
  if (facts.security !== "none") return world.judge(facts);
  const [first, ...others] = callersOf(facts, world);
  const decision = world.judge(first);
  if (decision.verdict === "deny") return decision;
  for (const other of others) {
    const asOther = world.judge(other);
    if (asOther.verdict === "deny") return asOther;
  }
  return decision;
}

/** The caller as it proved itself, and of plaintext each member of the mesh that it may be, as if it had proved that. */
function callersOf(facts: ConnectionFacts, { mesh }: JudgeWorld): readonly [ConnectionFacts, ...ConnectionFacts[]] {
  if (facts.security !== "none") return [facts];
  const owner = mesh.workloadAt(facts.sourceAddress);
  const claimants = owner === undefined ? mesh.rivalsAt(facts.sourceAddress) : [owner];
  const members = claimants.filter(({ uid, protocol }) => protocol === "hbone" && uid !== facts.destination.uid);
  return [facts, ...members.map(({ identity }) => ({ ...facts, sourceIdentity: identity, security: "mtls" as const }))];
}
