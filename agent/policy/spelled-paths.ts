// any thread · paths that a policy closes by their exact text while another spelling of the same resource is let through. Pure.
import { canonicalEscapes } from "../l7/canonical.ts";
import type { AuthorizationPolicy, Operation, PathMatch, Rule, StringMatch } from "../mesh/policies.ts";
import type { RuleRef } from "./decision.ts";
import { hiddenFields, isReadable } from "./l4-view.ts";
import { pathTest } from "./request-checks.ts";

export type SpelledPath = {
  /** As the rule has it. */
  readonly path: string;
  /** A path below it, which many applications route to the same handler, and which is let through. */
  readonly spelled: string;
  readonly action: "DENY" | "ALLOW";
  readonly rule: RuleRef;
};

/**
 * Exact paths of DENY rules, and exact notPaths of ALLOW rules, where a path below them is not denied and is let through by an ALLOW
 * rule or because there is no ALLOW policy. Only enforced policies count.
 * @param selecting all policies that select one workload.
 */
export function spelledPaths(selecting: readonly AuthorizationPolicy[]): readonly SpelledPath[] {
  const enforced = selecting.filter(({ dryRun }) => !dryRun);
  const allowing = enforced.filter(({ action }) => action === "ALLOW");
  const isDenied = (spelled: string): boolean =>
    enforced.some(({ action, rules }) => action === "DENY" && rules.some((rule) => namesPath(rule, spelled)));
  const isLetThrough = (spelled: string, operation: Operation): boolean =>
    allowing.length === 0 || allowing.some(({ rules }) => rules.some((rule) => letsThrough(rule, spelled, operation)));
  return enforced.flatMap((policy) =>
    policy.rules.flatMap((rule, index): readonly SpelledPath[] => {
      const { action, namespace, name } = policy;
      if (action === "AUDIT" || (action === "ALLOW" && !canMatch(rule))) return [];
      const ref: RuleRef = {
        kind: "AuthorizationPolicy",
        namespace,
        name,
        rule: index,
        from: rule.from,
      };
      return rule.operations.flatMap((operation) => {
        const written = action === "DENY" ? operation.paths : operation.notPaths;
        return exactPaths(written).flatMap((path): readonly SpelledPath[] => {
          const spelled = below(path);
          if (isDenied(spelled)) return [];
          const passes =
            action === "DENY" ? isLetThrough(spelled, operation) : operationLetsThrough(operation, spelled, operation);
          return passes ? [{ path, spelled, action, rule: ref }] : [];
        });
      });
    }),
  );
}

function exactPaths(paths: readonly PathMatch[]): readonly string[] {
  return paths.flatMap((match) => (match.kind === "exact" ? [match.value] : []));
}

function below(path: string): string {
  const canonical = canonicalEscapes(path);
  return canonical.endsWith("/") ? `${canonical}x` : `${canonical}/x`;
}

/** Whether the rule is about the path by name. A rule without paths may be about any, and closes more than spellings. */
function namesPath({ operations }: Rule, path: string): boolean {
  return operations.some(({ paths }) => paths.every(isReadable) && paths.length > 0 && pathTest(paths)(path));
}

/** An ALLOW rule with a field that no request shows matches nothing. */
function canMatch(rule: Rule): boolean {
  return [...hiddenFields(rule)].every(({ isInRequest }) => isInRequest);
}

function letsThrough(rule: Rule, path: string, denied: Operation): boolean {
  if (!canMatch(rule)) return false;
  return rule.operations.length === 0 || rule.operations.some((entry) => operationLetsThrough(entry, path, denied));
}

/** @param denied what the rule that closes the path asks for besides: where that cannot be met at once, nothing gets by. */
function operationLetsThrough(operation: Operation, path: string, denied: Operation): boolean {
  const { paths, notPaths, methods, ports } = operation;
  if (areApart(methods, denied.methods)) return false;
  if (ports.length > 0 && denied.ports.length > 0 && !ports.some((port) => denied.ports.includes(port))) return false;
  return (paths.length === 0 || pathTest(paths)(path)) && !(notPaths.length > 0 && pathTest(notPaths)(path));
}

/** Two lists of exact texts that have none in common. */
function areApart(some: readonly StringMatch[], others: readonly StringMatch[]): boolean {
  const texts = (list: readonly StringMatch[]) =>
    list.flatMap((match) => (match.kind === "exact" ? [match.value] : []));
  const [known, asked] = [texts(some), texts(others)];
  if (known.length === 0 || asked.length === 0 || known.length + asked.length < some.length + others.length)
    return false;
  return !known.some((text) => asked.includes(text));
}
