// any thread · where a configuration value comes from, so that a refusal can name it: a line of a file, or an object of an API
// server. Pure.

/** 1-based line and column; line 0: the file as a whole. */
export type FilePosition = { readonly file: string; readonly line: number; readonly column: number };

/** An object as an API server had it. `namespace` is empty for objects of the cluster. */
export type ObjectVersion = {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
};

export type SourceRef = FilePosition | ObjectVersion;

export const nowhere: FilePosition = Object.freeze({ file: "", line: 0, column: 0 });

export function isFilePosition(from: SourceRef): from is FilePosition {
  return "file" in from;
}

/** `file:line:column`, as editors and compilers read it, or `Kind/namespace/name@resourceVersion`. Empty: from nowhere. */
export function positionText(from: SourceRef): string {
  if (!isFilePosition(from)) return objectText(from);
  return from.line === 0 ? from.file : `${from.file}:${from.line}:${from.column}`;
}

/** As `positionText`, without the column. */
export function lineText(from: SourceRef): string {
  if (!isFilePosition(from)) return objectText(from);
  return from.file === "" ? "" : `${from.file}:${from.line}`;
}

function objectText({ kind, namespace, name, resourceVersion }: ObjectVersion): string {
  return `${[kind, namespace, name].filter((part) => part !== "").join("/")}@${resourceVersion}`;
}

/** A lawful order: files by name and position, then objects by kind, namespace and name. */
export function comparePositions(a: SourceRef, b: SourceRef): number {
  if (!isFilePosition(a)) return isFilePosition(b) ? 1 : compareText(objectText(a), objectText(b));
  if (!isFilePosition(b)) return -1;
  return compareText(a.file, b.file) || a.line - b.line || a.column - b.column;
}

/** By code unit: the same order on every node. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
