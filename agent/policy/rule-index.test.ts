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
  condition,
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

const headerNames = ["x-a", "x-b"];
const long = "v".repeat(150);
const headerValues = ["", "a", "ab", "ba", "a,b", "aba", "abab", "a".repeat(40), long, `${long}w`, `w${long}`];
const headerMatches = fc.oneof(
  fc.constantFrom(...headerValues.map((value) => ({ kind: "exact", value }) as const)),
  fc.constantFrom(...headerValues.map((value) => ({ kind: "prefix", value }) as const)),
  fc.constantFrom(...headerValues.map((value) => ({ kind: "suffix", value }) as const)),
  fc.constant(text("*")),
);
const headerLists = fc.array(headerMatches, { maxLength: 2 });
const headerConditions = fc
  .record({ name: fc.constantFrom("x-a", "X-B", "x-a][b"), strings: headerLists, notStrings: headerLists })
  .map(({ name, ...lists }) => condition(`request.headers[${name}]`, { http: true, ...lists }));
const headerRules = fc.array(
  fc
    .record({ when: fc.array(headerConditions, { maxLength: 3 }), to: fc.array(operations, { maxLength: 1 }) })
    .map(({ when, to }) => rule({ when, operations: to })),
  { minLength: 4, maxLength: 12 },
);
const sentHeaders = fc.record(
  Object.fromEntries(headerNames.map((name) => [name, fc.array(fc.constantFrom(...headerValues), { maxLength: 3 })])),
);

test("the first rule that holds for a request, by its headers", () => {
  const actions = fc.constantFrom("ALLOW" as const, "DENY" as const);
  let [found, none] = [0, 0];
  fc.assert(
    fc.property(
      actions,
      headerRules,
      fc.array(fc.tuple(sentHeaders, targets), { minLength: 1 }),
      (action, list, asked) => {
        const compiled = compileRules(policy("p", { action, rules: list }), "cluster.local");
        const index = new RuleIndex(compiled, action === "DENY" ? "matches" : "never");
        for (const [headers, target] of asked) {
          const now = facts({ request: request({ headers, target }) });
          const expected = firstMatch(compiled, now, now.sourceIdentity);
          assert.equal(index.first(now, now.sourceIdentity), expected, JSON.stringify(headers));
          if (expected === undefined) none += 1;
          else found += 1;
        }
      },
    ),
    { numRuns: 3_000 },
  );
  assert.ok(found > 500 && none > 500, `${found} requests met a rule, ${none} none`);
});

test("of thousands of rules by headers, a request is compared with those that its headers can mean", () => {
  const list = (["exact", "prefix", "suffix"] as const).flatMap((kind) =>
    Array.from({ length: 2_000 }, (_, at) =>
      rule({ when: [condition("request.headers[x-a]", { http: true, strings: [{ kind, value: `${at + 2_000}` }] })] }),
    ),
  );
  let compared = 0;
  const counted = compileRules(policy("p", { action: "DENY", rules: list }), "cluster.local").map((compiled) => ({
    ...compiled,
    when: compiled.when.map((check) => ({
      ...check,
      holds: (...asked: Parameters<typeof check.holds>) => {
        compared += 1;
        return check.holds(...asked);
      },
    })),
  }));
  const index = new RuleIndex(counted, "matches");
  const first = (...values: string[]): number => {
    compared = 0;
    const now = facts({ request: request({ headers: { "x-a": values } }) });
    return index.first(now, now.sourceIdentity)?.ref.rule ?? -1;
  };
  assert.deepEqual([first("2007"), compared], [7, 1]);
  assert.deepEqual([first("no", "2008 and more"), compared], [2_008, 1]);
  assert.deepEqual([first("at its end 2009"), compared], [4_009, 1]);
  assert.deepEqual([first("none"), compared], [-1, 0]);
  assert.deepEqual([first(), compared], [-1, 0]);
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
