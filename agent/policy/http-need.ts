// any thread · must connections to a port of a workload be read, and why? The answer of the rules alone, for any caller: for a given caller,
// `settle` may still find that its connection decides every request. Pure.
import type { CompiledRule } from "./compile-rule.ts";
import type { RuleRef } from "./decision.ts";
import type { CompiledPolicy, PolicySet } from "./policy-set.ts";
import type { RuleCheck } from "./rule-checks.ts";

/** A closed list: shown by `orlop describe`, explained in docs/policy.md. */
export type HttpNeedReason =
  // Read: the action of a rule that names what only a request shows.
  | "deny-rule"
  | "allow-rule"
  | "audit-rule"
  | "dry-run-rule" //          of a DENY or ALLOW that only reports
  | "limit-policy" //          it counts requests
  // Not read.
  | "no-request-rule" //       no rule about this port names anything of a request
  | "denied-by-connection" //  some do, but nobody is let in to this port
  | "allowed-by-connection"; // ALLOW rules do, but another rule lets everybody in to this port

export type HttpNeed = {
  readonly port: number;
  readonly isRead: boolean;
  /** Never empty. Where connections are not read, a single reason; its rule is null where no single rule is the reason. */
  readonly reasons: readonly { readonly why: HttpNeedReason; readonly rule: RuleRef | null }[];
};

/**
 * Sound: where `settle` says "http" of any connection to the port, it is read. The reverse need not hold: that a rule is about
 * callers who do not exist, or that rules cancel each other out by who calls, is not looked at.
 */
export function httpNeedAt(set: PolicySet, port: number): HttpNeed {
  const needed = [
    ...refsOf(set.deny, (rule) => readsAsDeny(rule, port)).map((rule) => ({ why: "deny-rule", rule }) as const),
    ...refsOf(set.allow, (rule) => readsAsAllow(rule, port)).map((rule) => ({ why: "allow-rule", rule }) as const),
    ...refsOf(rulesOf(set.audit), (rule) => readsAsDeny(rule, port)).map(
      (rule) => ({ why: "audit-rule", rule }) as const,
    ),
    ...[
      ...refsOf(rulesOf(set.dryDeny), (rule) => readsAsDeny(rule, port)),
      ...refsOf(rulesOf(set.dryAllow), (rule) => readsAsAllow(rule, port)),
    ].map((rule) => ({ why: "dry-run-rule", rule }) as const),
    ...set.limits.flatMap(({ rule }) =>
      isAbout(rule, port) ? [{ why: "limit-policy", rule: rule.ref } as const] : [],
    ),
  ];
  if (needed.length === 0) return notRead(port, "no-request-rule", null);
  const closing = set.deny.find((rule) => isForEverybody(rule, port));
  if (closing !== undefined) return notRead(port, "denied-by-connection", closing.ref);
  if (set.allowPolicies > 0 && !set.allow.some((rule) => isAbout(rule, port))) {
    return notRead(port, "denied-by-connection", null);
  }
  const opening = set.allow.find((rule) => isForEverybody(rule, port));
  const reasons = opening === undefined ? needed : needed.filter(({ why }) => why !== "allow-rule");
  if (reasons.length === 0) return notRead(port, "allowed-by-connection", opening?.ref ?? null);
  return { port, isRead: true, reasons };
}

function notRead(port: number, why: HttpNeedReason, rule: RuleRef | null): HttpNeed {
  return { port, isRead: false, reasons: [{ why, rule }] };
}

function rulesOf(policies: readonly CompiledPolicy[]): readonly CompiledRule[] {
  return policies.flatMap(({ rules }) => rules);
}

function refsOf(rules: readonly CompiledRule[], isOne: (rule: CompiledRule) => boolean): readonly RuleRef[] {
  return rules.filter(isOne).map(({ ref }) => ref);
}

/** Whether the rule can hold at the port for some caller and some request. */
function isAbout({ never, when, operations }: CompiledRule, port: number): boolean {
  return never === null && mayHold(when, port) && (operations.length === 0 || operations.some((e) => mayHold(e, port)));
}

/** Whether an ALLOW rule needs requests to be read at the port: no entry of such a rule matches a connection alone, even an entry without a field of HTTP. */
function readsAsAllow(rule: CompiledRule, port: number): boolean {
  return rule.readsRequest && isAbout(rule, port);
}

/** A DENY or AUDIT is judged entry by entry. */
function readsAsDeny(rule: CompiledRule, port: number): boolean {
  if (!rule.readsRequest || !isAbout(rule, port)) return false;
  return (
    rule.when.some(needsRequest) || rule.operations.some((entry) => mayHold(entry, port) && entry.some(needsRequest))
  );
}

/** Whether the rule holds for each caller and each request at the port. */
function isForEverybody({ neverStrict, when, operations, sources }: CompiledRule, port: number): boolean {
  const holds = (checks: readonly RuleCheck[]): boolean => checks.every(({ atPort }) => atPort?.(port) === true);
  return (
    neverStrict === null && sources.length === 0 && holds(when) && (operations.length === 0 || operations.some(holds))
  );
}

function mayHold(checks: readonly RuleCheck[], port: number): boolean {
  return checks.every(({ atPort }) => atPort === undefined || atPort(port));
}

function needsRequest({ needs }: RuleCheck): boolean {
  return needs === "request";
}
