// main thread · does a draft of the mesh take protection away? Half of a file that is written in place looks like a mesh without its
// other half, so that only a draft that adds or tightens may come into force while somebody may still be writing. Pure.
import { isDeepStrictEqual } from "node:util";
import { fullName } from "../mesh/full-name.ts";
import type { AuthorizationPolicy, MtlsMode, PeerAuthentication, Rule } from "../mesh/policies.ts";
import { nowhere, type SourceRef } from "../mesh/source-ref.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Replacement, Upsert } from "./kinds/assembly.ts";

/** What of the mesh in force the judgement needs besides the objects that change. */
export type PoliciesBefore = {
  readonly rootNamespace: string;
  /** All AuthorizationPolicies in force. Read only when the draft adds an ALLOW policy. */
  readonly authorizationPolicies: () => Iterable<AuthorizationPolicy>;
};

/** An object whose removal, change or addition may allow a connection that was refused: the contrary is not proved. */
export type Weakening = {
  readonly object: string;
  readonly how: "gone" | "changed" | "added";
  readonly from: SourceRef;
};

/**
 * What of the draft is gone, or is not provably an addition or a tightening. Empty: each connection, given by its facts
 * (agent/mesh/facts.ts), that the mesh in force refuses is refused by the draft too, and no object is gone.
 */
export function weakenings(before: PoliciesBefore, draft: readonly Replacement[]): readonly Weakening[] {
  return draft.flatMap(({ before: was, after: now }): readonly Weakening[] => {
    if (now === undefined) return was === undefined ? [] : [{ object: nameOf(was), how: "gone", from: was.value.from }];
    const how = was === undefined ? "added" : "changed";
    return tightens(was, now, before) ? [] : [{ object: nameOf(now), how, from: now.value.from }];
  });
}

function tightens(was: Upsert | undefined, now: Upsert, before: PoliciesBefore): boolean {
  switch (now.kind) {
    case "workload":
      return was === undefined || (was.kind === now.kind && keepsWorkload(was.value, now.value));
    case "service":
      // A Service may name further identities that its endpoints may have: that is a grant.
      if (was === undefined) return now.value.subjectAltNames.length === 0;
      return isDeepStrictEqual({ ...was.value, from: nowhere }, { ...now.value, from: nowhere });
    case "peer-authentication":
      if (was === undefined) return saysNothingBut("STRICT", now.value);
      return was.kind === now.kind && tightensPeers(was.value, now.value);
    case "http-route":
    case "tls-route":
    case "tcp-route":
      // It grants nothing. But half of it sends requests where its author did not.
      return (
        was?.kind === now.kind && isDeepStrictEqual({ ...was.value, from: nowhere }, { ...now.value, from: nowhere })
      );
    case "limit-policy":
      // It only refuses. Of a change nobody proves that it admits no more.
      return (
        was === undefined ||
        (was.kind === now.kind && isDeepStrictEqual({ ...was.value, from: nowhere }, { ...now.value, from: nowhere }))
      );
    case "authorization-policy":
      if (was === undefined) return addsPolicy(now.value, before);
      return was.kind === now.kind && tightensPolicy(was.value, now.value, before);
  }
}

/**
 * True: nothing changes that decides who may call, or the workload joins the mesh, so that its calls were not judged before. Fields that
 * it was kept from stay away.
 */
function keepsWorkload(was: Workload, now: Workload): boolean {
  if (was.protocol === "none") return true;
  return (now.removesProxyHeaders || !was.removesProxyHeaders) && isDeepStrictEqual(judged(was), judged(now));
}

/** The workload without what is for load balancing and telemetry alone. */
function judged(workload: Workload): Partial<Workload> {
  const {
    from,
    healthy,
    weight,
    locality,
    workloadName,
    canonicalName,
    canonicalRevision,
    removesProxyHeaders,
    ...rest
  } = workload;
  return rest;
}

function modesOf({ mode, portLevel }: PeerAuthentication): readonly MtlsMode[] {
  return [mode, ...Object.values(portLevel)];
}

/** Of each port of each workload for which it counts; UNSET of a port leaves that to `mode`. */
function saysNothingBut(mode: MtlsMode, policy: PeerAuthentication): boolean {
  return policy.mode === mode && modesOf(policy).every((said) => said === mode || said === "UNSET");
}

/** The selector decides for which workloads, and at which level, the policy counts: with another nothing is proved. */
function tightensPeers(was: PeerAuthentication, now: PeerAuthentication): boolean {
  if (!isDeepStrictEqual(was.selector, now.selector) || was.overrides !== now.overrides) return false;
  const ports = new Set([...Object.keys(was.portLevel), ...Object.keys(now.portLevel)].map(Number));
  return (
    tightensMode(was.mode, now.mode) && [...ports].every((port) => tightensMode(saidAt(was, port), saidAt(now, port)))
  );
}

function saidAt({ mode, portLevel }: PeerAuthentication, port: number): MtlsMode {
  const said = portLevel[port] ?? "UNSET";
  return said === "UNSET" ? mode : said;
}

/** UNSET is what the next level says: perhaps more than PERMISSIVE, perhaps less than STRICT. */
function tightensMode(was: MtlsMode, now: MtlsMode): boolean {
  return was === now || now === "STRICT" || was === "PERMISSIVE" || was === "DISABLE";
}

type Effect = "ALLOW" | "DENY" | "none";

function effectOf({ action, dryRun }: AuthorizationPolicy): Effect {
  return dryRun || action === "AUDIT" ? "none" : action;
}

/** The first ALLOW policy of a workload ends "open by default"; each further policy is a grant. */
function addsPolicy(added: AuthorizationPolicy, { rootNamespace, authorizationPolicies }: PoliciesBefore): boolean {
  if (effectOf(added) !== "ALLOW" || added.rules.length === 0) return true;
  for (const other of authorizationPolicies()) {
    if (effectOf(other) === "ALLOW" && maySelectAlike(added, other, rootNamespace)) return false;
  }
  return true;
}

/** False: no workload can be selected by both. */
function maySelectAlike(a: AuthorizationPolicy, b: AuthorizationPolicy, rootNamespace: string): boolean {
  if (a.namespace !== b.namespace && a.namespace !== rootNamespace && b.namespace !== rootNamespace) return false;
  const wanted = b.selector ?? {};
  return Object.entries(a.selector ?? {}).every(
    ([name, value]) => !Object.hasOwn(wanted, name) || wanted[name] === value,
  );
}

function tightensPolicy(was: AuthorizationPolicy, now: AuthorizationPolicy, before: PoliciesBefore): boolean {
  const [effectWas, effectNow] = [effectOf(was), effectOf(now)];
  if (effectWas === "none") return addsPolicy(now, before);
  if (effectWas !== effectNow) return false;
  const [rulesWas, rulesNow] = [was.rules.map(withoutPositions), now.rules.map(withoutPositions)];
  // Whom an ALLOW selects is open to nobody else, and to those in its rules: either way of changing it opens something.
  if (effectNow === "ALLOW") return isDeepStrictEqual(was.selector, now.selector) && areAmong(rulesNow, rulesWas);
  return selectsNoLess(was.selector, now.selector) && areAmong(rulesWas, rulesNow);
}

function areAmong(rules: readonly Rule[], all: readonly Rule[]): boolean {
  return rules.every((rule) => all.some((other) => isDeepStrictEqual(rule, other)));
}

function selectsNoLess(was: AuthorizationPolicy["selector"], now: AuthorizationPolicy["selector"]): boolean {
  return Object.entries(now ?? {}).every(
    ([name, value]) => was !== null && Object.hasOwn(was, name) && was[name] === value,
  );
}

function withoutPositions(rule: Rule): Rule {
  return { ...rule, from: nowhere, when: rule.when.map((condition) => ({ ...condition, from: nowhere })) };
}

const kindNames: Readonly<Record<Upsert["kind"], string>> = {
  workload: "Workload",
  service: "Service",
  "peer-authentication": "PeerAuthentication",
  "http-route": "HTTPRoute",
  "tls-route": "TLSRoute",
  "tcp-route": "TCPRoute",
  "authorization-policy": "AuthorizationPolicy",
  "limit-policy": "LimitPolicy",
};

function nameOf(upsert: Upsert): string {
  const { kind, value } = upsert;
  if (upsert.kind === "http-route") return `${upsert.value.kind} ${fullName(value)}`;
  return `${kindNames[kind]} ${fullName(value)}`;
}
