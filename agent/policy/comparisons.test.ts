// Policies that would cost a request more than the bound are closed: never more open than they are as written, and those that are judged cost
// no more than the bound.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import type { AuthorizationPolicy, Rule } from "../mesh/policies.ts";
import { comparisonsOf, MOST_COMPARISONS, withinBound } from "./comparisons.ts";
import { compileRules } from "./compile-rule.ts";
import type { Decision } from "./decision.ts";
import { firstMatch } from "./match.ts";
import { condition, evaluate, facts, limit, operation, policy, request, rule, text } from "./policy.fake.ts";

const asks = (value: string) => condition("request.headers[x-a]", { http: true, strings: [text(value)] });
/** So many comparisons and a few, of which none holds for a request without the header. */
const large = (comparisons: number): Rule =>
  rule({ when: Array.from({ length: comparisons }, (_, at) => asks(`${at}`)) });

type Written = {
  readonly policies?: readonly AuthorizationPolicy[];
  readonly limits?: readonly LimitPolicy[];
};
function decided(
  { policies = [], limits = [] }: Written,
  read = request({}) as ReturnType<typeof request> | "strict",
): Decision {
  return evaluate(facts({ request: read }), {
    authorizationPolicies: policies,
    limitPolicies: limits,
    peerAuthentications: [],
    rootNamespace: "istio-system",
    trustDomain: "cluster.local",
  });
}

test("a list is looked up; conditions, templates, headers and rules count", () => {
  const of = (...rules: Rule[]): number => comparisonsOf(policy("p", { rules }));
  const many = Array.from({ length: 20_000 }, (_, at) => text(`/a${at}*`));
  assert.equal(of(rule({ operations: [operation({ paths: many })] })), 2);
  assert.equal(
    of(
      rule({
        operations: [
          operation({
            paths: [{ kind: "template", value: "/{*}" }, text("/b")],
          }),
        ],
      }),
    ),
    3,
  );
  assert.equal(of(large(1_000)), 1_005);
  assert.equal(
    of(
      rule({
        operations: [operation({ ports: Array.from({ length: 160 }, (_, at) => at + 1) })],
      }),
    ),
    12,
  );
  assert.equal(comparisonsOf(limit("l", {})), 9);
});

test("a DENY that is too large refuses all, an ALLOW lets nobody in, and the smaller ones are judged", () => {
  const [deny, allow] = [
    policy("deny", { action: "DENY", rules: [large(MOST_COMPARISONS)] }),
    policy("allow", { rules: [large(MOST_COMPARISONS)] }),
  ];
  const open = policy("open", { rules: [rule({})] });
  for (const read of [request({}), "strict"] as const) {
    const denied = decided({ policies: [deny, open] }, read);
    assert.deepEqual([denied.verdict, denied.decidedBy?.name, denied.layer], ["deny", "deny", "L4"]);
    const closed = decided({ policies: [allow] }, read);
    assert.ok(closed.verdict === "deny" && closed.reason === "no-allow-matched");
    assert.match(closed.nearestMiss.map(({ field }) => field).join(), /more than 8192 comparisons/);
    assert.equal(decided({ policies: [allow, open] }, read).verdict, "allow");
  }
  const smaller = policy("deny", {
    action: "DENY",
    rules: [large(MOST_COMPARISONS - 9)],
  });
  assert.equal(decided({ policies: [smaller, open] }).verdict, "allow", "what is within the bound is judged");
});

test("AUDIT and dry-run policies that are too large are reported, and change no verdict", () => {
  const audit = policy("audit", {
    action: "AUDIT",
    rules: [large(MOST_COMPARISONS)],
  });
  const tried = policy("tried", {
    action: "DENY",
    dryRun: true,
    rules: [large(MOST_COMPARISONS)],
  });
  const { verdict, audited, dryRunDenied } = decided({
    policies: [audit, tried],
  });
  assert.deepEqual([verdict, audited.length, dryRunDenied.length], ["allow", 1, 1]);
});

test("limits that are too many refuse what they are about; in shadow they report it, and in standby they say nothing", () => {
  const limits = (mode: LimitPolicy["mode"]) =>
    Array.from({ length: MOST_COMPARISONS / 8 }, (_, at) => limit(`l${String(at).padStart(4, "0")}`, { mode }));
  const refused = decided({ limits: limits("enforce") });
  assert.deepEqual([refused.verdict, refused.decidedBy?.kind], ["deny", "LimitPolicy"]);
  const shadow = decided({ limits: limits("shadow") });
  assert.equal(shadow.verdict, "allow");
  assert.ok(shadow.dryRunDenied.every(({ kind, name }) => kind === "LimitPolicy" && name > "l0900"));
  assert.ok(shadow.dryRunDenied.length > 0);
  const standby = decided({ limits: limits("standby") });
  assert.deepEqual([standby.verdict, standby.dryRunDenied], ["allow", []]);
});

test("over the bound the largest are closed, no more of them than it takes; and nothing is let in that would not be by all rules", () => {
  const shape = fc.record({
    action: fc.constantFrom("ALLOW" as const, "DENY" as const, "DENY" as const),
    size: fc.constantFrom(3, 900, 2_000, 3_000, 8_100),
    isOpen: fc.boolean(),
    wants: fc.constantFrom("a", "b"),
  });
  let [closedSome, differs] = [0, 0];
  fc.assert(
    fc.property(fc.array(shape, { minLength: 1, maxLength: 7 }), fc.constantFrom("a", "b", "c"), (shapes, sent) => {
      const policies = shapes.map(({ action, size, isOpen, wants }, at) =>
        policy(`p${at}`, {
          action,
          rules: [large(size), ...(isOpen ? [rule({ when: [asks(wants)] })] : [])],
        }),
      );
      const bound = withinBound(policies, []);
      const sizes = (of: readonly AuthorizationPolicy[]): number[] => of.map(comparisonsOf);
      const judged = policies.filter((each) => !bound.closed.includes(each));
      const closed = policies.filter((each) => bound.closed.includes(each));
      const sum = sizes(judged).reduce((all, each) => all + each, 0);
      assert.ok(sum <= MOST_COMPARISONS);
      const smallest = Math.min(...sizes(closed));
      assert.ok(sizes(judged).every((size) => size <= smallest));
      if (closed.length > 0) assert.ok(sum + smallest > MOST_COMPARISONS, "one more was closed than had to be");

      const now = facts({ request: request({ headers: { "x-a": [sent] } }) });
      const matches = (action: "ALLOW" | "DENY"): boolean =>
        policies.some(
          (each) => each.action === action && firstMatch(compileRules(each, "cluster.local"), now, now.sourceIdentity),
        );
      const isOpenByDefault = policies.every(({ action }) => action !== "ALLOW");
      const written = !matches("DENY") && (isOpenByDefault || matches("ALLOW")) ? "allow" : "deny";
      const { verdict } = decided({ policies }, request({ headers: { "x-a": [sent] } }));
      if (verdict === "allow" || closed.length === 0) assert.equal(verdict, written);
      if (closed.length > 0) closedSome += 1;
      if (verdict !== written) differs += 1;
    }),
    { numRuns: 150 },
  );
  assert.ok(closedSome > 10 && differs > 0, `${closedSome} sets had to be cut, ${differs} verdicts were closed`);
});
