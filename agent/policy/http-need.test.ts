import assert from "node:assert/strict";
import { test } from "node:test";
import { ruleName } from "../mesh/full-name.ts";
import type { AuthorizationPolicy, Rule } from "../mesh/policies.ts";
import { evaluatorOf } from "./evaluate.ts";
import { condition, operation, policy, rule, source, storeOf, text, workload } from "./policy.fake.ts";

/** `read` or `not`, then each reason with its rule. */
function needs(policies: readonly AuthorizationPolicy[], port = 8080): string {
  const store = storeOf(policies);
  const { isRead, reasons } = evaluatorOf(store).httpNeed(workload({}), port);
  const words = reasons.map((reason) => `${reason.why} ${reason.rule === null ? "-" : ruleName(reason.rule)}`);
  return [isRead ? "read" : "not", ...words].join(", ");
}

const gets: Rule = rule({ operations: [operation({ methods: [text("GET")] })] });
const getsAt8080: Rule = rule({ operations: [operation({ ports: [8080], methods: [text("GET")] })] });
const admins: Rule = rule({
  when: [condition("request.headers[x-role]", { http: true, strings: [text("admin")] })],
});
const everybody: Rule = rule({});
const web: Rule = rule({ sources: [source({ namespaces: [text("shop")] })] });
const deny = (rules: readonly Rule[], name = "d"): AuthorizationPolicy => policy(name, { action: "DENY", rules });
const allow = (rules: readonly Rule[], name = "a"): AuthorizationPolicy => policy(name, { rules });

test("without a rule that names something of a request nothing is read", () => {
  assert.equal(needs([]), "not, no-request-rule -");
  assert.equal(needs([allow([web]), deny([web])]), "not, no-request-rule -");
});

test("each action of a rule on requests is a reason of its own", () => {
  assert.equal(needs([deny([web, gets])]), "read, deny-rule shop/d[1]");
  assert.equal(needs([allow([gets, admins])]), "read, allow-rule shop/a[0], allow-rule shop/a[1]");
  assert.equal(needs([policy("u", { action: "AUDIT", rules: [gets] })]), "read, audit-rule shop/u[0]");
  for (const action of ["DENY", "ALLOW"] as const) {
    assert.equal(needs([policy("y", { action, dryRun: true, rules: [gets] })]), "read, dry-run-rule shop/y[0]");
  }
});

test("a rule is about the ports that it names", () => {
  assert.equal(needs([deny([getsAt8080])]), "read, deny-rule shop/d[0]");
  assert.equal(needs([deny([getsAt8080])], 9090), "not, no-request-rule -");
  const not8080 = rule({
    operations: [operation({ methods: [text("GET")] })],
    when: [condition("destination.port", { notPorts: [8080] })],
  });
  assert.equal(needs([deny([not8080])]), "not, no-request-rule -");
  assert.equal(needs([deny([not8080])], 9090), "read, deny-rule shop/d[0]");
});

test("in a DENY an entry without HTTP is judged by connection; in an ALLOW it waits for the request", () => {
  const mixed = rule({
    operations: [operation({ ports: [8080], methods: [text("GET")] }), operation({ ports: [9090] })],
  });
  assert.equal(needs([deny([mixed])], 9090), "not, no-request-rule -");
  assert.equal(needs([allow([mixed])], 9090), "read, allow-rule shop/a[0]");
});

test("a port at which everybody is denied, or nobody allowed, is not read", () => {
  const only8080 = rule({ operations: [operation({ notPorts: [8080] })] });
  assert.equal(needs([deny([gets]), deny([only8080], "ports")], 9090), "not, denied-by-connection shop/ports[0]");
  assert.equal(needs([deny([gets]), deny([only8080], "ports")]), "read, deny-rule shop/d[0]");
  const at8080 = rule({ operations: [operation({ ports: [8080] })] });
  assert.equal(needs([deny([gets]), allow([at8080])], 9090), "not, denied-by-connection -");
  assert.equal(needs([deny([gets]), allow([])]), "not, denied-by-connection -");
});

test("where everybody is allowed anyway, ALLOW rules on requests are no reason, and others are", () => {
  assert.equal(needs([allow([gets, everybody])]), "not, allowed-by-connection shop/a[1]");
  assert.equal(needs([allow([gets, web])]), "read, allow-rule shop/a[0]");
  assert.equal(needs([allow([gets, everybody]), deny([admins])]), "read, deny-rule shop/d[0]");
});

test("what no request shows is no reason to read", () => {
  const tokens = rule({ sources: [source({ requestPrincipals: [text("*")] })] });
  assert.equal(needs([allow([tokens]), deny([tokens])]), "not, no-request-rule -");
});
