// The index finds what a look through the whole list finds, the first rule that holds; and what is remembered of a caller is
// what would be decided anew.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseCidr } from "../mesh/ip.ts";
import type { PathMatch } from "../mesh/policies.ts";
import { MeshStore } from "../mesh/store.ts";
import { compileRules } from "./compile-rule.ts";
import { judgeOf } from "./evaluate.ts";
import { firstMatch } from "./match.ts";
import {
  evaluate,
  facts,
  identity,
  operation,
  plaintext,
  policy,
  request,
  rule,
  source,
  text,
  workload,
} from "./policy.fake.ts";
import { RuleIndex } from "./rule-index.ts";

const accounts = fc.constantFrom("web", "batch", "cron");
const principal = fc.oneof(
  accounts.map((name) => `cluster.local/ns/shop/sa/${name}`),
  fc.constantFrom("*", "*web", "cluster.local/ns/shop/*", "other.org/ns/shop/sa/web"),
);
const block = parseCidr("10.0.0.0/31");
const sources = fc
  .record({ principals: fc.array(principal, { maxLength: 2 }), web: fc.boolean(), near: fc.boolean() })
  .map(({ principals, web, near }) =>
    source({
      principals: principals.map(text),
      namespaces: web ? [text("shop")] : [],
      ipBlocks: near && block !== undefined ? [block] : [],
    }),
  );
const rules = fc.array(
  fc
    .record({ from: fc.array(sources, { maxLength: 2 }), port: fc.constantFrom(null, 8080, 9090) })
    .map(({ from, port }) => rule({ sources: from, operations: port === null ? [] : [operation({ ports: [port] })] })),
  { maxLength: 9 },
);
const connections = fc
  .record({ who: fc.option(accounts), port: fc.constantFrom(8080, 9090), last: fc.integer({ min: 1, max: 4 }) })
  .map(({ who, port, last }) =>
    facts({
      destinationPort: port,
      sourceAddress: `10.0.0.${last}`,
      ...(who === null ? plaintext : { sourceIdentity: identity(`cluster.local/ns/shop/sa/${who}`) }),
    }),
  );

const pathMatches = fc.constantFrom<PathMatch>(
  ...["/a", "/a/b", "/a/*", "/a*", "*/b", "*b", "*/a/b", "*", "/", "/%61/b", "/a;v", "/b/", "/b/*", "/a/b/c/d/e*"].map(
    text,
  ),
  ...["/a/b/c/d/e", "/a/b/c/d/f", "*/c/d/e", "*c/%64/e"].map(text),
  ...["/a/{*}", "/{*}/b", "/b/{**}", "/{**}", "/{x}", "/a/{x}", "/b"].map(
    (value) => ({ kind: "template", value }) as const,
  ),
);
const hostMatches = fc.constantFrom(
  ...["api", "API.shop", "api:8080", "*.shop", "*shop", "*:8080", "api*", "*", "api.shop.", "a..b"].map(text),
);
const operations = fc
  .record({
    paths: fc.array(pathMatches, { maxLength: 2 }),
    notPaths: fc.array(pathMatches, { maxLength: 1 }),
    hosts: fc.array(hostMatches, { maxLength: 2 }),
  })
  .map(operation);
const pathRules = fc.array(
  fc
    .record({ from: fc.array(sources, { maxLength: 1 }), to: fc.array(operations, { maxLength: 2 }) })
    .map(({ from, to }) => rule({ sources: from, operations: to })),
  { maxLength: 12 },
);
const targets = fc.constantFrom(
  "/",
  "/a",
  "/a/",
  "/a/b",
  "/a;v/b",
  "/a;v",
  "/;v",
  "/b/a/b",
  "/%61/b/",
  "/ab",
  "/a/../b",
  "/a/b/c/d",
  "/a/b/c/d/e",
  "/x/c/d/e/",
  "*",
);
const authorities = fc.constantFrom("api", "Api:8080", "api.shop.", "web.shop:80", "u@api", "");

test("the first rule that holds for a request, by its path and host", () => {
  const actions = fc.constantFrom("ALLOW" as const, "DENY" as const);
  fc.assert(
    fc.property(
      actions,
      pathRules,
      fc.array(fc.tuple(connections, targets, authorities), { minLength: 1 }),
      (action, list, asked) => {
        const compiled = compileRules(policy("p", { action, rules: list }), "cluster.local");
        const index = new RuleIndex(compiled, action === "DENY" ? "matches" : "never");
        for (const [connection, target, authority] of asked) {
          const who = connection.security === "none" ? null : connection.sourceIdentity;
          for (const read of [request({ target, authority }), "strict", "lenient"] as const) {
            const now = { ...connection, request: read };
            assert.equal(index.first(now, who), firstMatch(compiled, now, who), `${target} ${authority}`);
          }
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test("the first rule that holds, however long the list", () => {
  fc.assert(
    fc.property(rules, fc.array(connections, { minLength: 1 }), (list, asked) => {
      const compiled = compileRules(policy("p", { rules: list }), "cluster.local");
      const index = new RuleIndex(compiled, "never");
      for (const one of asked) {
        const who = one.security === "none" ? null : one.sourceIdentity;
        assert.equal(index.first(one, who), firstMatch(compiled, one, who));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("asked again and again, the judge says what it would say the first time", () => {
  const actions = fc.constantFrom("ALLOW" as const, "DENY" as const, "AUDIT" as const);
  const policies = fc.array(fc.record({ action: actions, dryRun: fc.boolean(), list: rules }), { maxLength: 3 });
  fc.assert(
    fc.property(policies, fc.array(connections, { minLength: 1, maxLength: 30 }), (written, asked) => {
      const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
      const destination = workload({});
      const values = written.map(({ action, dryRun, list }, at) => policy(`p${at}`, { action, dryRun, rules: list }));
      mesh.apply([
        { kind: "workload", op: "upsert", value: destination },
        ...values.map((value) => ({ kind: "authorization-policy", op: "upsert", value }) as const),
      ]);
      const judge = judgeOf(mesh);
      const context = {
        authorizationPolicies: values,
        peerAuthentications: [],
        rootNamespace: "istio-system",
        trustDomain: "cluster.local",
      };
      for (const one of [...asked, ...asked]) {
        const now = { ...one, destination };
        assert.deepEqual(judge(now), evaluate(now, context));
      }
    }),
    { numRuns: 500 },
  );
});
