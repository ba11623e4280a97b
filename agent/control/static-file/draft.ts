// main thread · a file of the mesh that changed and is not in force yet: whether somebody may still be writing to it, and what is
// reported while it waits.
import { lstatSync } from "node:fs";
import { basename } from "node:path";
import { MAX_PROBLEMS, type Problem } from "../kinds/value.ts";
import type { TextEdit } from "../last-good.ts";
import type { Weakening } from "../weakens.ts";
import type { MeshFile } from "./mesh-file.ts";
import type { FileState } from "./read.ts";
import type { Hints } from "./watch.ts";

export type Draft = {
  /** null: the file is gone. */
  readonly file: MeshFile | null;
  /** It was put into place by rename: nobody is writing to it. */
  readonly whole: boolean;
  /** When this state of the file was first seen, ms of `performance.now()`: the clock of the machine may jump. */
  readonly sinceMs: number;
  /** What is written in it, for the copy on disk; undefined: it is read from the file again when it is copied. */
  readonly text?: string;
  /** The same by what differs from the text in force, where that was to be had. */
  readonly edit?: TextEdit;
};

/** Whether the file came into its place by a rename, of itself or of the directory of a mounted ConfigMap. */
export function wasPutWhole(file: string, { renamedSince }: FileState, hints: Hints): boolean {
  const name = basename(file);
  if (hints.whole.has(name)) return true;
  if (hints.arrived.has(name) && renamedSince) return true;
  return hints.swapped && isLink(file);
}

function isLink(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  } catch {
    return false; // Not known: somebody may be writing the file.
  }
}

/** A file with its draft. */
export type NamedDraft = readonly [file: string, draft: Draft];

/** A draft that somebody may still be writing to, and how long it has to be still yet. */
export type Moving = { readonly file: string; readonly torn: boolean; readonly leftMs: number };

/**
 * @param nowMs of `performance.now()`, as in a draft
 * @param holdsOn a draft counts as changed just now, however long it is still
 */
export function movingOf(
  drafts: readonly NamedDraft[],
  { nowMs, stillMs, holdsOn }: { readonly nowMs: number; readonly stillMs: number; readonly holdsOn: boolean },
): readonly Moving[] {
  return drafts
    .filter(([, { whole }]) => !whole)
    .map(([file, draft]) => ({
      ...{ file, torn: draft.file?.torn === true },
      leftMs: (holdsOn ? nowMs : draft.sinceMs) + stillMs - nowMs,
    }))
    .filter(({ leftMs }) => leftMs > 0);
}

/** None is taken over: the files `names` are looked at again after `afterMs`. Unless they have changed, the drafts are taken over then. */
export type HeldDrafts = {
  readonly taken: false;
  readonly held: readonly Problem[];
  readonly names: readonly string[];
  readonly afterMs: number;
};

/**
 * What must wait, of drafts that somebody may still be writing to. undefined: nothing, since all drafts together only add and tighten.
 * @param weaker what the drafts may take away of what is in force; undefined: nobody knows what was in force
 */
export function heldOf(
  moving: readonly Moving[],
  weaker: readonly Weakening[] | undefined,
  stillMs: number,
): HeldDrafts | undefined {
  const torn = moving.filter((draft) => draft.torn).map(({ file }) => file);
  const unheld = weaker === undefined ? moving.map(({ file }) => file) : [];
  const found = weaker ?? [];
  if (found.length + torn.length + unheld.length === 0) return undefined;
  return {
    ...{ taken: false, held: heldProblems({ found, torn, unheld }, stillMs) },
    names: moving.map(({ file }) => basename(file)),
    afterMs: Math.max(1, ...moving.map(({ leftMs }) => leftMs)),
  };
}

const words: Readonly<Record<Weakening["how"], string>> = {
  gone: "is gone",
  changed: "is changed so that it may allow what was refused",
  added: "is added and may allow what was refused",
};

/** Why drafts wait. */
export type Reasons = {
  readonly found: readonly Weakening[];
  /** Files whose last line has no end. */
  readonly torn: readonly string[];
  /** Files that are to replace a mesh of which nothing is known any more. */
  readonly unheld: readonly string[];
};

/** The same drafts always give the same problems. */
export function heldProblems({ found, torn, unheld }: Reasons, stillMs: number): readonly Problem[] {
  const why = `half of a file looks the same while it is written in place, so this counts when the file has been still for ${stillMs} ms`;
  const fix = "nothing, if it is meant; a file that is written elsewhere and renamed into place counts at once";
  const code = "ORL4108";
  return [
    ...found.map(({ object, how, from }): Problem => ({ code, from, what: `${object} ${words[how]}`, why, fix })),
    ...torn.map((file): Problem => {
      const what = "the last line has no end";
      return { code, from: { file, line: 0, column: 0 }, what, why, fix };
    }),
    ...unheld.map((file): Problem => {
      const what = "the last good copy is gone, so that nobody can say whether this mesh takes protection away";
      return { code, from: { file, line: 0, column: 0 }, what, why, fix };
    }),
  ].slice(0, MAX_PROBLEMS);
}
