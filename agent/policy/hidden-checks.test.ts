import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCidr } from "../mesh/ip.ts";
import { compileRules } from "./compile-rule.ts";
import { hiddenChecks } from "./hidden-checks.ts";
import { condition, operation, policy, rule, source, text } from "./policy.fake.ts";

const block = parseCidr("10.0.0.0/8");
assert.ok(block);

test("a rule about the connection alone hides nothing", () => {
  const open = rule({
    sources: [source({ principals: [text("*")] })],
    operations: [operation({ ports: [80] })],
    when: [condition("source.ip", { cidrs: [block] })],
  });
  assert.equal(hiddenChecks(open), null);
});

test("what a request shows is kept with its values, beside the entry it belongs to", () => {
  const hidden = hiddenChecks(
    rule({
      sources: [
        source({ principals: [text("a")] }),
        source({ requestPrincipals: [text("*")], notRemoteIpBlocks: [block] }),
      ],
      operations: [operation({ paths: [{ kind: "template", value: "/{*}" }], notMethods: [text("GET")] })],
      when: [condition("request.headers[x]", { strings: [text("1")], notStrings: [text("2")], http: true })],
    }),
  );
  assert.deepEqual(hidden, {
    sources: [
      [],
      [
        { needs: "request", field: "source.requestPrincipals", not: false, values: [{ kind: "presence" }] },
        { needs: "request", field: "source.notRemoteIpBlocks", not: true, values: [block] },
      ],
    ],
    operations: [
      [
        { needs: "request", field: "operation.notMethods", not: true, values: [{ kind: "exact", value: "GET" }] },
        { needs: "request", field: "operation.paths", not: false, values: [{ kind: "template", value: "/{*}" }] },
      ],
    ],
    when: [
      { needs: "request", field: "when request.headers[x]", not: false, values: [{ kind: "exact", value: "1" }] },
      { needs: "request", field: "when request.headers[x]", not: true, values: [{ kind: "exact", value: "2" }] },
    ],
  });
});

test("what is unknown or unreadable is nobody's to judge, with a request or without", () => {
  const hidden = hiddenChecks(
    rule({
      unreadable: ["to"],
      sources: [source({ unreadable: ["principals"] })],
      when: [condition("source.newer", { strings: [text("1")] }), condition("source.ip", {})],
    }),
  );
  const unreadable = (field: string) => ({ needs: "nobody", field, not: false, values: [] });
  assert.deepEqual(hidden?.sources, [[unreadable("source.principals")]]);
  assert.deepEqual(hidden?.when, [unreadable("to"), unreadable("when source.newer"), unreadable("when source.ip")]);
});

test("an ALLOW rule with a hidden field never matches a connection; a DENY rule is judged by what is left of it", () => {
  const rules = [rule({ operations: [operation({ ports: [80], methods: [text("GET")] })] })];
  const [allow] = compileRules(policy("a", { rules }), "cluster.local");
  const [deny] = compileRules(policy("d", { action: "DENY", rules }), "cluster.local");
  assert.equal(allow?.never?.field, "operation.methods");
  assert.equal(deny?.never, null);
  assert.deepEqual(
    deny?.operations.map((checks) => checks.map(({ field, needs }) => [field, needs])),
    [[["operation.ports", "connection"]]],
  );
});
