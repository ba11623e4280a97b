// Test values: policies, workloads and facts with everything said that a test does not say.

import { requestFacts } from "../l7/request-facts.ts";
import { headerOf } from "../mesh/alike-names.ts";
import type { ConnectionFacts, RequestFacts } from "../mesh/facts.ts";
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import { workload as meshWorkload } from "../mesh/mesh.fake.ts";
import {
  type AuthorizationPolicy,
  type Condition,
  emptyOperation,
  emptySource,
  type Operation,
  type PeerAuthentication,
  type Rule,
  type Source,
  type StringMatch,
} from "../mesh/policies.ts";
import type { Service } from "../mesh/service.ts";
import { parseSpiffeId, type SpiffeId } from "../mesh/spiffe-id.ts";
import { MeshStore } from "../mesh/store.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Decision, DenyReason } from "./decision.ts";
import { judgeOf } from "./evaluate.ts";

const from = { file: "mesh.yaml", line: 7, column: 3 };

/** As it is written in YAML: `*`, `*suffix`, `prefix*` or exact. */
export function text(written: string): StringMatch {
  if (written === "*") return { kind: "presence" };
  if (written.startsWith("*")) return { kind: "suffix", value: written.slice(1) };
  if (written.endsWith("*")) return { kind: "prefix", value: written.slice(0, -1) };
  return { kind: "exact", value: written };
}

export function source(fields: Partial<Source>): Source {
  return { ...emptySource, ...fields };
}

export function operation(fields: Partial<Operation>): Operation {
  return { ...emptyOperation, ...fields };
}

export function condition(key: string, fields: Partial<Condition>): Condition {
  const lists = { strings: [], notStrings: [], cidrs: [], notCidrs: [], ports: [], notPorts: [] };
  return { key, ...lists, http: false, from, ...fields };
}

export function rule(fields: Partial<Rule>): Rule {
  return { sources: [], operations: [], when: [], unreadable: [], from, ...fields };
}

export function policy(name: string, fields: Partial<AuthorizationPolicy>): AuthorizationPolicy {
  return { name, namespace: "shop", selector: null, action: "ALLOW", dryRun: false, rules: [], from, ...fields };
}

export function peerAuthentication(name: string, fields: Partial<PeerAuthentication>): PeerAuthentication {
  return { name, namespace: "shop", selector: null, mode: "UNSET", portLevel: {}, from, ...fields };
}

/** 100/second of every request, in a single bucket. */
export function limit(name: string, fields: Partial<LimitPolicy>): LimitPolicy {
  return {
    ...{ name, namespace: "shop", selector: null, mode: "enforce", priority: 0, match: rule({}), per: [], from },
    ...{ requests: 100, unitMs: 1_000, burst: 100 },
    ...fields,
  };
}

/** @throws when it is no identity. */
export function identity(principal: string): SpiffeId {
  const id = parseSpiffeId(`spiffe://${principal}`);
  if (id === undefined) throw new Error(`${principal} is no principal`);
  return id;
}

/** `shop/api` at 10.0.0.2. */
export function workload(fields: Partial<Workload>): Workload {
  return meshWorkload("api", {
    ...{ uid: "c//Pod/shop/api", podUid: "", cluster: "c", canonicalRevision: "latest", from },
    ...{ addresses: ["10.0.0.2"], ...fields },
  });
}

/** cluster.local/ns/shop/sa/web over mTLS to shop/api:8080. */
export function facts(fields: Partial<ConnectionFacts>): ConnectionFacts {
  return {
    sourceAddress: "10.0.0.1",
    sourcePort: 40_000,
    sourceIdentity: identity("cluster.local/ns/shop/sa/web"),
    destinationAddress: "10.0.0.2",
    destinationPort: 8080,
    destination: workload({}),
    security: "mtls",
    request: "strict",
    ...fields,
  };
}

/** `GET /` to api, without fields; `headers` by lower-case name. */
export function request({
  method = "GET",
  target = "/",
  authority = "api",
  headers = {},
}: {
  readonly method?: string;
  readonly target?: string;
  readonly authority?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
}): RequestFacts {
  return requestFacts({
    method,
    target,
    authority,
    header: headerOf(
      Object.entries(headers).flatMap(([name, values]) => values.map((value) => [name, value] as const)),
    ),
  });
}

export const plaintext = { security: "none", sourceIdentity: null } as const;

/** The policies that select the destination, in order, whatever they say of a selector. */
export type PolicyContext = {
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  readonly peerAuthentications: readonly PeerAuthentication[];
  readonly limitPolicies?: readonly LimitPolicy[];
  readonly rootNamespace: string;
  readonly trustDomain: string;
};

/** Judges a connection, with nothing kept from an earlier judgement. */
export function evaluate(of: ConnectionFacts, context: PolicyContext): Decision {
  const { authorizationPolicies, peerAuthentications, limitPolicies = [], rootNamespace, trustDomain } = context;
  return judgeOf({
    policyVersion: 1,
    rootNamespace,
    trustDomain,
    authorizationPoliciesFor: () => authorizationPolicies,
    peerAuthenticationsFor: () => peerAuthentications,
    limitPoliciesFor: () => limitPolicies,
  })(of);
}

/** A store of a mesh with these objects and no others. */
export function storeOf(
  policies: readonly AuthorizationPolicy[],
  { workloads = [], services = [] }: { workloads?: readonly Workload[]; services?: readonly Service[] } = {},
): MeshStore {
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  mesh.apply([
    ...workloads.map((value) => ({ kind: "workload", op: "upsert", value }) as const),
    ...services.map((value) => ({ kind: "service", op: "upsert", value }) as const),
    ...policies.map((value) => ({ kind: "authorization-policy", op: "upsert", value }) as const),
  ]);
  return mesh;
}

const plain = { layer: "L4", decidedBy: null, audited: [], dryRunDenied: [], steps: [] } as const;

/** What a judge says that has looked at nothing. */
export const allow: Decision = { verdict: "allow", ...plain };
export const deny = (reason: DenyReason): Decision => ({ verdict: "deny", reason, nearestMiss: [], ...plain });
