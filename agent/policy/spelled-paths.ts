// any thread · paths that a policy closes by their exact text while another spelling of the same resource is let through. Pure.
import { canonicalEscapes } from "../l7/canonical.ts";
import {
  type AuthorizationPolicy,
  emptyOperation,
  type Operation,
  type PathMatch,
  type StringMatch,
} from "../mesh/policies.ts";
import type { RuleRef } from "./decision.ts";
import { hiddenFields, isReadable } from "./l4-view.ts";
import { pathTest } from "./request-checks.ts";
import type { TextTest } from "./text-match.ts";

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
  const rules = selecting.flatMap(entriesOf);
  const closing = rules.filter(({ rule }) => exactPaths(rule.action, rule.operation).length > 0);
  if (closing.length === 0) return [];
  const denying = rules.filter(({ rule }) => rule.action === "DENY" && rule.operation.paths.length > 0);
  const allowing = rules.filter(({ rule }) => rule.action === "ALLOW");
  const isOpen = !selecting.some(({ action, dryRun }) => action === "ALLOW" && !dryRun);
  const isLetThrough = (spelled: string, by: PathEntry): boolean => {
    if (by.rule.action === "ALLOW") return by.takes(spelled);
    return (
      isOpen || allowing.some((entry) => entry.takes(spelled) && !areApart(entry.rule.operation, by.rule.operation))
    );
  };
  return closing.flatMap((entry) =>
    exactPaths(entry.rule.action, entry.rule.operation).flatMap((path): readonly SpelledPath[] => {
      const spelled = below(path);
      if (denying.some(({ names }) => names(spelled)) || !isLetThrough(spelled, entry)) return [];
      const { action, ref } = entry.rule;
      return [{ path, spelled, action, rule: ref }];
    }),
  );
}

/** One entry of `to` of an enforced rule that some request can meet. */
type PathEntry = {
  readonly rule: { readonly action: "ALLOW" | "DENY"; readonly ref: RuleRef; readonly operation: Operation };
  /** Whether its paths, which it must have, take the path. */
  readonly names: TextTest;
  /** Whether its paths and notPaths let the path be. */
  readonly takes: TextTest;
};

function entriesOf({ namespace, name, action, dryRun, rules }: AuthorizationPolicy): readonly PathEntry[] {
  if (dryRun || action === "AUDIT") return [];
  return rules.flatMap((rule, index) => {
    // An ALLOW rule with a field that no request shows matches nothing.
    if (action === "ALLOW" && [...hiddenFields(rule)].some(({ isInRequest }) => !isInRequest)) return [];
    const ref: RuleRef = { kind: "AuthorizationPolicy", namespace, name, rule: index, from: rule.from };
    const operations = rule.operations.length === 0 ? [emptyOperation] : rule.operations;
    return operations.map((operation): PathEntry => {
      const names = testOf(operation.paths);
      const leavesOut = testOf(operation.notPaths);
      const takes: TextTest = (path) => (operation.paths.length === 0 || names(path)) && !leavesOut(path);
      return { rule: { action, ref, operation }, names, takes };
    });
  });
}

/** Takes no path at all if the list is empty, or has a template that cannot be read. */
function testOf(paths: readonly PathMatch[]): TextTest {
  return paths.length > 0 && paths.every(isReadable) ? pathTest(paths) : () => false;
}

function exactPaths(action: "ALLOW" | "DENY", { paths, notPaths }: Operation): readonly string[] {
  return (action === "DENY" ? paths : notPaths).flatMap((match) => (match.kind === "exact" ? [match.value] : []));
}

function below(path: string): string {
  const canonical = canonicalEscapes(path);
  return canonical.endsWith("/") ? `${canonical}x` : `${canonical}/x`;
}

/** Whether no request can meet both, since it would need two methods or two ports. */
function areApart(some: Operation, other: Operation): boolean {
  const ports =
    some.ports.length > 0 && other.ports.length > 0 && !some.ports.some((port) => other.ports.includes(port));
  return ports || haveNoneInCommon(some.methods, other.methods);
}

function haveNoneInCommon(some: readonly StringMatch[], others: readonly StringMatch[]): boolean {
  const texts = (list: readonly StringMatch[]) =>
    list.flatMap((match) => (match.kind === "exact" ? [match.value] : []));
  const [known, asked] = [texts(some), texts(others)];
  if (known.length === 0 || asked.length === 0 || known.length + asked.length < some.length + others.length)
    return false;
  return !known.some((text) => asked.includes(text));
}
