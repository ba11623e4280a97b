// Requests whose words come again and again, while policies, workloads and their labels change between them: the verdict that is remembered
// is the verdict of an evaluator that remembers nothing, at each step. ORLOP_PAIRS of them, with new fields each time.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { requestFacts } from "../../agent/l7/request-facts.ts";
import { HeadWords } from "../../agent/mesh/head-words.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { judge } from "../../agent/plan/judge-connection.ts";
import { type Evaluator, evaluatorOf } from "../../agent/policy/evaluate.ts";
import { judgeRequest } from "../../agent/policy/judge-request.ts";
import { RequestVerdicts } from "../../agent/policy/request-verdicts.ts";
import { Dice } from "../support/dice.ts";
import {
  randomFacts,
  randomPeerAuthentication,
  randomPolicy,
  randomTrustDomain,
  randomWorkloads,
  rootNamespace,
} from "./random-mesh.ts";
import { factsOf, randomRequest } from "./random-request.ts";

const wanted = Number(process.env.ORLOP_PAIRS ?? 100_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
/** Percentage of operations, for each list of HTTP. */
const ABOUT_REQUESTS = 25;
const CONNECTIONS = 2;
const WORDS = 6;
const STEPS = 400;
/** Of steps, in percent. */
const CHANGES = 2;

test(`${wanted} repeated requests: what is remembered is what holds (ORLOP_SEED=${seed})`, (t) => {
  const dice = new Dice(seed);
  const counts = { asked: 0, judged: 0, changed: 0, allow: 0, deny: 0 };
  while (counts.asked < wanted) oneWorld(dice, counts);
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.judged < counts.asked * 0.8, `most verdicts were found anew, seed ${seed}`);
  for (const verdict of ["allow", "deny"] as const)
    assert.ok(counts[verdict] > counts.asked / 50, `${verdict}: ${counts[verdict]}, seed ${seed}`);
});

type Counts = { asked: number; judged: number; changed: number; allow: number; deny: number };

function oneWorld(dice: Dice, counts: Counts): void {
  const trustDomain = randomTrustDomain(dice);
  let workloads = randomWorkloads(dice, trustDomain);
  const store = new MeshStore({ rootNamespace, trustDomain });
  const policy = (): MeshUpdate => ({
    ...{ kind: "authorization-policy", op: "upsert" },
    value: randomPolicy(dice, dice.pick(["p1", "p2", "p3"]), workloads, ABOUT_REQUESTS),
  });
  store.apply([
    ...workloads.map((value): MeshUpdate => ({ kind: "workload", op: "upsert", value })),
    policy(),
    policy(),
  ]);
  const change = (): MeshUpdate => {
    if (dice.chance(60)) return policy();
    if (dice.chance(30))
      return { kind: "peer-authentication", op: "upsert", value: randomPeerAuthentication(dice, "peers", workloads) };
    workloads = workloads.map((each) => (dice.chance(30) ? { ...each, labels: dice.pick(workloads).labels } : each));
    return { kind: "workload", op: "upsert", value: dice.pick(workloads) };
  };
  const counted = evaluatorOf(store);
  const asThread = ({ judge: judgeAny, readsPaths }: Evaluator): Pick<Evaluator, "judge" | "readsPaths"> => ({
    judge: (facts) => judge(facts, { mesh: store, judge: judgeAny }),
    readsPaths,
  });
  const verdicts = new RequestVerdicts(store, {
    ...asThread(counted),
    judge: (facts) => {
      counts.judged += 1;
      return asThread(counted).judge(facts);
    },
  });
  const connections = Array.from({ length: CONNECTIONS }, () => randomFacts(dice, workloads));
  let alike = dice.pick(connections);
  const known = Array.from({ length: WORDS }, () => {
    const { method, target, authority } = randomRequest(dice);
    const words = new HeadWords({ method, target, authority });
    words.isRepeated = true;
    return words;
  });
  for (let step = 0; step < STEPS; step += 1) {
    if (dice.chance(CHANGES)) {
      store.apply([change()]);
      counts.changed += 1;
    }
    if (dice.chance(30)) alike = dice.pick(connections);
    const destination = store.workload(alike.destination.uid);
    if (destination === undefined) continue;
    const words = dice.pick(known);
    const { method, target, authority } = words;
    const { header } = factsOf(randomRequest(dice));
    const request = requestFacts({ method, target, authority, words, header });
    const connection = { ...alike, destination };
    const remembered = verdicts.of(connection, alike, request, words);
    const anew = judgeRequest(
      connection,
      requestFacts({ method, target, authority, header }),
      asThread(evaluatorOf(store)),
    );
    assert.deepEqual(remembered, anew, `seed ${seed}, request ${counts.asked}`);
    counts.asked += 1;
    counts[anew.verdict] += 1;
  }
}
