// main · two states of a source → the updates that lead from the one to the other. Pure.
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { Upsert } from "./kinds/translate.ts";

/** Objects by kind and key, each with its text to compare. */
export type ObjectState = ReadonlyMap<string, { readonly update: Upsert; readonly text: string }>;

export const noObjects: ObjectState = new Map();

function keyOf(update: Upsert): string {
  return update.kind === "workload" ? update.value.uid : `${update.value.namespace}/${update.value.name}`;
}

export function stateOf(updates: readonly Upsert[]): ObjectState {
  return new Map(
    updates.map((update) => [`${update.kind} ${keyOf(update)}`, { update, text: JSON.stringify(update.value) }]),
  );
}

/**
 * Removals first, so that an address which changes hands never has two owners. An object whose place in the file
 * alone moved is an update too: refusals name the line.
 */
export function difference(before: ObjectState, after: ObjectState): MeshUpdate[] {
  const removed: MeshUpdate[] = [];
  for (const [id, { update }] of before) {
    if (!after.has(id)) removed.push({ kind: update.kind, op: "remove", key: keyOf(update) });
  }
  const changed = [...after].filter(([id, { text }]) => before.get(id)?.text !== text).map(([, { update }]) => update);
  return [...removed, ...changed];
}
