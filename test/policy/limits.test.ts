// Limits against the oracle: a limit counts exactly the requests that a DENY with its match would refuse, and where it would count any request
// of a connection, the connection is read, or allowed to nobody; ORLOP_LIMIT_PAIRS random (connection, request) pairs.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import type { LimitPolicy } from "../../agent/mesh/limit-policy.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { counts } from "../../agent/policy/compile-limit.ts";
import { evaluatorOf } from "../../agent/policy/evaluate.ts";
import { judgeRequest } from "../../agent/policy/judge-request.ts";
import { RequestLimits, withLimits } from "../../agent/policy/limits.ts";
import { Dice } from "../support/dice.ts";
import { ask } from "./oracle.ts";
import { randomFacts, randomPolicy, randomTrustDomain, randomWorkloads, rootNamespace } from "./random-mesh.ts";
import { factsOf, randomRequest } from "./random-request.ts";

const wantedPairs = Number(process.env.ORLOP_LIMIT_PAIRS ?? 100_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const CONNECTIONS = 12;
const REQUESTS = 5;

type Tally = { pairs: number; counted: number; refused: number; denied: number };

function oneWorld(dice: Dice, tally: Tally): void {
  const trustDomain = randomTrustDomain(dice);
  const workloads = randomWorkloads(dice, trustDomain);
  const policies = ["p1", "p2"].filter(() => dice.chance(40)).map((name) => randomPolicy(dice, name, workloads, 30));
  const limits = ["l1", "l2", "l3"].flatMap((name): readonly LimitPolicy[] => {
    const { namespace, selector, rules } = randomPolicy(dice, name, workloads, 30);
    const [match] = rules;
    if (match === undefined) return [];
    const mode = dice.pick(["enforce", "enforce", "shadow", "standby"] as const);
    const rate = { requests: 1, unitMs: 3_600_000, burst: 1, per: dice.some(50, 1, () => ({ by: "source" }) as const) };
    return [{ name, namespace, selector, match, mode, priority: dice.roll(2), ...rate, from: nowhere }];
  });
  const store = new MeshStore({ rootNamespace, trustDomain });
  store.apply([
    ...workloads.map((value): MeshUpdate => ({ kind: "workload", op: "upsert", value })),
    ...policies.map((value): MeshUpdate => ({ kind: "authorization-policy", op: "upsert", value })),
    ...limits.map((value): MeshUpdate => ({ kind: "limit-policy", op: "upsert", value })),
  ]);
  const evaluator = evaluatorOf(store);
  const judge = new RequestLimits(() => 1n).judgeBy(evaluator.limitsOf);
  for (let index = 0; index < CONNECTIONS; index += 1) {
    const facts = randomFacts(dice, workloads);
    const settled = evaluator.settle(facts);
    const strict = evaluator.judge(facts);
    for (let nth = 0; nth < REQUESTS; nth += 1) {
      const request = randomRequest(dice);
      const asked = { ...facts, request: factsOf(request) };
      const who = facts.security === "none" ? null : facts.sourceIdentity;
      const words = (): string =>
        `seed ${seed}, pair ${tally.pairs}: ${JSON.stringify({ facts, request, limits, policies })}`;
      const found = evaluator.limitsOf(facts.destination).filter((limit) => counts(limit, asked, who));
      const wanted = limits.filter(({ mode, match, name, namespace, selector }) => {
        if (mode === "standby") return false;
        const denying = {
          name,
          namespace,
          selector,
          action: "DENY",
          dryRun: false,
          rules: [match],
          from: nowhere,
        } as const;
        const alone = { authorizationPolicies: [denying], peerAuthentications: [], rootNamespace, trustDomain };
        return ask(asked, alone, request).verdict === "deny";
      });
      assert.deepEqual(
        new Set(found.map(({ policy }) => policy.name)),
        new Set(wanted.map(({ name }) => name)),
        words(),
      );
      const allowed = judgeRequest(facts, asked.request, evaluator);
      tally.pairs += 1;
      if (allowed.verdict === "deny") tally.denied += 1;
      if (found.length === 0 || allowed.verdict === "deny") continue;
      tally.counted += 1;
      // Nothing that would be counted passes unread, also where a connection is no HTTP/1.1.
      assert.equal(settled, "http", words());
      assert.ok(evaluator.httpNeed(facts.destination, facts.destinationPort).isRead, words());
      if (found.some(({ isShadow }) => !isShadow)) assert.equal(strict.verdict, "deny", words());
      const verdict = withLimits(allowed, judge(facts, asked.request));
      if (verdict.verdict === "deny") {
        tally.refused += 1;
        assert.ok(
          found.some(({ name }) => name === `${verdict.decidedBy?.namespace}/${verdict.decidedBy?.name}`),
          words(),
        );
      }
    }
  }
}

test(`${wantedPairs} random requests: limits count what their match names, and nothing that they count is unread (ORLOP_SEED=${seed})`, (t) => {
  const dice = new Dice(seed);
  const tally: Tally = { pairs: 0, counted: 0, refused: 0, denied: 0 };
  while (tally.pairs < wantedPairs) oneWorld(dice, tally);
  t.diagnostic(JSON.stringify(tally));
  for (const share of [tally.counted, tally.refused, tally.denied])
    assert.ok(share > tally.pairs / 50, JSON.stringify(tally));
});
