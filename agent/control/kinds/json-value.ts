// any thread · an object of an API server, as JSON made it → configuration values that know which object they belong to. Pure.
import type { SourceRef } from "../../mesh/source-ref.ts";
import type { Value } from "./value.ts";

/** Deeper values count as nothing; what a kind reads has a depth of 9. `managedFields`, which nobody reads, goes deeper. */
const MAX_DEPTH = 64;

/** @param json what JSON.parse returns; anything else in it counts as nothing. */
export function jsonValue(json: unknown, from: SourceRef): Value {
  return toValue(json, from, 0);
}

/** The same without what counts as nothing for its depth: what is nested thousands deep cannot be written as JSON again. */
export function withoutDepths(json: unknown, depth = 0): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (depth >= MAX_DEPTH) return null;
  if (Array.isArray(json)) return json.map((item) => withoutDepths(item, depth + 1));
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [name, withoutDepths(value, depth + 1)]));
}

function toValue(json: unknown, from: SourceRef, depth: number): Value {
  switch (typeof json) {
    case "string":
      return { type: "string", value: json, from };
    case "boolean":
      return { type: "boolean", value: json, from };
    case "number":
      return Number.isFinite(json) ? { type: "number", value: json, from } : { type: "null", from };
    case "object":
      break;
    default:
      return { type: "null", from };
  }
  if (json === null || depth >= MAX_DEPTH) return { type: "null", from };
  if (Array.isArray(json)) return { type: "list", from, items: json.map((item) => toValue(item, from, depth + 1)) };
  const entries = Object.entries(json).map(
    ([name, value]) => [name, { keyFrom: from, value: toValue(value, from, depth + 1) }] as const,
  );
  return { type: "map", from, entries: new Map(entries) };
}
