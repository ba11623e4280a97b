// What may be sent again, and when: nothing that may have been processed without a rule, and never a method that nobody has named.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { closeCauses, tryFailures } from "../abi.ts";
import { isRetried, mayGoElsewhere, nobodyProvokes, pauseMs, retryRuleOf, type TryEnd } from "./retry.ts";

const anEnd: fc.Arbitrary<TryEnd> = fc.record({
  failure: fc.constantFrom(...tryFailures),
  status: fc.integer({ min: 0, max: 599 }),
  cause: fc.option(fc.constantFrom(...closeCauses)),
  isSent: fc.boolean(),
});
const aRule = fc.record({
  codes: fc.array(fc.integer({ min: 400, max: 599 })),
  attempts: fc.nat(10),
  backoffMs: fc.nat(5_000),
});

test("what was sent goes elsewhere by a rule alone", () => {
  fc.assert(fc.property(anEnd, (end) => !(end.isSent && mayGoElsewhere(end))));
});

test("a response counts unless the rule lists its status; a policy's refusal is never retried", () => {
  fc.assert(
    fc.property(anEnd, aRule, (end, rule) => {
      if (end.failure === "status") return isRetried(end, rule) === rule.codes.includes(end.status);
      if (end.failure === "not-reached" && end.cause === "tunnel-refused" && end.status < 500)
        return !isRetried(end, rule) && !mayGoElsewhere(end);
      return true;
    }),
  );
});

test("nobody provokes a refusal of TCP; a slow dial, a refused CONNECT and a response anybody may", () => {
  const refused = { failure: "not-reached", cause: "connect-failed", status: 111, isSent: false } as const;
  assert.ok(nobodyProvokes(refused, "local") && nobodyProvokes({ ...refused, status: 113 }, "local"));
  // Dialled from the caller's pod, whose own routes and filters refuse as well.
  assert.ok(!nobodyProvokes(refused, "tunnel") && !nobodyProvokes(refused, "direct"));
  for (const other of [
    { ...refused, status: 110 },
    { ...refused, status: 0 },
    { ...refused, cause: "connect-timeout" },
    { ...refused, cause: "tunnel-refused", status: 503 },
    { ...refused, failure: "lost", cause: null },
    { ...refused, failure: "status", cause: null },
  ] as const)
    assert.ok(!nobodyProvokes(other, "local"), JSON.stringify(other));
});

test("methods that may not be repeated want a match that names them", () => {
  const retry = { codes: [503], attempts: 1, backoffMs: 1 };
  for (const method of ["POST", "PATCH", "CONNECT", "LOCK", "get", "BREW"]) {
    assert.equal(retryRuleOf({ rule: { retry }, match: { method: null } }, method), null, method);
    assert.equal(retryRuleOf({ rule: { retry }, match: { method } }, method), retry);
  }
  for (const method of ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
    assert.equal(retryRuleOf({ rule: { retry }, match: { method: null } }, method), retry, method);
  assert.equal(retryRuleOf({ rule: { retry: null }, match: { method: "POST" } }, "POST"), null);
  assert.equal(retryRuleOf({ rule: { retry: { ...retry, attempts: 0 } }, match: { method: null } }, "GET"), null);
  assert.equal(retryRuleOf(null, "GET"), null);
});

test("a pause is never shorter than the rule's backoff, or longer than a minute and the backoff allow", () => {
  fc.assert(
    fc.property(
      aRule,
      fc.integer({ min: 1, max: 100 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (rule, nth, random) => {
        const pause = pauseMs(rule, nth, random);
        return pause >= rule.backoffMs && pause <= 15 * rule.backoffMs;
      },
    ),
  );
});
