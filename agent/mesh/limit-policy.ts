// any thread · LimitPolicy (orlop.dev/v1alpha1) as a value: how many requests a workload takes, of whom. Plain data.
import type { Rule } from "./policies.ts";
import type { SourceRef } from "./source-ref.ts";

/** "enforce": what is over is refused. "shadow": it is counted and goes on. "standby": nobody counts. */
export type LimitMode = "enforce" | "shadow" | "standby";

/** What tells the requests of one bucket from those of another. */
export type LimitKeyPart =
  | { readonly by: "source" | "method" | "path" }
  /** In lower case. */
  | { readonly by: "header"; readonly name: string };

export type LimitPolicy = {
  readonly name: string;
  readonly namespace: string;
  /** null: every workload of the namespace; of the whole mesh when the namespace is the root namespace. */
  readonly selector: Readonly<Record<string, string>> | null;
  readonly mode: LimitMode;
  /** The highest is judged first; of equals the order is that of `<namespace>/<name>`. */
  readonly priority: number;
  /** Which requests count. A field that nobody can read for certain counts as matching: spelling a path in another way evades no limit. */
  readonly match: Rule;
  /** So many in `unitMs`, counted for each pod for itself. */
  readonly requests: number;
  readonly unitMs: number;
  /** So many may come at once when none came for a while; ≥ 1. */
  readonly burst: number;
  /** Empty: all requests that match share a bucket. */
  readonly per: readonly LimitKeyPart[];
  readonly from: SourceRef;
};

/** `100/second` */
export function limitText({ requests, unitMs }: Pick<LimitPolicy, "requests" | "unitMs">): string {
  return `${requests}/${unitMs === 1_000 ? "second" : unitMs === 60_000 ? "minute" : "hour"}`;
}

/** `source, header x-user`; empty: none. */
export function keyPartsText(per: LimitPolicy["per"]): string {
  return per.map((part) => (part.by === "header" ? `header ${part.name}` : part.by)).join(", ");
}
