// any thread · AuthorizationPolicy (security.istio.io/v1): who may call whom. The object, its action and its targets.
import { fullName } from "../../mesh/full-name.ts";
import { DRY_RUN } from "../../mesh/names.ts";
import type { AuthorizationPolicy, PolicyAction } from "../../mesh/policies.ts";
import { ruleReader, toRule } from "./authorization-rule.ts";
import { dnsSubdomain, metadata, workloadSelector } from "./fields.ts";
import { ignored, list, located, object, oneOf, optional, type Read, required, string } from "./schema.ts";
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

const spec = object({
  selector: optional(workloadSelector, null),
  targetRef: optional<Read<typeof targetRef> | null>(targetRef, null),
  targetRefs: optional<readonly TargetRef[]>(list(targetRef, { max: MAX_TARGETS }), []),
  action: optional(located(oneOf("ALLOW", "DENY", "AUDIT", "CUSTOM")), null),
  provider: optional(object({ name: required(string) }), null),
  rules: optional<readonly Read<typeof ruleReader>[]>(list(ruleReader, { max: MAX_RULES }), []),
});

export const authorizationPolicyKind = object({
  apiVersion: required(oneOf("security.istio.io/v1", "security.istio.io/v1beta1")),
  kind: required(oneOf("AuthorizationPolicy")),
  metadata: required(metadata),
  /** Not written at all, it allows nothing, as `spec: {}` does. */
  spec: optional<Read<typeof spec> | null>(spec, null),
  status: ignored,
});
export type AuthorizationPolicyDocument = Read<typeof authorizationPolicyKind>;

/** The labels a Service of this name selects; undefined when there is no such Service, or it selects nothing. */
export type SelectorOfService = (namespace: string, name: string) => Readonly<Record<string, string>> | undefined;

/** Where such a policy holds depends on the Service it names. */
export function hasTargets({ spec: given }: AuthorizationPolicyDocument): boolean {
  return given !== null && (given.targetRef !== null || given.targetRefs.length > 0);
}

/** undefined: not in force here (reported as a finding), or an error (reported). */
export function toAuthorizationPolicy(
  read: AuthorizationPolicyDocument,
  document: Value,
  selectorOfService: SelectorOfService,
  report: Report,
): AuthorizationPolicy | undefined {
  const { metadata: meta, spec: given } = read;
  const name = `AuthorizationPolicy ${fullName(meta)}`;
  const dryRun = dryRunOf(read, document, report);
  const base = { name: meta.name, namespace: meta.namespace, dryRun, from: document.from };
  if (given === null) return { ...base, selector: null, action: "ALLOW", rules: [] };

  const targets = given.targetRef ? [given.targetRef, ...given.targetRefs] : given.targetRefs;
  if (targets.length > 0 && given.selector !== null) {
    return wrong(
      document.from,
      `${name} has both a selector and targetRefs`,
      "it could be meant for either",
      "keep one",
      report,
    );
  }
  const action = actionOf(given.action, given.provider !== null, name, document, report);
  const scope = scopeOf(targets, { name, namespace: meta.namespace, action, document }, selectorOfService, report);
  if (scope === undefined) return undefined;
  const rules = given.rules.map((rule) => toRule(rule, meta.namespace, action, report));
  return { ...base, selector: given.selector ?? scope.selector, action, rules };
}

function dryRunOf({ metadata: meta }: AuthorizationPolicyDocument, document: Value, report: Report): boolean {
  const written = meta.annotations[DRY_RUN];
  if (written !== undefined && written !== "true" && written !== "false") {
    wrong(
      document.from,
      `annotation ${DRY_RUN}: ${quoted(written)} is neither "true" nor "false"`,
      "the policy would be enforced that was only to be watched, or the other way round",
      'write "true" or "false"',
      report,
    );
  }
  return written === "true";
}

function actionOf(
  given: { readonly value: PolicyAction | "CUSTOM"; readonly from: Value["from"] } | null,
  hasProvider: boolean,
  name: string,
  document: Value,
  report: Report,
): PolicyAction {
  const action = given?.value ?? "ALLOW";
  if (hasProvider !== (action === "CUSTOM")) {
    wrong(
      given?.from ?? document.from,
      `${name} has ${hasProvider ? "a provider but is not CUSTOM" : "the action CUSTOM but no provider"}`,
      "CUSTOM asks the provider; nothing else does",
      "write both, or neither",
      report,
    );
  }
  if (action !== "CUSTOM") return action;
  report.unsupported(
    given?.from ?? document.from,
    `${name}: the action CUSTOM is not honoured; what its rules match is denied`,
    "external authorizers are not asked yet, and a request nobody judged must not pass",
    "use ALLOW and DENY",
  );
  return "DENY";
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
): PolicySelector | undefined {
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
  return wrong(
    document.from,
    `${name}: its targetRefs cannot be placed`,
    "an ALLOW that covers more or less than meant opens what was closed",
    "use a selector, or one targetRef to a Service with a selector in the same namespace",
    report,
  );
}
