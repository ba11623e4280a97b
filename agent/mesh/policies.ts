// any thread · Istio's AuthorizationPolicy and PeerAuthentication (security.istio.io/v1) as values. Plain data.
import type { SourceRef } from "./source-ref.ts";

/** Presence is `*`. Prefix `abc*`, suffix `*abc`. Anything else is exact. Parsed once, when the object is read. */
export type StringMatch =
  | { readonly kind: "exact"; readonly value: string }
  | { readonly kind: "prefix"; readonly value: string }
  | { readonly kind: "suffix"; readonly value: string }
  | { readonly kind: "presence" };

/** A CIDR with its network address as 16 bytes in hex-free form: see ip.ts `parseCidr`. */
export type Cidr = { readonly text: string; readonly bytes: readonly number[]; readonly prefixBits: number };

/** An empty list is no constraint. Positive: any must match; not*: none may. */
export type Source = {
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  /** `<namespace>/<name>`, trust domain of the policy's own mesh. */
  readonly serviceAccounts: readonly string[];
  readonly notServiceAccounts: readonly string[];
  readonly trustDomains: readonly StringMatch[];
  readonly notTrustDomains: readonly StringMatch[];
  readonly ipBlocks: readonly Cidr[];
  readonly notIpBlocks: readonly Cidr[];
  /** Fields an L4 judge cannot see (requestPrincipals, remoteIpBlocks, …), by name. Non-empty: see l4-view.ts. */
  readonly http: readonly string[];
};

export type Operation = {
  readonly ports: readonly number[];
  readonly notPorts: readonly number[];
  /** hosts, methods, paths and their not* forms, by name; kept for the L7 judge. */
  readonly http: readonly string[];
};

export type Condition = {
  readonly key: string;
  /** One of the lists is non-empty. `cidrs` for source.ip, destination.ip, remote.ip; `ports` for destination.port; else `strings`. */
  readonly strings: readonly StringMatch[];
  readonly notStrings: readonly StringMatch[];
  readonly cidrs: readonly Cidr[];
  readonly notCidrs: readonly Cidr[];
  readonly ports: readonly number[];
  readonly notPorts: readonly number[];
  /** True when only an L7 judge can see this key. */
  readonly http: boolean;
  readonly from: SourceRef;
};

/** from AND to AND when; within from and to: any entry. An empty list is no constraint. */
export type Rule = {
  readonly sources: readonly Source[];
  readonly operations: readonly Operation[];
  readonly when: readonly Condition[];
  readonly from: SourceRef;
};

export type PolicyAction = "ALLOW" | "DENY" | "AUDIT";

export type AuthorizationPolicy = {
  readonly name: string;
  readonly namespace: string;
  /** null: every workload of the namespace; of the whole mesh when the namespace is the root namespace. */
  readonly selector: Readonly<Record<string, string>> | null;
  readonly action: PolicyAction;
  readonly dryRun: boolean;
  readonly rules: readonly Rule[];
  readonly from: SourceRef;
};

export type MtlsMode = "UNSET" | "DISABLE" | "PERMISSIVE" | "STRICT";

export type PeerAuthentication = {
  readonly name: string;
  readonly namespace: string;
  readonly selector: Readonly<Record<string, string>> | null;
  readonly mode: MtlsMode;
  /** By workload port; only with a selector. */
  readonly portLevel: Readonly<Record<number, MtlsMode>>;
  readonly from: SourceRef;
};
