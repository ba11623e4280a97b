// main thread · one file of the mesh as it was read: its documents with their digests, so that of a changed file only the documents
// that changed are read again. Of a document nothing is kept but what it says.
import { hash } from "node:crypto";
import type { Lean } from "../../mesh/thread-view.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { leanObject, type ParsedObject, parsedObjectsOf } from "../kinds/parsed-object.ts";
import { ConfigError, type Problem, Report } from "../kinds/value.ts";
import { digestOf } from "../last-good.ts";
import { documentsOf, parseDocument } from "./parse.ts";

type Document = {
  readonly line: number;
  readonly digest: string;
  readonly objects: readonly ParsedObject[];
  readonly findings: readonly Problem[];
};

export type MeshFile = {
  /** The `stamp` of the file's state when it was read (read.ts); empty: the text comes from the last good copy. */
  readonly stamp: string;
  readonly bytes: number;
  /** SHA-256 of the whole text, in hex. */
  readonly digest: string;
  /** Its last line has no end: perhaps only half of it is written. */
  readonly torn: boolean;
  readonly documents: readonly Document[];
  readonly problems: readonly Problem[];
};

const none: readonly never[] = [];

/** Reads a file, one document a step, so that the caller can do other work between two. Unchanged documents of `before` are reused. */
export function* readingFile(
  read: { readonly file: string; readonly text: string; readonly stamp: string; readonly bytes: number },
  before: MeshFile | undefined,
  { settings, lean }: { readonly settings: NodeSettings; readonly lean: Lean },
): Generator<void, MeshFile> {
  const { file, text, stamp, bytes } = read;
  const known = new Map(before?.documents.map((document) => [document.line, document]));
  const documents: Document[] = [];
  const problems: Problem[] = [];
  try {
    for (const written of documentsOf(file, text)) {
      const digest = hash("sha256", written.text, "binary");
      const same = known.get(written.line);
      if (same?.digest === digest) {
        documents.push(same);
        continue;
      }
      const value = parseDocument(file, written);
      if (value !== undefined) {
        const report = new Report();
        const objects = parsedObjectsOf(value, settings, report).map((parsed) => leanObject(parsed, lean));
        problems.push(...report.problems);
        const findings = report.findings.length === 0 ? none : report.findings;
        documents.push({ line: written.line, digest, objects, findings });
      }
      yield;
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
  }
  const torn = text !== "" && !text.endsWith("\n");
  return { stamp, bytes, digest: digestOf(text), torn, documents, problems };
}

/** The objects that only `before` has, and those that only `after` has. */
export function objectsBetween(
  before: MeshFile | undefined,
  after: MeshFile | undefined,
): { readonly gone: readonly ParsedObject[]; readonly come: readonly ParsedObject[] } {
  const [was, is] = [new Set(before?.documents), new Set(after?.documents)];
  return {
    gone: [...was.difference(is)].flatMap(({ objects }) => objects),
    come: [...is.difference(was)].flatMap(({ objects }) => objects),
  };
}
