// 18 · any thread · what a route changes of a head's fields, as the engine and the rules of the other end read it. Pure.
import { isAlikeName } from "../mesh/alike-names.ts";
import type { ReadHeader } from "../mesh/facts.ts";
import type { FieldEdits } from "../mesh/http-rule.ts";

/** `op` in their order; names in lower case. */
export type FieldEdit =
  | { readonly op: "set" | "add"; readonly name: string; readonly value: string }
  | { readonly op: "remove"; readonly name: string };

export const noEdits: readonly FieldEdit[] = Object.freeze([]);

/**
 * In the order in which they are done, without those that a later edit takes back: the engine takes out what came and writes the rest. Most
 * rules have none.
 */
export function editsOf(
  first: FieldEdits | undefined,
  second?: FieldEdits | undefined,
  third?: FieldEdits | undefined,
): readonly FieldEdit[] {
  if (!changes(first) && !changes(second) && !changes(third)) return noEdits;
  let edits = noEdits;
  for (const some of [first, second, third]) {
    if (!changes(some)) continue;
    const again = new Set([...some.remove, ...some.set.map(({ name }) => name)]);
    edits = [
      ...edits.filter(({ name }) => !again.has(name)),
      ...some.remove.map((name) => ({ op: "remove", name }) as const),
      ...some.set.map(({ name, value }) => ({ op: "set", name, value }) as const),
      ...some.add.map(({ name, value }) => ({ op: "add", name, value }) as const),
    ];
  }
  return edits;
}

const changes = (edits: FieldEdits | undefined): edits is FieldEdits =>
  edits !== undefined && edits.remove.length + edits.set.length + edits.add.length > 0;

/** What the application will find. */
export function editedHeader(header: ReadHeader, edits: readonly FieldEdit[]): ReadHeader {
  if (edits.length === 0) return header;
  return (name, spelled) => {
    let values = header(name, spelled);
    for (const [at, edit] of edits.entries()) {
      if (spelled === undefined ? edit.name !== name : !isAlikeName(edit.name, name)) continue;
      if (edit.op !== "add") values = without(values, editedHeader(header, edits.slice(0, at))(edit.name));
      if (edit.op !== "remove") values = [...values, edit.value];
    }
    return values;
  };
}

/** Each of `taken` once. */
function without(values: readonly string[], taken: readonly string[]): readonly string[] {
  const left = [...values];
  for (const value of taken) {
    const at = left.indexOf(value);
    if (at >= 0) left.splice(at, 1);
  }
  return left;
}
