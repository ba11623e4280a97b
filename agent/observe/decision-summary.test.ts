import assert from "node:assert/strict";
import { test } from "node:test";
import { summarize } from "./decision-summary.ts";

const rule = {
  kind: "AuthorizationPolicy" as const,
  namespace: "shop",
  name: "callers",
  rule: 0,
  from: { file: "mesh.yaml", line: 14, column: 3 },
};

test("a decision is summarised with its rule, its line and the nearest miss", () => {
  const summary = summarize({
    verdict: "deny",
    reason: "no-allow-matched",
    decidedBy: null,
    nearestMiss: [
      { rule, field: "source.principal", want: "a", got: "b" },
      { rule, field: "ports", want: "80", got: "81" },
    ],
    layer: "L4",
    audited: [],
    dryRunDenied: [rule],
    steps: [],
  });
  assert.equal(summary.nearestMiss, "shop/callers[0] wants source.principal a; got b, and ports 80; got 81");
  assert.deepEqual(summary.dryRunDenied, ["shop/callers[0]"]);
  assert.equal(summary.at, "");
});

test("a decision of the same rule is summarised once, unless audit or dry-run policies add to it", () => {
  const decision = {
    verdict: "allow",
    decidedBy: rule,
    layer: "L4",
    audited: [],
    dryRunDenied: [],
    steps: [],
  } as const;
  assert.equal(summarize(decision), summarize({ ...decision }));
  assert.deepEqual(summarize({ ...decision, audited: [rule] }).audited, ["shop/callers[0]"]);
});
