// any thread · AuthorizationPolicy (security.istio.io/v1): who may call whom. The object, its action and its targets.
import { fullName, type NamespacedName } from "../../mesh/full-name.ts";
import { DRY_RUN } from "../../mesh/names.ts";
import type { AuthorizationPolicy, PolicyAction, Rule } from "../../mesh/policies.ts";
import { ruleReader, toRule, unreadableRule } from "./authorization-rule.ts";
import { dnsSubdomain, metadataParts, workloadSelector } from "./fields.ts";
import {
  eachOf,
  ignored,
  list,
  located,
  object,
  oneOf,
  optional,
  parts,
  type Read,
  required,
  string,
} from "./schema.ts";
import { quoted, type Report, type Value, wrong } from "./value.ts";

const targetRef = object({
  group: optional(string, ""),
  kind: required(string),
  name: required(dnsSubdomain),
  namespace: optional(string, ""),
});
type TargetRef = Read<typeof targetRef>;
/** Istio's own limit. */
const MAX_RULES = 512;
const MAX_TARGETS = 16;

const spec = parts({
  selector: optional(workloadSelector, null),
  targetRef: optional<TargetRef | null>(targetRef, null),
  targetRefs: optional<readonly TargetRef[]>(list(targetRef, { max: MAX_TARGETS }), []),
  action: optional(located(oneOf("ALLOW", "DENY", "AUDIT", "CUSTOM")), null),
  provider: optional(object({ name: required(string) }), null),
  rules: optional(eachOf(ruleReader, { max: MAX_RULES }), []),
});

export const authorizationPolicyKind = parts({
  apiVersion: required(oneOf("security.istio.io/v1", "security.istio.io/v1beta1")),
  kind: required(oneOf("AuthorizationPolicy")),
  metadata: required(metadataParts),
  /** Absent, the policy allows nothing, as with `spec: {}`. */
  spec: optional<Read<typeof spec> | null>(spec, null),
  status: ignored,
});
export type AuthorizationPolicyDocument = Read<typeof authorizationPolicyKind>;

/** The labels a Service of this name selects; undefined when there is no such Service, or it selects nothing. */
export type SelectorOfService = (namespace: string, name: string) => Readonly<Record<string, string>> | undefined;

/** The policy's own name; undefined: unreadable. */
export function nameOfPolicy({ parts: { metadata: meta } }: AuthorizationPolicyDocument): NamespacedName | undefined {
  const { name, namespace } = meta?.parts ?? {};
  return name === undefined || namespace === undefined ? undefined : { name, namespace };
}

/** Where such a policy holds depends on the Service it names. */
export function hasTargets({ parts: { spec: given } }: AuthorizationPolicyDocument): boolean {
  const targets = given?.parts;
  return (targets?.targetRef ?? null) !== null || (targets?.targetRefs?.length ?? 0) > 0;
}

/**
 * What cannot be read is an error (reported). Where objects count for themselves, the policy is then in force in its closed form,
 * which depends on this object alone, so that all nodes agree: an unreadable part of a DENY counts as matching, and without a
 * readable scope it covers its whole namespace; of an ALLOW an unreadable rule matches nobody, and without a readable scope it
 * grants nothing and still counts as an ALLOW on each workload of its namespace.
 * @returns undefined: not in force here (reported as a finding), or without a name (reported).
 */
export function toAuthorizationPolicy(
  read: AuthorizationPolicyDocument,
  document: Value,
  selectorOfService: SelectorOfService,
  report: Report,
): AuthorizationPolicy | undefined {
  const { metadata: meta, spec: given } = read.parts;
  const named = nameOfPolicy(read);
  if (named === undefined) return undefined;
  const { name, namespace } = named;
  const title = `AuthorizationPolicy ${fullName({ name, namespace })}`;
  const dryRun = dryRunOf(meta?.parts.annotations, document, report);
  // When the annotation cannot be read, the policy is enforced.
  const base = { name, namespace, dryRun: dryRun === true, from: document.from };
  if (given === null) return { ...base, selector: null, action: "ALLOW", rules: [] };
  // Nothing of the spec can be read, not even the action: the policy denies everything.
  if (given === undefined) return { ...base, ...deniesAll(document) };

  const { selector, targetRef: target, targetRefs, provider, rules } = given.parts;
  const targets = target ? [target, ...(targetRefs ?? [])] : (targetRefs ?? []);
  const contradicts = targets.length > 0 && (selector ?? null) !== null;
  if (contradicts) {
    const why = "it could be meant for either";
    wrong(document.from, `${title} has both a selector and targetRefs`, why, "keep one", report);
  }
  const isScope = (field: string): boolean => !["action", "provider", "rules"].includes(field);
  const scopeUnreadable = contradicts || given.unreadable.some(isScope);
  if (given.parts.action === undefined) {
    return { ...base, ...deniesAll(document), selector: scopeUnreadable ? null : (selector ?? null) };
  }
  const hasProvider = provider === undefined ? null : provider !== null;
  const { action, isClear } = actionOf(given.parts.action, hasProvider, title, document, report);
  const scope = scopeUnreadable
    ? "unreadable"
    : scopeOf(targets, { name: title, namespace, action, document }, selectorOfService, report);
  if (scope === undefined) return undefined;
  if (scope === "unreadable" || !isClear || dryRun === "unreadable") {
    const known = scope === "unreadable" ? null : (selector ?? scope.selector);
    if (action === "ALLOW") return { ...base, selector: known, action, rules: [] };
    if (scope === "unreadable") return { ...base, selector: null, action, rules: toRules(rules) };
  }
  return { ...base, selector: selector ?? scope.selector, action, rules: toRules(rules) };

  function toRules(all: Read<typeof spec>["parts"]["rules"]): readonly Rule[] {
    if (all === undefined) return action === "ALLOW" ? [] : [unreadableRule(document.from)];
    return all.map((rule) =>
      rule === undefined ? unreadableRule(document.from) : toRule(rule, namespace, action, report),
    );
  }
}

function deniesAll({ from }: Value): Pick<AuthorizationPolicy, "selector" | "action" | "rules"> {
  return { selector: null, action: "DENY", rules: [unreadableRule(from)] };
}

/** @param annotations undefined: unreadable. */
function dryRunOf(
  annotations: Readonly<Record<string, string>> | undefined,
  document: Value,
  report: Report,
): boolean | "unreadable" {
  if (annotations === undefined) return "unreadable";
  const written = annotations[DRY_RUN];
  if (written === undefined || written === "false") return false;
  if (written === "true") return true;
  wrong(
    document.from,
    `annotation ${DRY_RUN}: ${quoted(written)} is neither "true" nor "false"`,
    "the policy would be enforced that was only to be watched, or the other way round",
    'write "true" or "false"',
    report,
  );
  return "unreadable";
}

/**
 * @param hasProvider null: what is written as the provider cannot be read.
 * @returns isClear: action and provider fit together.
 */
function actionOf(
  given: { readonly value: PolicyAction | "CUSTOM"; readonly from: Value["from"] } | null,
  hasProvider: boolean | null,
  name: string,
  document: Value,
  report: Report,
): { readonly action: PolicyAction; readonly isClear: boolean } {
  const action = given?.value ?? "ALLOW";
  const isClear = hasProvider === (action === "CUSTOM");
  if (hasProvider !== null && !isClear) {
    wrong(
      given?.from ?? document.from,
      `${name} has ${hasProvider ? "a provider but is not CUSTOM" : "the action CUSTOM but no provider"}`,
      "CUSTOM asks the provider; nothing else does",
      "write both, or neither",
      report,
    );
  }
  if (action !== "CUSTOM") return { action, isClear };
  report.unsupported(
    given?.from ?? document.from,
    `${name}: the action CUSTOM is not honoured; what its rules match is denied`,
    "external authorizers are not asked yet, and a request nobody judged must not pass",
    "use ALLOW and DENY",
  );
  return { action: "DENY", isClear };
}

type PolicySelector = { readonly selector: Readonly<Record<string, string>> | null };
type Targeted = {
  readonly name: string;
  readonly namespace: string;
  readonly action: PolicyAction;
  readonly document: Value;
};

/**
 * A policy for one Service is judged at the workloads the Service selects: there is no waypoint that could judge it
 * elsewhere. Gateways are not ours. What cannot be placed is widened when it denies, and refused when it allows.
 */
function scopeOf(
  targets: readonly TargetRef[],
  policy: Targeted,
  selectorOfService: SelectorOfService,
  report: Report,
): PolicySelector | "unreadable" | undefined {
  const [only] = targets;
  if (only === undefined) return { selector: null };
  const { document, name } = policy;
  if (targets.every((target) => target.kind === "Gateway" || target.kind === "GatewayClass")) {
    report.unsupported(
      document.from,
      `${name} is for a Gateway and is not in force here`,
      "no gateway runs in this agent",
      "use a selector",
    );
    return undefined;
  }
  const foreign = only.namespace !== "" && only.namespace !== policy.namespace;
  const selector =
    only.kind === "Service" && only.group === "" && !foreign
      ? selectorOfService(policy.namespace, only.name)
      : undefined;
  if (targets.length === 1 && selector !== undefined) return { selector };
  if (policy.action !== "ALLOW") {
    report.unsupported(
      document.from,
      `${name}: its targetRefs are not honoured; it covers the whole namespace`,
      "only one Service with a selector, in the policy's own namespace, can be placed, and a denial is never narrowed by a guess",
      "use a selector, or one policy per Service",
    );
    return { selector: null };
  }
  wrong(
    document.from,
    `${name}: its targetRefs cannot be placed`,
    "an ALLOW that covers more or less than meant opens what was closed",
    "use a selector, or one targetRef to a Service with a selector in the same namespace",
    report,
  );
  return "unreadable";
}
