// The table of how requests end, row by row: flag and details as Envoy has them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { requestOutcomes } from "../abi.ts";
import type { DecisionSummary } from "../observe/decision-summary.ts";
import { type RouteAnswer, requestFlags, routeAnswers } from "../observe/request-record.ts";
import type { DenyReason } from "../policy/decision.ts";
import type { Refusal } from "./outcome.ts";
import { type FlaggedTries, requestEndingOf } from "./request-outcome.ts";

type Ended = Parameters<typeof requestEndingOf>[0];
const end = (outcome: Ended["outcome"], given: Partial<Ended> = {}): Ended => ({
  ...{ outcome, status: 0, refusal: "none", responseBytes: 0 },
  ...given,
});
function denied(reason: DenyReason, policy: string): DecisionSummary {
  const nothing = { at: "", nearestMiss: "", audited: [], dryRunDenied: [] };
  return { verdict: "deny", layer: "L7", reason, policy, ...nothing };
}
const allowed: DecisionSummary = { ...denied("denied-by-policy", "shop/web[0]"), verdict: "allow", reason: null };

type Row = readonly [
  ended: Ended,
  decision: DecisionSummary | null,
  asked: Refusal | null,
  flag: string,
  details: string,
  answer?: RouteAnswer | null,
  tries?: FlaggedTries,
];
const delayed: FlaggedTries = { isDelayed: true, retry: null };
const spent: FlaggedTries = { isDelayed: false, retry: "spent" };
const budget: FlaggedTries = { isDelayed: false, retry: "budget" };
const lost = "upstream_reset_before_response_started{connection_termination}";
const unreached = "upstream_reset_before_response_started{connection_failure}";
const unread = "upstream_reset_before_response_started{protocol_error}";
const rows: readonly Row[] = [
  [end("answered", { status: 200 }), allowed, null, "-", "via_upstream"],
  [end("answered", { status: 503 }), allowed, null, "-", "via_upstream"],
  [end("upgraded", { status: 101 }), allowed, null, "-", "via_upstream"],
  [
    ...([end("replied", { status: 403 }), denied("denied-by-policy", "shop/no-debug[2]"), null] as const),
    ...(["-", "rbac_access_denied_matched_policy[ns[shop]-policy[no-debug]-rule[2]]"] as const),
  ],
  [
    ...([end("replied", { status: 403 }), denied("mtls-required", "shop/strict"), null] as const),
    ...(["-", "rbac_access_denied_matched_policy[ns[shop]-policy[strict]]"] as const),
  ],
  [
    ...([end("replied", { status: 403 }), denied("no-allow-matched", ""), null] as const),
    ...(["-", "rbac_access_denied_matched_policy[none]"] as const),
  ],
  [end("replied", { status: 400 }), denied("ambiguous-path", "shop/p[0]"), null, "-", "path_normalization_failed"],
  [end("replied", { status: 400 }), denied("ambiguous-host", ""), null, "-", "host_normalization_failed"],
  [end("replied", { status: 429 }), denied("limited", "shop/orders"), null, "RL", "local_rate_limited"],
  [end("replied", { status: 503 }), null, null, "UH", "no_healthy_upstream"],
  [end("replied", { status: 500 }), null, null, "-", "internal_error"],
  [end("replied", { status: 404 }), null, null, "NR", "route_not_found", "no-route"],
  [end("replied", { status: 302 }), null, null, "-", "direct_response", "redirect"],
  [end("replied", { status: 204 }), null, null, "-", "direct_response", "preflight"],
  [end("replied", { status: 500 }), null, null, "NC", "cluster_not_found", "no-backend"],
  [end("replied", { status: 500 }), null, null, "NC", "cluster_not_found", "bad-backend"],
  [end("replied", { status: 503 }), null, null, "UH", "no_healthy_upstream", "no-endpoint"],
  [end("replied", { status: 503 }), null, null, "UO", "upstream_reset_before_response_started{overflow}", "overflow"],
  [end("replied", { status: 503 }), null, null, "NC", "cluster_not_found", "no-service"],
  [end("replied", { status: 418 }), null, null, "FI", "fault_filter_abort", "injected"],
  [end("cut"), null, null, "FI", "fault_filter_abort", "injected"],
  [end("replied", { status: 500 }), null, null, "NR", "route_not_found{too_many_matches}", "too-many-matches"],
  [end("replied", { status: 414 }), null, null, "-", "route_target_too_long", "too-long"],
  [
    ...([end("replied", { status: 403 }), denied("no-allow-matched", ""), null] as const),
    ...(["-", "rbac_access_denied_matched_policy[none]", "policy"] as const),
  ],
  [end("refused", { status: 503, refusal: "pod-budget" }), null, null, "OM", "overload"],
  [end("refused", { status: 431, refusal: "head-too-large" }), null, null, "DPE", "http1.codec_error"],
  [end("refused", { refusal: "http2" }), null, null, "DPE", "http2.codec_error"],
  [
    ...([end("bad-response", { status: 502, refusal: "encoding" }), allowed, null] as const),
    ...(["UPE", "upstream_reset_before_response_started{protocol_error}"] as const),
  ],
  [
    ...([end("bad-response", { status: 200, refusal: "chunk-size", responseBytes: 5 }), allowed, null] as const),
    ...(["UPE", "upstream_reset_after_response_started{protocol_error}"] as const),
  ],
  [end("reset-by-downstream"), allowed, null, "DC", "downstream_remote_disconnect"],
  [
    ...([end("reset-by-upstream"), allowed, null] as const),
    ...(["UC", "upstream_reset_before_response_started{connection_termination}"] as const),
  ],
  [
    ...([end("reset-by-upstream", { status: 200 }), allowed, null] as const),
    ...(["UC", "upstream_reset_after_response_started{connection_termination}"] as const),
  ],
  [end("timeout", { status: 408 }), null, null, "-", "request_header_timeout"],
  [end("timeout", { status: 503 }), null, null, "-", "decision_timeout"],
  [end("timeout", { status: 200 }), allowed, null, "SI", "stream_idle_timeout"],
  [end("timeout"), allowed, null, "SI", "stream_idle_timeout"],
  [
    ...([end("not-reached", { status: 503 }), allowed, null] as const),
    ...(["UF", "upstream_reset_before_response_started{connection_failure}"] as const),
  ],
  [
    ...([end("not-reached", { status: 503, notReached: { cause: "overflow", message: "" } }), allowed, null] as const),
    ...(["UO", "upstream_reset_before_response_started{overflow}"] as const),
  ],
  [end("deadline", { status: 504 }), allowed, null, "UT", "response_timeout"],
  [end("answered", { status: 200 }), allowed, null, "DI", "via_upstream", null, delayed],
  [end("replied", { status: 418 }), null, null, "DI,FI", "fault_filter_abort", "injected", delayed],
  [end("deadline", { status: 504 }), allowed, null, "UT", "response_timeout", null, delayed],
  [end("answered", { status: 503 }), allowed, null, "URX", "via_upstream", null, spent],
  [end("not-reached", { status: 503 }), allowed, null, "UF,URX", unreached, null, spent],
  [end("reset-by-upstream", { status: 502 }), allowed, null, "UC,URX", lost, null, spent],
  [end("reset-by-upstream"), allowed, null, "UC,URX", lost, null, spent],
  [end("bad-response", { status: 502 }), allowed, null, "URX,UPE", unread, null, spent],
  [end("deadline", { status: 504 }), allowed, null, "UT,URX", "response_timeout", null, spent],
  [end("answered", { status: 503 }), allowed, null, "UO", "via_upstream", null, budget],
  [end("deadline", { status: 504 }), allowed, null, "UT,UO", "response_timeout", null, budget],
  [end("not-reached", { status: 503 }), allowed, null, "UF,UO", unreached, null, budget],
  [end("reset-by-upstream"), allowed, null, "UC,UO", lost, null, budget],
  [end("bad-response", { status: 502 }), allowed, null, "UO,UPE", unread, null, budget],
  [
    ...([end("cut"), denied("denied-by-policy", "shop/late[0]"), "policy"] as const),
    ...(["LR", "rbac_access_denied_matched_policy[ns[shop]-policy[late]-rule[0]]"] as const),
  ],
  [end("cut"), allowed, "draining", "LR", "downstream_local_disconnect{draining}"],
  [end("cut"), allowed, null, "LR", "downstream_local_disconnect"],
];

test("each end has Envoy's flag and details", () => {
  for (const [ended, decision, asked, flag, details, answer = null, tries] of rows) {
    const route = answer === null ? null : { name: "", answer };
    const found = requestEndingOf(ended, decision, { asked, route, ...(tries && { tries }) });
    assert.deepEqual([found.flag, found.details], [flag, details], JSON.stringify(ended));
  }
});

test("every outcome of the engine, every answer of a route and every flag has a row", () => {
  assert.deepEqual(new Set(rows.flatMap(([, , , , , answer]) => answer ?? [])), new Set(routeAnswers));
  assert.deepEqual(new Set(rows.map(([{ outcome }]) => outcome)), new Set(requestOutcomes));
  assert.deepEqual(new Set(rows.map(([, , , flag]) => flag)), new Set(requestFlags));
});

test("docs/metrics.md has the rows of this table, and no other", () => {
  const page = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
  const [, section = ""] = page.split("### Flags of requests\n");
  const [table = ""] = section.split("\n## ");
  const written = [...table.matchAll(/^\| `([^`]+)` \| `([^`]+)` \|/gm)].map(
    ([, flag, details]) => `${flag} ${details}`,
  );
  const shortened = rows.map(([, , , flag, details]) =>
    `${flag} ${details}`.replace(/matched_policy\[.*\]$/, "matched_policy[…]").replace(/\{draining\}$/, ""),
  );
  assert.deepEqual([...new Set(shortened)].sort(), [...written].sort());
});

test("what was no acceptable HTTP/1 is named with the message and the rule", () => {
  const of = (ended: Ended) => requestEndingOf(ended, null, { asked: null, route: null }).refused;
  assert.deepEqual(of(end("refused", { refusal: "host-twice" })), { message: "request", reason: "host-twice" });
  assert.deepEqual(of(end("bad-response", { refusal: "length" })), { message: "response", reason: "length" });
  assert.equal(of(end("answered", { status: 200 })), null);
});
