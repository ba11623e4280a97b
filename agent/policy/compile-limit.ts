// 9 · any thread · a LimitPolicy made ready to be judged by: which requests count, in which bucket, at which rate. Pure.
import { decodedPath } from "../l7/canonical.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import { fullName } from "../mesh/full-name.ts";
import type { LimitKeyPart, LimitPolicy } from "../mesh/limit-policy.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { type CompiledRule, compileRules } from "./compile-rule.ts";
import type { Decision, RuleRef } from "./decision.ts";
import type { Rate } from "./limit-cells.ts";
import { matchesRule } from "./match.ts";

export type CompiledLimit = {
  readonly policy: LimitPolicy;
  /** `<namespace>/<name>` */
  readonly name: string;
  readonly ref: RuleRef;
  readonly isShadow: boolean;
  readonly rule: CompiledRule;
  readonly rate: Rate;
  /** Of a connection whose requests nobody can count: the same each time, so that judging allocates nothing. */
  readonly unread: Decision;
};

const NS_PER_MS = 1_000_000n;

/** Those that are judged, in their order. What is in standby is not there. */
export function compileLimits(policies: readonly LimitPolicy[], trustDomain: string): readonly CompiledLimit[] {
  return policies
    .filter(({ mode }) => mode !== "standby")
    .toSorted((a, b) => b.priority - a.priority || (fullName(a) < fullName(b) ? -1 : 1))
    .flatMap((policy) => compileLimit(policy, trustDomain));
}

function compileLimit(policy: LimitPolicy, trustDomain: string): readonly CompiledLimit[] {
  const { name, namespace, selector, match, from, requests, unitMs, burst, mode } = policy;
  // Matched as a rule that denies is: what is not clear counts.
  const denying = { name, namespace, selector, action: "DENY", dryRun: false, rules: [match], from } as const;
  const [compiled] = compileRules(denying, trustDomain);
  if (compiled === undefined) return [];
  const ref: RuleRef = { kind: "LimitPolicy", namespace, name, rule: -1, from };
  const rule = { ...compiled, ref };
  // Rounded up: never a request more.
  const count = BigInt(requests);
  const intervalNs = (BigInt(unitMs) * NS_PER_MS + count - 1n) / count;
  const rate = { intervalNs, aheadNs: intervalNs * BigInt(burst - 1) };
  const unread: Decision = {
    ...{ verdict: "deny", reason: "limited", decidedBy: ref, nearestMiss: [], layer: "L4" },
    ...{ audited: [], dryRunDenied: [], steps: [] },
  };
  return [{ policy, name: fullName(policy), ref, isShadow: mode === "shadow", rule, rate, unread }];
}

/**
 * Whether the limit counts this request; of a connection in the strict reading, whether it counts any of its requests.
 * @param who null: plaintext
 */
export function counts({ rule }: CompiledLimit, facts: ConnectionFacts, who: SpiffeId | null): boolean {
  return matchesRule(rule, facts, who);
}

/** Whether it looks at paths, so that the application must get the path that was looked at. */
export function comparesPath({ policy: { match, per } }: CompiledLimit): boolean {
  return (
    per.some(({ by }) => by === "path") ||
    match.operations.some(({ paths, notPaths }) => paths.length + notPaths.length > 0)
  );
}

/** Of the requests to one pod, those with the same text share a bucket. Callers without identity share a key. */
export function keyText({ policy: { per } }: CompiledLimit, facts: ConnectionFacts): string {
  const [first] = per;
  if (first === undefined) return "";
  // A text of its own for each request would have to be hashed anew: most limits have a single part.
  if (per.length === 1) return partText(first, facts);
  // No part can hold a byte 0: values of HTTP have none (RFC 9110 section 5.5), nor have identities.
  return per.map((part) => partText(part, facts)).join("\0");
}

function partText(part: LimitKeyPart, { security, sourceIdentity, request }: ConnectionFacts): string {
  if (part.by === "source") return security === "none" ? "" : (sourceIdentity?.text ?? "");
  if (typeof request === "string") return "";
  switch (part.by) {
    case "method":
      return request.method;
    case "path":
      // Each spelling of an ambiguous path would be a key of its own.
      return request.path.ambiguity === null ? decodedPath(request.path.text) : "";
    case "header":
      return request.header(part.name).join(",");
  }
}
