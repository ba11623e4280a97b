// Requests against the oracle: ORLOP_PAIRS random (connection, request) pairs. The exact reading is the oracle's; what a connection
// settles holds for each of its requests, and none is left unread that has to be read; a trace, and a judge without memory, say the same.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import type { AuthorizationPolicy, Operation } from "../../agent/mesh/policies.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import type { Decision, RuleRef, Settled } from "../../agent/policy/decision.ts";
import { type Evaluator, evaluatorOf } from "../../agent/policy/evaluate.ts";
import { judgeRequest } from "../../agent/policy/judge-request.ts";
import { evaluate } from "../../agent/policy/policy.fake.ts";
import { Dice } from "../support/dice.ts";
import { ask, type OracleMesh, type OracleVerdict } from "./oracle.ts";
import {
  randomFacts,
  randomPeerAuthentication,
  randomPolicy,
  randomTrustDomain,
  randomWorkloads,
  rootNamespace,
} from "./random-mesh.ts";
import { factsOf, randomRequest } from "./random-request.ts";
import type { OracleRequest } from "./request-oracle.ts";

const wantedPairs = Number(process.env.ORLOP_PAIRS ?? 1_000_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const CONNECTIONS = 12;
const REQUESTS = 5;
/** Percentage of operations, for each list of HTTP. */
const ABOUT_REQUESTS = 30;
/** A trace is asked for, and a judge without memory, for one pair in so many. */
const TRACED = 8;

type Tally = {
  pairs: number;
  readonly outcomes: Map<string, number> /** Beside the outcomes, what else was met. */;
  readonly beside: Map<string, number>;
};
type World = { readonly mesh: OracleMesh; readonly store: MeshStore; readonly evaluator: Evaluator };

test(`${wantedPairs} random requests: the oracle, settle and the trace agree (ORLOP_SEED=${seed})`, (t) => {
  const dice = new Dice(seed);
  const tally: Tally = { pairs: 0, outcomes: new Map(), beside: new Map() };
  while (tally.pairs < wantedPairs) oneWorld(dice, tally);
  t.diagnostic(JSON.stringify(Object.fromEntries([...tally.outcomes, ...tally.beside].toSorted())));
  // Requests that are all decided by their connection, or all in one way, would prove nothing.
  for (const outcome of ["allow", "deny", "http allow", "http deny"]) {
    const share = (tally.outcomes.get(outcome) ?? 0) / tally.pairs;
    assert.ok(share > 0.02, `${outcome} in ${(share * 100).toFixed(2)} % of pairs, seed ${seed}`);
  }
  for (const reason of ["ambiguous-path", "ambiguous-host"])
    assert.ok(tally.beside.has(reason), `${reason}, seed ${seed}`);
});

function oneWorld(dice: Dice, tally: Tally): void {
  const trustDomain = randomTrustDomain(dice);
  const workloads = randomWorkloads(dice, trustDomain);
  const policies = ["p1", "p2", "p3", "p4"]
    .filter(() => dice.chance(60))
    .map((name) => randomPolicy(dice, name, workloads, ABOUT_REQUESTS));
  const peers = dice.chance(30) ? [randomPeerAuthentication(dice, "peers", workloads)] : [];
  const store = new MeshStore({ rootNamespace, trustDomain });
  store.apply([
    ...workloads.map((value): MeshUpdate => ({ kind: "workload", op: "upsert", value })),
    ...policies.map((value): MeshUpdate => ({ kind: "authorization-policy", op: "upsert", value })),
    ...peers.map((value): MeshUpdate => ({ kind: "peer-authentication", op: "upsert", value })),
  ]);
  const mesh: OracleMesh = { authorizationPolicies: policies, peerAuthentications: peers, rootNamespace, trustDomain };
  const world: World = { mesh, store, evaluator: evaluatorOf(store) };
  for (let index = 0; index < CONNECTIONS; index += 1) {
    oneConnection(dice, randomFacts(dice, workloads), world, tally);
  }
  holdUnseen(dice, workloads, world);
}

function oneConnection(dice: Dice, facts: ConnectionFacts, world: World, tally: Tally): void {
  const { judge, settle, httpNeed } = world.evaluator;
  // The memory of verdicts must not depend on what is asked first.
  const first = dice.chance(50) ? settle(facts) : null;
  const strict = judge(facts);
  const settled = settle(facts);
  assert.ok(first === null || first === settled);
  const words = `seed ${seed}, pair ${tally.pairs}`;
  const need = httpNeed(facts.destination, facts.destinationPort);
  if (settled === "http" && !need.isRead) {
    assert.fail(`${words}: not read\n${JSON.stringify({ need, facts, mesh: world.mesh }, null, 1)}`);
  }
  const needed = need.isRead ? `read ${settled}` : "not read";
  tally.beside.set(needed, (tally.beside.get(needed) ?? 0) + 1);
  if (!agrees(strict, ask(facts, world.mesh))) {
    assert.fail(`${words}: strict\n${JSON.stringify({ strict, facts, mesh: world.mesh }, null, 1)}`);
  }
  for (let index = 0; index < REQUESTS; index += 1) {
    const request = randomRequest(dice);
    const decision = oneRequest({ ...facts, request: factsOf(request) }, request, world, tally);
    if (!holdsSettled(settled, strict, decision)) {
      assert.fail(
        `${words}: settled ${settled}\n${JSON.stringify({ strict, decision, facts, request, mesh: world.mesh }, null, 1)}`,
      );
    }
    const reason = decision.verdict === "deny" ? decision.reason : "";
    if (reason.startsWith("ambiguous")) tally.beside.set(reason, (tally.beside.get(reason) ?? 0) + 1);
    const outcome = settled === "http" ? `http ${decision.verdict}` : settled;
    tally.outcomes.set(outcome, (tally.outcomes.get(outcome) ?? 0) + 1);
    tally.pairs += 1;
  }
}

function oneRequest(facts: ConnectionFacts, request: OracleRequest, world: World, tally: Tally): Decision {
  const { mesh, store, evaluator } = world;
  const decision = evaluator.judge(facts);
  holdAnswer(facts, decision, evaluator);
  const words = `seed ${seed}, pair ${tally.pairs}`;
  const wanted = ask(facts, mesh, request);
  if (!agrees(decision, wanted)) {
    assert.fail(`${words}\n${JSON.stringify({ wanted, decision, facts, request, mesh }, null, 1)}`);
  }
  if (tally.pairs % TRACED === 0) {
    const traced = evaluator.judge(facts, { trace: true });
    assert.deepEqual({ ...traced, steps: [] }, decision, `${words}: traced`);
    assert.ok(traced.steps.some(({ status }) => status === "decides"));
    const context = {
      ...mesh,
      authorizationPolicies: store.authorizationPoliciesFor(facts.destination),
      peerAuthentications: store.peerAuthenticationsFor(facts.destination),
    };
    assert.deepEqual(evaluate(facts, context), decision, `${words}: without caches`);
  }
  return decision;
}

/** Settled "allow": this request was allowed, with the reports of its connection. Settled "deny": it was denied. */
function holdsSettled(settled: Settled, strict: Decision, decision: Decision): boolean {
  if (settled === "http") return true;
  if (settled !== strict.verdict || settled !== decision.verdict) return false;
  return settled === "deny" || reportsOf(strict) === reportsOf(decision);
}

/** Without what a request shows, no connection is "http": fields that cannot be seen never make requests be read. */
function holdUnseen(dice: Dice, workloads: ReturnType<typeof randomWorkloads>, { mesh, store }: World): void {
  const blind = new MeshStore({ rootNamespace, trustDomain: store.trustDomain });
  blind.apply(
    mesh.authorizationPolicies.map((policy): MeshUpdate => {
      return { kind: "authorization-policy", op: "upsert", value: withoutRequests(policy) };
    }),
  );
  const { judge, settle } = evaluatorOf(blind);
  for (let index = 0; index < CONNECTIONS; index += 1) {
    const facts = randomFacts(dice, workloads);
    assert.equal(settle(facts), judge(facts).verdict, `seed ${seed}: ${JSON.stringify({ facts, mesh }, null, 1)}`);
  }
}

function withoutRequests(policy: AuthorizationPolicy): AuthorizationPolicy {
  const operationOf = (operation: Operation): Operation => {
    const bad = (paths: Operation["paths"]): Operation["paths"] =>
      paths.some(({ kind }) => kind === "template") ? [...paths, { kind: "template", value: "/{unknown}" }] : [];
    const { paths, notPaths } = operation;
    return {
      ...operation,
      ...{ hosts: [], notHosts: [], methods: [], notMethods: [] },
      ...{ paths: bad(paths), notPaths: bad(notPaths) },
    };
  };
  const rules = policy.rules.map((rule) => ({
    ...rule,
    operations: rule.operations.map(operationOf),
    when: rule.when.map((condition) => ({ ...condition, http: condition.http && condition.key === "connection.sni" })),
  }));
  return { ...policy, rules };
}

/** What the caller is answered follows from the decision, and says no more. */
function holdAnswer(facts: ConnectionFacts, decision: Decision, evaluator: Evaluator): void {
  assert.ok(typeof facts.request !== "string");
  const { request } = facts;
  const judged = judgeRequest(facts, request, evaluator);
  const { verdict, decidedBy, audited, dryRunDenied } = decision;
  const words = `seed ${seed}: ${JSON.stringify({ judged, decision })}`;
  assert.ok(judged.verdict === verdict && judged.decidedBy === decidedBy, words);
  assert.ok(judged.audited.length === audited.length && judged.dryRunDenied.length === dryRunDenied.length, words);
  if (judged.verdict === "allow") {
    const isCanonical = evaluator.readsPaths(facts.destination) && request.path.ambiguity === null;
    assert.equal(judged.path, isCanonical ? "canonical" : "as-sent", words);
    return;
  }
  assert.equal(judged.reason, decision.verdict === "deny" && decision.reason, words);
  assert.equal(judged.answer.status, judged.reason.startsWith("ambiguous") ? 400 : 403, words);
  if (judged.reason === "ambiguous-path") {
    assert.ok(request.path.ambiguity !== null && evaluator.readsPaths(facts.destination), words);
  }
  if (judged.reason === "ambiguous-host") assert.ok(request.host.ambiguity !== null, words);
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

function reportsOf({ audited, dryRunDenied }: Decision): string {
  return `${audited.map(written).join()} ${dryRunDenied.map(written).join()}`;
}

function written({ namespace, name, rule }: RuleRef): string {
  return rule < 0 ? `${namespace}/${name}` : `${namespace}/${name}[${rule}]`;
}
