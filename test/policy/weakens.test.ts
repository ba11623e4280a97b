// Edits of a mesh that are judged to weaken nothing open nothing: ORLOP_EDITS random edits of random meshes, as values, each asked of the
// oracle before and after with random connections and requests. What files make of it is in drafts.test.ts.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import type { Replacement, Upsert } from "../../agent/control/kinds/assembly.ts";
import { weakenings } from "../../agent/control/weakens.ts";
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "../../agent/mesh/policies.ts";
import type { Workload } from "../../agent/mesh/workload.ts";
import { Dice } from "../support/dice.ts";
import { ask, type OracleMesh } from "./oracle.ts";
import {
  randomFacts,
  randomLabels,
  randomPeerAuthentication,
  randomPolicy,
  randomWorkloads,
  rootNamespace,
} from "./random-mesh.ts";
import { randomRequest } from "./random-request.ts";

const wantedEdits = Number(process.env.ORLOP_EDITS ?? 15_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const CONNECTIONS = 30;

type Mesh = {
  readonly workloads: readonly Workload[];
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  readonly peerAuthentications: readonly PeerAuthentication[];
};

const oracle = (mesh: Mesh): OracleMesh => ({ ...mesh, rootNamespace, trustDomain: "cluster.local" });

function randomMesh(dice: Dice): Mesh {
  const workloads = randomWorkloads(dice, "cluster.local");
  return {
    workloads,
    authorizationPolicies: ["p1", "p2"]
      .filter(() => dice.chance(60))
      .map((name) => randomPolicy(dice, name, workloads, dice.pick([4, 30]))),
    peerAuthentications: ["m1", "m2"]
      .filter(() => dice.chance(70))
      .map((name) => randomPeerAuthentication(dice, name, workloads)),
  };
}

/** The object with one field as another has it; never another object. */
function withOneField<T extends object>(dice: Dice, value: T, other: T, fields: readonly (keyof T)[]): T {
  const field = dice.pick(fields);
  return { ...value, [field]: other[field] };
}

function otherPolicy(dice: Dice, policy: AuthorizationPolicy, mesh: Mesh): AuthorizationPolicy {
  const other = randomPolicy(dice, policy.name, mesh.workloads);
  if (dice.chance(50)) {
    const kept = policy.rules.filter(() => dice.chance(70));
    return { ...policy, rules: [...kept, ...dice.some(50, 1, () => other.rules).flat()] };
  }
  return withOneField(dice, policy, other, ["selector", "selector", "action", "dryRun", "rules"]);
}

function otherPeers(dice: Dice, peers: PeerAuthentication, mesh: Mesh): PeerAuthentication {
  const other = randomPeerAuthentication(dice, peers.name, mesh.workloads);
  return withOneField(dice, peers, other, ["selector", "mode", "mode", "portLevel"]);
}

/** Each object as it was, other, or gone; then those that are added. Mostly a single object is not as it was. */
function edited<T>(dice: Dice, values: readonly T[], change: (value: T) => T, add: () => T): readonly T[] {
  const kept = values.flatMap((value): readonly T[] => {
    if (dice.chance(60)) return [value];
    return dice.chance(10) ? [] : [change(value)];
  });
  return [...kept, ...dice.some(20, 1, add)];
}

function randomEdit(dice: Dice, mesh: Mesh): Mesh {
  const { workloads, authorizationPolicies, peerAuthentications } = mesh;
  const added = (): string => dice.pick(["a1", "z1"]);
  return {
    workloads: workloads.map((workload) => (dice.chance(90) ? workload : { ...workload, labels: randomLabels(dice) })),
    authorizationPolicies: edited(
      dice,
      authorizationPolicies,
      (policy) => otherPolicy(dice, policy, mesh),
      () => randomPolicy(dice, added(), workloads),
    ),
    peerAuthentications: edited(
      dice,
      peerAuthentications,
      (peers) => otherPeers(dice, peers, mesh),
      () => randomPeerAuthentication(dice, added(), workloads),
    ),
  };
}

function upserts({ workloads, authorizationPolicies, peerAuthentications }: Mesh): ReadonlyMap<string, Upsert> {
  const all: readonly Upsert[] = [
    ...workloads.map((value) => ({ kind: "workload", op: "upsert", value }) as const),
    ...authorizationPolicies.map((value) => ({ kind: "authorization-policy", op: "upsert", value }) as const),
    ...peerAuthentications.map((value) => ({ kind: "peer-authentication", op: "upsert", value }) as const),
  ];
  return new Map(all.map((upsert) => [`${upsert.kind} ${upsert.value.namespace}/${upsert.value.name}`, upsert]));
}

function replacements(before: Mesh, after: Mesh): readonly Replacement[] {
  const [was, now] = [upserts(before), upserts(after)];
  return [...new Set([...was.keys(), ...now.keys()])].map((id) => ({ before: was.get(id), after: now.get(id) }));
}

function asNow({ workloads }: Mesh, facts: ConnectionFacts): ConnectionFacts {
  return { ...facts, destination: workloads.find(({ uid }) => uid === facts.destination.uid) ?? facts.destination };
}

test(`${wantedEdits} edits: what weakens nothing opens nothing (ORLOP_SEED=${seed})`, (t) => {
  const dice = new Dice(seed);
  const tally = { weakening: 0, opening: 0, tightening: 0, closing: 0 };
  for (let edits = 0; edits < wantedEdits; edits += 1) {
    const before = randomMesh(dice);
    const after = randomEdit(dice, before);
    const policies = { rootNamespace, authorizationPolicies: () => before.authorizationPolicies };
    const found = weakenings(policies, replacements(before, after));
    const verdicts = Array.from({ length: CONNECTIONS }, () => {
      const facts = randomFacts(dice, before.workloads);
      const request = dice.chance(30) ? randomRequest(dice) : undefined;
      const [was, now] = [ask(facts, oracle(before), request), ask(asNow(after, facts), oracle(after), request)];
      return { facts, was: was.verdict, now: now.verdict };
    });
    const opened = verdicts.find(({ was, now }) => was === "deny" && now === "allow");
    const closed = verdicts.some(({ was, now }) => was === "allow" && now === "deny");
    if (found.length > 0) tally.weakening += 1;
    else tally.tightening += 1;
    if (found.length > 0 && opened !== undefined) tally.opening += 1;
    if (found.length === 0 && closed) tally.closing += 1;
    assert.ok(
      found.length > 0 || opened === undefined,
      `seed ${seed}: ${JSON.stringify({ facts: opened?.facts, before, after }, null, 1)}`,
    );
  }
  t.diagnostic(JSON.stringify(tally));
  // A judgement that finds a weakening everywhere, and edits that change no verdict, would prove nothing.
  assert.ok(tally.closing > wantedEdits * 0.02, `${tally.closing} edits that weaken nothing closed something`);
  assert.ok(tally.opening > wantedEdits * 0.05, `${tally.opening} edits that may weaken opened something`);
});

test("a namespace that lets other proxies' fields through again weakens; one that takes them out does not", () => {
  const [value] = randomWorkloads(new Dice(1), "cluster.local");
  assert.ok(value !== undefined);
  const upsert = (removesProxyHeaders: boolean): Upsert => ({
    ...{ kind: "workload", op: "upsert" },
    value: { ...value, protocol: "hbone", removesProxyHeaders },
  });
  const policies = { rootNamespace, authorizationPolicies: () => [] };
  assert.equal(weakenings(policies, [{ before: upsert(true), after: upsert(false) }]).length, 1);
  assert.equal(weakenings(policies, [{ before: upsert(false), after: upsert(true) }]).length, 0);
});
