// The evaluator and the store's selection against the oracle: ORLOP_PAIRS random (policies, connection) pairs, no difference.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import type { Operation, Rule, Source } from "../../agent/mesh/policies.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import type { Decision, Miss, RuleRef } from "../../agent/policy/decision.ts";
import { judgeOf } from "../../agent/policy/evaluate.ts";
import { evaluate } from "../../agent/policy/policy.fake.ts";
import { Dice } from "../support/dice.ts";
import { ask, type OracleMesh, type OracleVerdict } from "./oracle.ts";
import {
  randomFacts,
  randomLabels,
  randomPeerAuthentication,
  randomPolicy,
  randomTrustDomain,
  randomWorkloads,
  rootNamespace,
} from "./random-mesh.ts";

const wantedPairs = Number(process.env.ORLOP_PAIRS ?? 1_000_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
/** Connections judged between two changes of the policies. */
const CONNECTIONS = 20;

type Tally = { pairs: number; readonly verdicts: Map<string, number> };

test(`${wantedPairs} random pairs: no difference from the oracle (ORLOP_SEED=${seed})`, () => {
  const dice = new Dice(seed);
  const tally: Tally = { pairs: 0, verdicts: new Map() };
  while (tally.pairs < wantedPairs) oneWorld(dice, tally);
  // A generator that only ever allows, or only ever refuses, would prove nothing.
  for (const outcome of ["allow", "allow-by-rule", "denied-by-policy", "no-allow-matched", "mtls-required"]) {
    const share = (tally.verdicts.get(outcome) ?? 0) / tally.pairs;
    assert.ok(share > 0.01, `${outcome} in ${(share * 100).toFixed(2)} % of pairs, seed ${seed}`);
  }
});

/** One mesh whose policies change a few times; the judge must notice each change. */
function oneWorld(dice: Dice, tally: Tally): void {
  const trustDomain = randomTrustDomain(dice);
  const workloads = randomWorkloads(dice, trustDomain);
  const store = new MeshStore({ rootNamespace, trustDomain });
  store.apply(workloads.map((value): MeshUpdate => ({ kind: "workload", op: "upsert", value })));
  const judge = judgeOf(store);
  for (let change = 0; change < 3; change += 1) {
    store.apply(Array.from({ length: 1 + dice.roll(4) }, () => randomChange(dice, store)));
    for (let index = 0; index < CONNECTIONS; index += 1) onePair(dice, store, judge, tally);
  }
}

function randomChange(dice: Dice, store: MeshStore): MeshUpdate {
  const destinations = [...store.workloads()];
  const name = dice.pick(["p1", "p2", "p3", "p4"]);
  if (dice.chance(30)) {
    return { kind: "peer-authentication", op: "upsert", value: randomPeerAuthentication(dice, name, destinations) };
  }
  const [moved] = destinations;
  if (moved !== undefined && dice.chance(15)) {
    return { kind: "workload", op: "upsert", value: { ...moved, labels: randomLabels(dice) } };
  }
  const [first] = store.authorizationPolicies();
  if (first !== undefined && dice.chance(15)) {
    return { kind: "authorization-policy", op: "remove", key: `${first.namespace}/${first.name}` };
  }
  return { kind: "authorization-policy", op: "upsert", value: randomPolicy(dice, name, destinations) };
}

function onePair(dice: Dice, store: MeshStore, judge: ReturnType<typeof judgeOf>, tally: Tally): void {
  const facts = randomFacts(dice, [...store.workloads()]);
  const mesh = {
    authorizationPolicies: [...store.authorizationPolicies()],
    peerAuthentications: [...store.peerAuthentications()],
    rootNamespace,
    trustDomain: store.trustDomain,
  };
  const wanted = ask(facts, mesh);
  const decision = judge(facts);
  if (!agrees(decision, wanted)) {
    assert.fail(`seed ${seed}, pair ${tally.pairs}\n${JSON.stringify({ wanted, decision, facts, mesh }, null, 1)}`);
  }
  if (tally.pairs % 8 === 0) {
    const traced = judge(facts, { trace: true });
    assert.deepEqual({ ...traced, steps: [] }, decision, `seed ${seed}, pair ${tally.pairs}: traced`);
    assert.ok(traced.steps.some(({ status }) => status === "decides"));
    const context = {
      ...mesh,
      authorizationPolicies: store.authorizationPoliciesFor(facts.destination),
      peerAuthentications: store.peerAuthenticationsFor(facts.destination),
    };
    assert.deepEqual(evaluate(facts, context), decision, `seed ${seed}, pair ${tally.pairs}: without caches`);
  }
  if (decision.verdict === "deny" && decision.reason === "no-allow-matched")
    holdMiss(decision.nearestMiss, facts, mesh);
  const outcome = wanted.reason || (wanted.by === "" ? "allow" : "allow-by-rule");
  tally.verdicts.set(outcome, (tally.verdicts.get(outcome) ?? 0) + 1);
  tally.pairs += 1;
}

/** "The one change that would have allowed it": with that field gone from that rule, the oracle allows. */
function holdMiss(misses: readonly Miss[], facts: ConnectionFacts, mesh: OracleMesh): void {
  const [miss] = misses;
  // What no judge of connections sees, and an entry without fields, no change of a field mends.
  if (miss === undefined || misses.length > 1 || /HTTP|empty|unreadable/.test(miss.got)) return;
  const changed = mesh.authorizationPolicies.map((policy) => {
    if (policy.namespace !== miss.rule.namespace || policy.name !== miss.rule.name) return policy;
    const rules = policy.rules.map((rule, index) => (index === miss.rule.rule ? without(rule, miss.field) : rule));
    return { ...policy, rules };
  });
  const { verdict } = ask(facts, { ...mesh, authorizationPolicies: changed });
  assert.equal(verdict, "allow", `seed ${seed}: without ${miss.field} of ${written(miss.rule)}`);
}

/** The rule with this field no longer asking for anything. An entry of nothing else would become "nobody": then no entry. */
function without(rule: Rule, field: string): Rule {
  const [part = "", name = ""] = field.split(".");
  const cut = <T extends Source | Operation>(entries: readonly T[]): readonly T[] => {
    const left = entries.map((entry): T => ({ ...entry, [name]: [] }));
    return left.some((entry) => Object.values(entry).flat().length === 0) ? [] : left;
  };
  if (part === "source") return { ...rule, sources: cut(rule.sources) };
  if (part === "operation") return { ...rule, operations: cut(rule.operations) };
  return { ...rule, when: rule.when.filter(({ key }) => `when ${key}` !== field) };
}

function agrees(decision: Decision, wanted: OracleVerdict): boolean {
  return (
    decision.verdict === wanted.verdict &&
    (decision.verdict === "deny" ? decision.reason : "") === wanted.reason &&
    (decision.decidedBy === null ? "" : written(decision.decidedBy)) === wanted.by &&
    decision.audited.map(written).join() === wanted.audited.join() &&
    decision.dryRunDenied.map(written).join() === wanted.dryRunDenied.join()
  );
}

function written({ namespace, name, rule }: RuleRef): string {
  return rule < 0 ? `${namespace}/${name}` : `${namespace}/${name}[${rule}]`;
}
