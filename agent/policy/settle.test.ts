import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { AuthorizationPolicy, Rule } from "../mesh/policies.ts";
import { MeshStore } from "../mesh/store.ts";
import { type Evaluator, evaluatorOf } from "./evaluate.ts";
import {
  facts,
  identity,
  operation,
  peerAuthentication,
  plaintext,
  policy,
  request,
  rule,
  source,
  storeOf,
  text,
} from "./policy.fake.ts";

function evaluator(policies: readonly AuthorizationPolicy[]): Evaluator {
  const store = storeOf(policies);
  return evaluatorOf(store);
}

function settled(policies: readonly AuthorizationPolicy[], of: ConnectionFacts = facts({})): string {
  return evaluator(policies).settle(of);
}

const reads: Rule = rule({ operations: [operation({ ports: [8080], methods: [text("GET")] })] });
const web: Rule = rule({ sources: [source({ principals: [text("cluster.local/ns/shop/sa/web")] })] });
const stranger = facts({ sourceIdentity: identity("cluster.local/ns/shop/sa/stranger") });
const otherPort = facts({ destinationPort: 9090 });

test("what the connection decides is settled: nothing of HTTP, another port, a caller who is let in anyway", () => {
  assert.equal(settled([]), "allow");
  assert.equal(settled([policy("a", { rules: [web] })]), "allow");
  assert.equal(settled([policy("a", { rules: [web] })], stranger), "deny");
  assert.equal(settled([policy("a", { rules: [reads] })], otherPort), "deny");
  assert.equal(settled([policy("d", { action: "DENY", rules: [reads] })], otherPort), "allow");
  assert.equal(settled([policy("a", { rules: [reads, web] })]), "allow");
  assert.equal(settled([policy("a", { rules: [reads, web] })], stranger), "http");
  assert.equal(settled([policy("d", { action: "DENY", rules: [reads, web] })]), "deny");
});

test("requests are read where they may be judged differently from each other", () => {
  assert.equal(settled([policy("a", { rules: [reads] })]), "http");
  assert.equal(settled([policy("d", { action: "DENY", rules: [reads] })]), "http");
});

test("an AUDIT or a dry-run policy on requests makes them read where the connection is allowed", () => {
  for (const fields of [{ action: "AUDIT" }, { action: "DENY", dryRun: true }, { dryRun: true }] as const) {
    assert.equal(settled([policy("x", { ...fields, rules: [reads] })]), "http");
    assert.equal(
      settled([policy("x", { ...fields, rules: [reads] }), policy("d", { action: "DENY", rules: [web] })]),
      "deny",
    );
  }
  assert.equal(settled([policy("x", { action: "AUDIT", rules: [reads] })], otherPort), "allow");
});

test("what no request shows settles: its strict verdict is every request's", () => {
  const unseen = rule({ sources: [source({ requestPrincipals: [text("*")] })], operations: reads.operations });
  assert.equal(settled([policy("a", { rules: [unseen] })]), "deny");
  const principals = rule({ sources: [source({ requestPrincipals: [text("*")] })] });
  assert.equal(settled([policy("d", { action: "DENY", rules: [principals] })]), "deny");
});

test("plaintext to a STRICT port is refused before any rule is read", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  store.apply([
    { kind: "authorization-policy", op: "upsert", value: policy("a", { rules: [reads] }) },
    { kind: "peer-authentication", op: "upsert", value: peerAuthentication("all", { mode: "STRICT" }) },
  ]);
  assert.equal(evaluatorOf(store).settle(facts(plaintext)), "deny");
});

test("what is remembered of a connection is never taken for a request's verdict, nor the other way round", () => {
  const { judge, settle } = evaluator([policy("a", { rules: [reads] })]);
  for (let time = 0; time < 3; time += 1) {
    assert.equal(judge(facts({})).verdict, "deny");
    assert.equal(settle(facts({ request: request({}) })), "http");
    assert.equal(judge(facts({ request: request({}) })).verdict, "allow");
    assert.equal(judge(facts({ request: request({ method: "PUT" }) })).verdict, "deny");
    assert.equal(judge(facts({ request: "lenient" })).verdict, "allow");
  }
});

test("a request's decision says so, and names what it lacked", () => {
  const { judge } = evaluator([policy("a", { rules: [reads] })]);
  const allowed = judge(facts({ request: request({}) }));
  assert.deepEqual([allowed.layer, allowed.decidedBy?.name], ["L7", "a"]);
  const denied = judge(facts({ request: request({ method: "PUT" }) }), { trace: true });
  assert.ok(denied.verdict === "deny");
  assert.deepEqual(
    denied.nearestMiss.map(({ field, want, got }) => [field, want, got]),
    [["operation.methods", "GET", "PUT"]],
  );
  assert.match(denied.steps.at(1)?.summary ?? "", /no DENY rule/);
  assert.match(denied.steps.at(2)?.summary ?? "", /operation\.methods wants GET, got PUT/);
  assert.equal(judge(facts({})).layer, "L4");
});
