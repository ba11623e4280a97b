// 9 · any thread · the checks of a rule that no judge of connections can make, with the values they compare: kept for a judge that
// sees the request. Pure.
import {
  type Cidr,
  type Condition,
  type Operation,
  operationRequestFields,
  type PathMatch,
  type Rule,
  type Source,
  sourceRequestFields,
} from "../mesh/policies.ts";
import { isUnseenCondition } from "./l4-view.ts";

/** What the field of a request is compared with. */
export type RequestValue = PathMatch | Cidr;

export type HiddenCheck = {
  /** "request": the request has the field. "nobody": the field is unknown or unreadable, and keeps the strict reading for ever. */
  readonly needs: "request" | "nobody";
  /** As the user would name it: operation.paths, source.notRemoteIpBlocks, when request.headers[x]. */
  readonly field: string;
  /** The check holds when none of `values` matches. */
  readonly not: boolean;
  /** Any of them must match. Empty when `needs` is "nobody". */
  readonly values: readonly RequestValue[];
};

/** In the order of the rule's own entries, each as long as the list of the same name in CompiledRule; `when` in no such order. */
export type HiddenChecks = {
  readonly sources: readonly (readonly HiddenCheck[])[];
  readonly operations: readonly (readonly HiddenCheck[])[];
  readonly when: readonly HiddenCheck[];
};

/** null: the rule is about the connection alone. */
export function hiddenChecks(rule: Rule): HiddenChecks | null {
  const sources = rule.sources.map(ofSource);
  const operations = rule.operations.map(ofOperation);
  const when = [...rule.unreadable.map(unreadable), ...rule.when.flatMap(ofCondition)];
  const all = [...sources, ...operations, when];
  return all.every((checks) => checks.length === 0) ? null : { sources, operations, when };
}

function ofSource(source: Source): readonly HiddenCheck[] {
  return [
    ...source.unreadable.map((field) => unreadable(`source.${field}`)),
    ...sourceRequestFields.flatMap((field) => ofRequest(`source.${field}`, field.startsWith("not"), source[field])),
  ];
}

function ofOperation(operation: Operation): readonly HiddenCheck[] {
  return [
    ...operation.unreadable.map((field) => unreadable(`operation.${field}`)),
    ...operationRequestFields.flatMap((field) =>
      ofRequest(`operation.${field}`, field.startsWith("not"), operation[field]),
    ),
  ];
}

function ofCondition(condition: Condition): readonly HiddenCheck[] {
  if (!isUnseenCondition(condition)) return [];
  const field = `when ${condition.key}`;
  if (!condition.http) return [unreadable(field)];
  const { strings, notStrings, cidrs, notCidrs } = condition;
  const checks = [
    ...ofRequest(field, false, [...strings, ...cidrs]),
    ...ofRequest(field, true, [...notStrings, ...notCidrs]),
  ];
  return checks.length === 0 ? [unreadable(field)] : checks;
}

/** An empty list is no constraint. */
function ofRequest(field: string, not: boolean, values: readonly RequestValue[]): readonly HiddenCheck[] {
  return values.length === 0 ? [] : [{ needs: "request", field, not, values }];
}

function unreadable(field: string): HiddenCheck {
  return { needs: "nobody", field, not: false, values: [] };
}
