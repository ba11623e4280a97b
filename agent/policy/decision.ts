// 9 · any thread · the verdict of the one evaluator and what it was made of. Every reader (enforcement, explain, logs,
// metrics, page) reads this and nothing else.
import type { SourceRef } from "../mesh/source-ref.ts";

/** A closed list; each value is a metric label, an access-log value and a page in docs/. */
export type DenyReason =
  | "denied-by-policy" //    a DENY rule matched
  | "no-allow-matched" //    ALLOW policies apply and none matched
  | "ambiguous-path" //      whether a rule holds depends on what the application makes of the request's path
  | "ambiguous-host" //      the same of its host
  | "limited" //             more requests than a LimitPolicy admits; of a connection: its requests cannot be counted
  | "mtls-required" //       plaintext to a STRICT port
  | "unknown-source" //      the source pod is not a known workload
  | "unknown-destination"; // STRICT and nobody knows the destination

export type RuleRef = {
  readonly kind: "AuthorizationPolicy" | "PeerAuthentication" | "LimitPolicy";
  readonly namespace: string;
  readonly name: string;
  /** Index into spec.rules; -1: the object as a whole. */
  readonly rule: number;
  readonly from: SourceRef;
};

/** In this rule this field wanted `want` and got `got`. */
export type Miss = { readonly rule: RuleRef; readonly field: string; readonly want: string; readonly got: string };

export type StepStatus = "ok" | "skipped" | "decides" | "failed";
export type Step = { readonly id: string; readonly status: StepStatus; readonly summary: string };

type Judged =
  | { readonly verdict: "allow"; readonly decidedBy: RuleRef | null }
  | {
      readonly verdict: "deny";
      readonly reason: DenyReason;
      readonly decidedBy: RuleRef | null;
      /** Of the rule that lacked least. A single miss is the change that would have allowed it; of several, all of them together. */
      readonly nearestMiss: readonly Miss[];
    };

export type Decision = Judged & {
  /** "L7": a request was judged, by rules that read requests. */
  readonly layer: "L4" | "L7";
  /** Of each AUDIT policy the first rule that matched. Never changes the verdict. */
  readonly audited: readonly RuleRef[];
  /** What would have denied were the dry-run policies in force. Never changes the verdict. */
  readonly dryRunDenied: readonly RuleRef[];
  /** Empty unless a trace was asked for. */
  readonly steps: readonly Step[];
};

/**
 * "allow": every request would be allowed, with the same reports of AUDIT and dry-run policies. "deny": none would be. "http":
 * requests may be judged differently from each other.
 */
export type Settled = "allow" | "deny" | "http";
