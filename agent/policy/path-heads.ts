// 9 · any thread · the first segments of the paths that a rule names: a request with another first segment cannot match it. Pure.
import { canonicalEscapes } from "../l7/canonical.ts";
import type { Operation, PathMatch, Rule } from "../mesh/policies.ts";
import { isReadable } from "./l4-view.ts";

/** The path up to its second slash: `/a` of `/a`, `/a/` and `/a/b`. */
export function headOf(path: string): string {
  const end = path.indexOf("/", 1);
  return end < 0 ? path : path.slice(0, end);
}

/** Heads of every path for which the rule can hold; null: it can hold for others, or does not say. */
export function pathHeads({ operations }: Rule): readonly string[] | null {
  const heads = operations.map(ofOperation);
  if (heads.length === 0 || heads.includes(null)) return null;
  return [...new Set(heads.flatMap((known) => known ?? []))];
}

/** An operation without paths takes any, and so does a DENY by a template that cannot be read. */
function ofOperation({ paths }: Operation): readonly string[] | null {
  if (paths.length === 0 || !paths.every(isReadable)) return null;
  const heads = paths.map(ofMatch);
  const known = heads.filter((head) => head !== null);
  return known.length === heads.length ? known : null;
}

function ofMatch(match: PathMatch): string | null {
  if (match.kind === "presence" || match.kind === "suffix") return null;
  const value = canonicalEscapes(match.value);
  // A prefix that ends within the first segment is of many.
  if (match.kind === "prefix" && value.indexOf("/", 1) < 0) return null;
  const head = headOf(value);
  return match.kind === "template" && head.includes("{") ? null : head;
}
