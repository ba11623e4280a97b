import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuthorizationPolicy, Rule } from "../mesh/policies.ts";
import { MeshStore } from "../mesh/store.ts";
import type { DenyReason } from "./decision.ts";
import { evaluatorOf } from "./evaluate.ts";
import { judgeRequest, type RequestVerdict, refusalAnswers } from "./judge-request.ts";
import {
  condition,
  facts,
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

function judged(policies: readonly AuthorizationPolicy[], target: string, authority = "api"): RequestVerdict {
  const store = storeOf(policies);
  return judgeRequest(facts({}), request({ target, authority }), evaluatorOf(store));
}

/** `allow` with the path that goes on, or the status with the reason. */
function outcome(policies: readonly AuthorizationPolicy[], target: string, authority?: string): string {
  const verdict = judged(policies, target, authority);
  return verdict.verdict === "allow" ? `allow ${verdict.path}` : `${verdict.answer.status} ${verdict.reason}`;
}

const to = (fields: Parameters<typeof operation>[0]): Rule => rule({ operations: [operation(fields)] });
const deny = (...rules: readonly Rule[]): AuthorizationPolicy => policy("d", { action: "DENY", rules });
const allow = (...rules: readonly Rule[]): AuthorizationPolicy => policy("a", { rules });
const admin = to({ paths: [text("/admin*")] });
const dotted = "/public/../admin";

test("a request that policy refuses is answered as Envoy does, and names no rule", () => {
  const verdict = judged([deny(admin)], "/admin/x");
  assert.equal(verdict.verdict, "deny");
  assert.deepEqual(verdict.verdict === "deny" && verdict.answer, { status: 403, body: "RBAC: access denied" });
  assert.equal(verdict.decidedBy?.name, "d");
  assert.equal(verdict.layer, "L7");
  assert.equal(outcome([allow(admin)], "/public"), "403 no-allow-matched");
});

test("an ambiguous path is refused as such where a rule about the request reads paths", () => {
  assert.equal(outcome([deny(admin)], dotted), "400 ambiguous-path");
  assert.equal(outcome([allow(admin)], dotted), "400 ambiguous-path");
  assert.equal(outcome([allow(to({ notPaths: [text("/admin*")] }))], dotted), "400 ambiguous-path");
  assert.equal(outcome([deny(to({ notPaths: [text("/public")] }))], dotted), "400 ambiguous-path");
});

test("where none does, it goes on as it came, or is refused for what it is refused for", () => {
  assert.equal(outcome([], dotted), "allow as-sent");
  assert.equal(outcome([allow(to({ methods: [text("GET")] }))], dotted), "allow as-sent");
  assert.equal(outcome([deny(to({ methods: [text("GET")] }))], dotted), "403 denied-by-policy");
  // Rules about paths whose other fields do not hold: another method, port, header or caller.
  const others = [
    { operations: [operation({ paths: [text("/admin*")], methods: [text("PUT")] })] },
    { operations: [operation({ paths: [text("/admin*")], ports: [9090] })] },
    { ...admin, when: [condition("request.headers[x-role]", { http: true, strings: [text("admin")] })] },
    { ...admin, sources: [source({ namespaces: [text("other")] })] },
  ];
  for (const other of others) {
    assert.equal(outcome([deny(rule(other))], dotted), "allow as-sent");
    assert.equal(outcome([allow(rule(other))], dotted), "403 no-allow-matched");
    assert.equal(outcome([allow(rule(other), to({ methods: [text("GET")] }))], dotted), "allow as-sent");
  }
  // A rule that matches whatever the path means.
  assert.equal(outcome([deny(to({ methods: [text("GET")] }), admin)], dotted), "403 denied-by-policy");
  assert.equal(
    outcome([deny(rule({ operations: [...admin.operations, operation({ ports: [8080] })] }))], dotted),
    "403 denied-by-policy",
  );
});

test("AUDIT and dry-run rules on paths report an ambiguous path and refuse nothing", () => {
  for (const fields of [{ action: "AUDIT" }, { action: "DENY", dryRun: true }] as const) {
    const verdict = judged([policy("x", { ...fields, rules: [admin] })], dotted);
    assert.equal(verdict.verdict === "allow" && verdict.path, "as-sent");
    assert.equal([...verdict.audited, ...verdict.dryRunDenied].length, 1);
  }
});

test("a path that rules read goes on as they have read it", () => {
  assert.equal(outcome([deny(admin)], "/%70ublic"), "allow canonical");
  assert.equal(outcome([deny(to({ methods: [text("PUT")] }))], "/%70ublic"), "allow as-sent");
  assert.equal(outcome([policy("x", { action: "AUDIT", rules: [admin] })], "/%70ublic"), "allow as-sent");
});

test("the same holds of an ambiguous host", () => {
  const api = to({ hosts: [text("api")] });
  assert.equal(outcome([deny(api)], "/", "u@api"), "400 ambiguous-host");
  assert.equal(outcome([allow(api)], "/", ""), "400 ambiguous-host");
  assert.equal(outcome([deny(admin)], "/", "u@api"), "allow canonical");
  const both = to({ hosts: [text("api")], paths: [text("/admin*")] });
  assert.equal(outcome([deny(both)], dotted, "u@api"), "400 ambiguous-path");
  assert.equal(outcome([deny(both)], "/admin", "u@api"), "400 ambiguous-host");
  assert.equal(outcome([deny(both)], "/public", "u@api"), "allow canonical");
});

test("plaintext to a STRICT port is refused whatever the request is", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  store.apply([
    { kind: "peer-authentication", op: "upsert", value: peerAuthentication("p", { mode: "STRICT" }) },
    { kind: "authorization-policy", op: "upsert", value: deny(admin) },
  ]);
  const verdict = judgeRequest(facts(plaintext), request({ target: dotted }), evaluatorOf(store));
  assert.equal(verdict.verdict === "deny" && verdict.reason, "mtls-required");
});

const bodies: Readonly<Record<number, string>> = { 403: "RBAC: access denied", 429: "local_rate_limited" };

test("every reason has an answer, and 400 names its reason", () => {
  for (const [reason, { status, body }] of Object.entries(refusalAnswers) as [
    DenyReason,
    { status: number; body: string },
  ][]) {
    assert.equal(body, bodies[status] ?? `bad request: ${reason}`);
  }
});
