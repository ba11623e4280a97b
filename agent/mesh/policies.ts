// any thread · Istio's AuthorizationPolicy and PeerAuthentication (security.istio.io/v1) as values. Plain data.
import type { SourceRef } from "./source-ref.ts";

/** Presence is `*`. Prefix `abc*`, suffix `*abc`. Anything else is exact. Parsed once, when the object is read. */
export type StringMatch =
  | { readonly kind: "exact"; readonly value: string }
  | { readonly kind: "prefix"; readonly value: string }
  | { readonly kind: "suffix"; readonly value: string }
  | { readonly kind: "presence" };

/** A path, or Istio's template of a path: `{*}` is one segment, `{**}` any number of them at the end. Kept as it is written. */
export type PathMatch = StringMatch | { readonly kind: "template"; readonly value: string };

/** A block of addresses, made by `parseCidr` of ip.ts: its network address as 16 bytes, its length in bits of those. */
export type Cidr = { readonly text: string; readonly bytes: readonly number[]; readonly prefixBits: number };

/**
 * Names of fields that are written but cannot be read, or that this release does not know: only an object of an API server has
 * any. Such a field has no values here. A DENY counts it as matching; an ALLOW rule with such a field matches nobody.
 */
type Unreadable = { readonly unreadable: readonly string[] };

/** An empty list is no constraint. Positive: any must match; not*: none may. */
export type Source = Unreadable & {
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
  // Only a request shows what these compare.
  readonly requestPrincipals: readonly StringMatch[];
  readonly notRequestPrincipals: readonly StringMatch[];
  readonly remoteIpBlocks: readonly Cidr[];
  readonly notRemoteIpBlocks: readonly Cidr[];
};

export type Operation = Unreadable & {
  readonly ports: readonly number[];
  readonly notPorts: readonly number[];
  // Only a request shows what these compare.
  readonly hosts: readonly StringMatch[];
  readonly notHosts: readonly StringMatch[];
  readonly methods: readonly StringMatch[];
  readonly notMethods: readonly StringMatch[];
  readonly paths: readonly PathMatch[];
  readonly notPaths: readonly PathMatch[];
};

export type Condition = {
  readonly key: string;
  /** None is filled: the values cannot be read, or the key is unknown. Else those of the key's type: `cidrs` for source.ip, destination.ip, remote.ip; `ports` for destination.port; else `strings`. */
  readonly strings: readonly StringMatch[];
  readonly notStrings: readonly StringMatch[];
  readonly cidrs: readonly Cidr[];
  readonly notCidrs: readonly Cidr[];
  readonly ports: readonly number[];
  readonly notPorts: readonly number[];
  /** Only a request, or the TLS within the connection, shows what this key names. */
  readonly http: boolean;
  readonly from: SourceRef;
};

/** from AND to AND when; within from and to: any entry. An empty list is no constraint. */
export type Rule = Unreadable & {
  readonly sources: readonly Source[];
  readonly operations: readonly Operation[];
  readonly when: readonly Condition[];
  readonly from: SourceRef;
};

/** An entry without any field, to be filled in. */
export const emptySource: Source = {
  principals: [],
  notPrincipals: [],
  namespaces: [],
  notNamespaces: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  trustDomains: [],
  notTrustDomains: [],
  ipBlocks: [],
  notIpBlocks: [],
  requestPrincipals: [],
  notRequestPrincipals: [],
  remoteIpBlocks: [],
  notRemoteIpBlocks: [],
  unreadable: [],
};
export const emptyOperation: Operation = {
  ports: [],
  notPorts: [],
  hosts: [],
  notHosts: [],
  methods: [],
  notMethods: [],
  paths: [],
  notPaths: [],
  unreadable: [],
};

/** The fields of an entry that only a request shows, in the order in which they are reported. */
export const sourceRequestFields = [
  "requestPrincipals",
  "notRequestPrincipals",
  "remoteIpBlocks",
  "notRemoteIpBlocks",
] as const satisfies readonly (keyof Source)[];
export const operationRequestFields = [
  "hosts",
  "notHosts",
  "methods",
  "notMethods",
  "paths",
  "notPaths",
] as const satisfies readonly (keyof Operation)[];

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
  /** Before every other level: its selector cannot be read, so each workload of the namespace may be meant. */
  readonly overrides?: true;
  readonly from: SourceRef;
};
