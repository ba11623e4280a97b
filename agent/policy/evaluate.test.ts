import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionFacts } from "../mesh/facts.ts";
import { parseCidr } from "../mesh/ip.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "../mesh/policies.ts";
import { MeshStore } from "../mesh/store.ts";
import type { Decision, RuleRef } from "./decision.ts";
import { judgeOf } from "./evaluate.ts";
import {
  condition,
  evaluate,
  facts,
  identity,
  operation,
  peerAuthentication,
  plaintext,
  policy,
  rule,
  source,
  text,
  workload,
} from "./policy.fake.ts";

function decide(
  policies: readonly AuthorizationPolicy[],
  of: ConnectionFacts = facts({}),
  peers: readonly PeerAuthentication[] = [],
): Decision {
  const context = { rootNamespace: "istio-system", trustDomain: "cluster.local" };
  return evaluate(of, { ...context, authorizationPolicies: policies, peerAuthentications: peers });
}

/** `allow`, or why not. */
function outcome(...asked: Parameters<typeof decide>): string {
  const decision = decide(...asked);
  return decision.verdict === "allow" ? "allow" : decision.reason;
}

const names = (refs: readonly RuleRef[]): string[] => refs.map(({ name, rule: index }) => `${name}[${index}]`);

const web = rule({ sources: [source({ principals: [text("cluster.local/ns/shop/sa/web")] })] });
const other = rule({ sources: [source({ principals: [text("cluster.local/ns/shop/sa/other")] })] });
const strict = peerAuthentication("all", { mode: "STRICT" });

test("without policies everything may pass, in plaintext too", () => {
  assert.equal(outcome([]), "allow");
  assert.equal(outcome([], facts(plaintext)), "allow");
});

test("an ALLOW policy without rules allows nothing; a DENY policy without rules denies nothing", () => {
  assert.equal(outcome([policy("none", {})]), "no-allow-matched");
  assert.equal(outcome([policy("none", { action: "DENY" })]), "allow");
});

test("a rule without fields holds for everybody", () => {
  assert.equal(outcome([policy("all", { rules: [rule({})] })], facts(plaintext)), "allow");
  assert.equal(outcome([policy("all", { action: "DENY", rules: [rule({})] })]), "denied-by-policy");
});

test("DENY comes before ALLOW, whichever is named first", () => {
  const both = [policy("a", { rules: [web] }), policy("b", { action: "DENY", rules: [other, web] })];
  const decision = decide(both);
  assert.equal(decision.verdict === "deny" && decision.reason, "denied-by-policy");
  assert.deepEqual(names(decision.decidedBy ? [decision.decidedBy] : []), ["b[1]"]);
});

test("an ALLOW names the rule by which it allows", () => {
  const decision = decide([policy("a", { rules: [other, web] })]);
  assert.equal(decision.verdict, "allow");
  assert.deepEqual(names(decision.decidedBy ? [decision.decidedBy] : []), ["a[1]"]);
});

test("plaintext to a STRICT port is refused before any policy; a same-node socket proves enough", () => {
  const open = [policy("open", { rules: [rule({})] })];
  const decision = decide(open, facts(plaintext), [strict]);
  assert.equal(decision.verdict === "deny" && decision.reason, "mtls-required");
  assert.equal(decision.decidedBy?.kind, "PeerAuthentication");
  assert.equal(outcome(open, facts({}), [strict]), "allow");
  assert.equal(outcome(open, facts({ security: "socket" }), [strict]), "allow");
});

test("under STRICT a missing identity refuses, and a claimed one over plaintext is not read", () => {
  assert.equal(outcome([], facts({ sourceIdentity: null }), [strict]), "mtls-required");
  assert.equal(outcome([], facts({ security: "none" }), [strict]), "mtls-required");
  assert.equal(outcome([policy("a", { rules: [web] })], facts({ security: "none" })), "no-allow-matched");
});

test("notPrincipals * in a DENY catches exactly plaintext", () => {
  const catcher = policy("strict", {
    action: "DENY",
    rules: [rule({ sources: [source({ notPrincipals: [text("*")] })] })],
  });
  assert.equal(outcome([catcher], facts(plaintext)), "denied-by-policy");
  assert.equal(outcome([catcher]), "allow");
});

test("C7: a service account of another trust domain is somebody else", () => {
  const accounts = policy("sa", { rules: [rule({ sources: [source({ serviceAccounts: ["shop/web"] })] })] });
  assert.equal(outcome([accounts]), "allow");
  const foreign = identity("other.example/ns/shop/sa/web");
  assert.equal(outcome([accounts], facts({ sourceIdentity: foreign })), "no-allow-matched");
});

test("cluster.local in a principal means the mesh's own trust domain, and only that", () => {
  const asked = (principal: string): string => {
    const context = { rootNamespace: "istio-system", trustDomain: "mesh.example", peerAuthentications: [] };
    const policies = [policy("a", { rules: [web] })];
    const decision = evaluate(facts({ sourceIdentity: identity(principal) }), {
      ...context,
      authorizationPolicies: policies,
    });
    return decision.verdict;
  };
  assert.equal(asked("mesh.example/ns/shop/sa/web"), "allow");
  assert.equal(asked("cluster.local/ns/shop/sa/web"), "deny");
});

test("a DENY that needs HTTP counts it as matching; an ALLOW that needs HTTP never matches", () => {
  const paths = (ports: number[]): readonly ReturnType<typeof operation>[] => [
    operation({ ports, paths: [text("/admin*")] }),
  ];
  const deny = (ports: number[]): AuthorizationPolicy =>
    policy("d", { action: "DENY", rules: [rule({ operations: paths(ports) })] });
  assert.equal(outcome([deny([])]), "denied-by-policy");
  assert.equal(outcome([deny([8080])]), "denied-by-policy");
  assert.equal(outcome([deny([9090])]), "allow");
  assert.equal(outcome([policy("a", { rules: [rule({ operations: paths([8080]) })] })]), "no-allow-matched");
  const oneOfTwo = rule({ sources: web.sources, operations: [operation({ ports: [8080] }), ...paths([])] });
  assert.equal(outcome([policy("a", { rules: [oneOfTwo] })]), "no-allow-matched");
});

test("an unknown when key: DENY matches, ALLOW does not", () => {
  for (const key of ["source.newer", "experimental.envoy.filters.a", "__proto__", "constructor", ""]) {
    const rules = [rule({ when: [condition(key, { strings: [text("x")] })] })];
    assert.equal(outcome([policy("d", { action: "DENY", rules })]), "denied-by-policy", key);
    assert.equal(outcome([policy("a", { rules })]), "no-allow-matched", key);
  }
});

test("an address that cannot be read counts as unseen: DENY matches, ALLOW does not, negated or not", () => {
  const block = parseCidr("10.0.0.0/8");
  assert.ok(block);
  const unreadable = facts({ sourceAddress: "10.0.0.1%eth0" });
  for (const fields of [{ ipBlocks: [block] }, { notIpBlocks: [block] }]) {
    const rules = [rule({ sources: [source(fields)] })];
    assert.equal(outcome([policy("d", { action: "DENY", rules })], unreadable), "denied-by-policy");
    assert.equal(outcome([policy("a", { rules })], unreadable), "no-allow-matched");
  }
});

test("AUDIT and dry-run are told and change nothing", () => {
  const policies = [
    policy("audit", { action: "AUDIT", rules: [other, web] }),
    policy("dry-deny", { action: "DENY", dryRun: true, rules: [web] }),
    policy("dry-allow", { dryRun: true, rules: [other] }),
  ];
  const decision = decide(policies);
  assert.equal(decision.verdict, "allow");
  assert.deepEqual(names(decision.audited), ["audit[1]"]);
  assert.deepEqual(names(decision.dryRunDenied), ["dry-deny[0]", "dry-allow[-1]"]);
});

test("a dry-run ALLOW would not deny what an enforced ALLOW lets in", () => {
  const policies = [policy("a", { rules: [web] }), policy("dry", { dryRun: true, rules: [other] })];
  assert.deepEqual(decide(policies).dryRunDenied, []);
});

test("the nearest miss is the rule that lacks least, with its position", () => {
  const far = rule({ sources: other.sources, operations: [operation({ ports: [9090] })] });
  const decision = decide([policy("a", { rules: [far, other] })]);
  assert.ok(decision.verdict === "deny");
  assert.deepEqual(decision.nearestMiss, [
    {
      rule: {
        kind: "AuthorizationPolicy",
        namespace: "shop",
        name: "a",
        rule: 1,
        from: { file: "mesh.yaml", line: 7, column: 3 },
      },
      field: "source.principals",
      want: "cluster.local/ns/shop/sa/other",
      got: "cluster.local/ns/shop/sa/web",
    },
  ]);
});

test("the nearest miss says so when only HTTP could match, and when nobody could", () => {
  const http = rule({ operations: [operation({ methods: [text("GET")] })] });
  const decision = decide([policy("a", { rules: [http] })]);
  assert.ok(decision.verdict === "deny");
  assert.deepEqual(
    decision.nearestMiss.map(({ field }) => field),
    ["operation.methods"],
  );
  const nothing = decide([policy("a", {})]);
  assert.ok(nothing.verdict === "deny");
  assert.deepEqual(nothing.nearestMiss, []);
});

test("a trace tells each step and which one decided", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  store.apply([
    { kind: "authorization-policy", op: "upsert", value: policy("a", { rules: [other, web] }) },
    { kind: "peer-authentication", op: "upsert", value: strict },
  ]);
  const { steps } = judgeOf(store)(facts({}), { trace: true });
  assert.deepEqual(
    steps.map(({ id, status }) => `${id} ${status}`),
    ["peer-authentication ok", "deny skipped", "allow-rule failed", "allow decides"],
  );
  assert.match(steps[0]?.summary ?? "", /^STRICT by PeerAuthentication shop\/all \(namespace level\) at mesh.yaml:7:3/);
  assert.match(steps[2]?.summary ?? "", /source.principals wants cluster.local\/ns\/shop\/sa\/other, got /);
  assert.equal(judgeOf(store)(facts({})).steps.length, 0);
});

test("a judge follows the policies, and the labels of the destination it is shown", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const ask = judgeOf(store);
  const denyAll = policy("d", { action: "DENY", selector: { app: "api" }, rules: [rule({})] });
  assert.equal(ask(facts({})).verdict, "allow");
  store.apply([{ kind: "authorization-policy", op: "upsert", value: denyAll }]);
  assert.equal(ask(facts({})).verdict, "deny");
  assert.equal(ask(facts({ destination: workload({ labels: { app: "web" } }) })).verdict, "allow");
  store.apply([{ kind: "authorization-policy", op: "remove", key: "shop/d" }]);
  assert.equal(ask(facts({})).verdict, "allow");
});

test("a verdict without anything to add is one shared value: judging allocates no decision", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  store.apply([{ kind: "authorization-policy", op: "upsert", value: policy("a", { rules: [web] }) }]);
  const ask = judgeOf(store);
  const of = facts({});
  assert.equal(ask(of), ask(of));
});
