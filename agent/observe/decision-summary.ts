// 15 · any thread · a decision in the few words that logs, tables and metrics need. Pure.
import { ruleName } from "../mesh/full-name.ts";
import { lineText } from "../mesh/source-ref.ts";
import type { Decision, DenyReason, Miss, RuleRef } from "../policy/decision.ts";

export type DecisionSummary = {
  readonly verdict: "allow" | "deny";
  readonly layer: "L4" | "L7";
  readonly reason: DenyReason | null;
  /** `<namespace>/<name>[<rule>]`; empty: no object decided. */
  readonly policy: string;
  /** `<file>:<line>` of the rule; empty when it came from an API or nothing decided. */
  readonly at: string;
  /** `<policy> wants <field> <want>; got <got>`, with ", and …" when the rule lacked more; empty: none. */
  readonly nearestMiss: string;
  readonly audited: readonly string[];
  readonly dryRunDenied: readonly string[];
};

/** Summaries of what is allowed, by rule: nearly every connection is allowed, and every open connection holds its summary. */
const allowedBy = new WeakMap<RuleRef, DecisionSummary>();
/** The same where no rule decided, by layer. */
const allowedByNobody = new Map<Decision["layer"], DecisionSummary>();

/** Of a decision, or of a request's verdict: the steps of a trace are not read. */
type Summarized = Omit<Decision, "verdict" | "steps" | "reason" | "nearestMiss"> &
  Partial<Pick<Decision, "steps">> &
  ({ readonly verdict: "allow" } | Pick<Extract<Decision, { verdict: "deny" }>, "verdict" | "reason" | "nearestMiss">);

/** What a record keeps of a decision. Decisions that allow and report nothing share their summaries. */
export function summarize(decision: Summarized): DecisionSummary {
  const { verdict, decidedBy, audited, dryRunDenied } = decision;
  if (verdict !== "allow" || audited.length + dryRunDenied.length > 0) return written(decision);
  const { layer } = decision;
  const known = decidedBy === null ? allowedByNobody.get(layer) : allowedBy.get(decidedBy);
  if (known?.layer === layer) return known;
  const summary = written(decision);
  if (decidedBy === null) allowedByNobody.set(layer, summary);
  else allowedBy.set(decidedBy, summary);
  return summary;
}

function written(decision: Summarized): DecisionSummary {
  const misses = decision.verdict === "deny" ? decision.nearestMiss : [];
  return {
    verdict: decision.verdict,
    layer: decision.layer,
    reason: decision.verdict === "deny" ? decision.reason : null,
    policy: decision.decidedBy ? ruleName(decision.decidedBy) : "",
    at: decision.decidedBy ? lineText(decision.decidedBy.from) : "",
    nearestMiss: missText(misses),
    audited: decision.audited.map(ruleName),
    dryRunDenied: decision.dryRunDenied.map(ruleName),
  };
}

/** Several misses are of one rule, which wanted all of them. */
function missText(misses: readonly Miss[]): string {
  const [first] = misses;
  if (!first) return "";
  const wanted = misses.map(({ field, want, got }) => `${field} ${want}; got ${got}`);
  return `${ruleName(first.rule)} wants ${wanted.join(", and ")}`;
}
