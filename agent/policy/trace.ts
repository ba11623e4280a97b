// 9 · any thread · what the evaluator did, step by step, for explain. Reads what was decided, decides nothing. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import { ruleName } from "../mesh/full-name.ts";
import { keyPartsText, limitText } from "../mesh/limit-policy.ts";
import { positionText } from "../mesh/source-ref.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { type CompiledLimit, counts } from "./compile-limit.ts";
import type { CompiledRule } from "./compile-rule.ts";
import type { RuleRef, Step } from "./decision.ts";
import { judgementOrderText } from "./judgement-order.ts";
import { failedChecks } from "./nearest-miss.ts";
import type { PeerMode } from "./peer-mode.ts";
import type { PolicySet } from "./policy-set.ts";

/** null: nobody asked. */
export type Trace = Step[] | null;

/** Rules are named each; of a longer list only the number is given. */
const MOST_RULES = 50;

export function peerStep({ mode, level, decidedBy }: PeerMode, who: SpiffeId | null, decides: boolean): Step {
  const by = decidedBy === null ? "by default" : `by PeerAuthentication ${ruleName(decidedBy)} (${level} level)`;
  const caller = who === null ? "the caller is in plaintext" : `the caller proved ${who.text}`;
  return {
    id: "peer-authentication",
    status: decides ? "decides" : "ok",
    summary: `${mode} ${by}${positionOf(decidedBy)}; ${caller}`,
  };
}

export function denyStep({ deny }: PolicySet, denied: CompiledRule | undefined): Step {
  const id = "deny";
  if (denied !== undefined) {
    return { id, status: "decides", summary: `DENY ${ruleName(denied.ref)} matches${positionOf(denied.ref)}` };
  }
  if (deny.length === 0) return { id, status: "skipped", summary: "no DENY rule selects the destination" };
  return { id, status: "ok", summary: `none of ${deny.length} DENY rules matches` };
}

export function allowSteps(
  { allow, allowPolicies }: PolicySet,
  allowed: CompiledRule | undefined,
  { facts, who }: { readonly facts: ConnectionFacts; readonly who: SpiffeId | null },
): readonly Step[] {
  if (allowPolicies === 0) {
    return [{ id: "allow", status: "decides", summary: "no ALLOW policy selects the destination: open by default" }];
  }
  const tried =
    allowed === undefined
      ? allow
      : allow.slice(
          0,
          allow.findIndex(({ ref }) => ref === allowed.ref),
        );
  const failed = tried.slice(0, MOST_RULES).map((rule): Step => {
    const why = failedChecks(rule, facts, who).map(
      (check) => `${check.field} wants ${check.want()}, got ${check.got(facts, who)}`,
    );
    return {
      id: "allow-rule",
      status: "failed",
      summary: `ALLOW ${ruleName(rule.ref)} does not match${positionOf(rule.ref)}: ${why.join("; ")}`,
    };
  });
  const summary =
    allowed === undefined
      ? `none of ${allow.length} ALLOW rules of ${allowPolicies} policies matches`
      : `ALLOW ${ruleName(allowed.ref)} matches${positionOf(allowed.ref)}`;
  return [...failed, { id: "allow", status: "decides", summary }];
}

export function auditSteps(
  { audit, dryDeny, dryAllow }: PolicySet,
  audited: readonly RuleRef[],
  dryRunDenied: readonly RuleRef[],
): readonly Step[] {
  const steps: Step[] = [];
  if (audit.length > 0) {
    const names = audited.map(ruleName).join(", ");
    steps.push({ id: "audit", status: "ok", summary: names === "" ? "no AUDIT rule matches" : `audited by ${names}` });
  }
  if (dryDeny.length + dryAllow.length > 0) {
    const names = dryRunDenied.map(ruleName).join(", ");
    const summary = names === "" ? "dry-run policies would not deny" : `would be denied by dry-run ${names}`;
    steps.push({ id: "dry-run", status: "ok", summary });
  }
  return steps;
}

/** What is counted; whether it is admitted is known when it comes. */
export function limitStep(limits: readonly CompiledLimit[], facts: ConnectionFacts, who: SpiffeId | null): Step {
  const counting = limits.filter((limit) => counts(limit, facts, who)).slice(0, MOST_RULES);
  const words = counting.map(({ policy, ref, isShadow }) => {
    const per = keyPartsText(policy.per);
    const each = per === "" ? "" : ` per ${per}`;
    const shadow = isShadow ? " (shadow)" : "";
    return `${ruleName(ref)} ${limitText(policy)}${each} per pod, burst ${policy.burst}${shadow}${positionOf(ref)}`;
  });
  const id = "limits";
  const summary =
    words.length === 0 ? `none of ${limits.length} limits counts it` : `counted by ${words.join("; then ")}`;
  return { id, status: "ok", summary: `${summary} (in the order ${judgementOrderText})` };
}

function positionOf(rule: RuleRef | null): string {
  const position = rule === null ? "" : positionText(rule.from);
  return position === "" ? "" : ` at ${position}`;
}
