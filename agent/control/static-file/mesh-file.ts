// main thread · one file of the mesh as it was read: its documents with their digests, so that of a changed file only the documents
// that changed are read again. Of a document nothing is kept but what it says.
import { hash } from "node:crypto";
import type { Lean } from "../../mesh/thread-view.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { leanObject, type ParsedObject, parsedObjectsOf } from "../kinds/parsed-object.ts";
import { ConfigError, type Problem, Report } from "../kinds/value.ts";
import { digestOf } from "../last-good.ts";
import { documentsOf, parseDocument } from "./parse.ts";

/** The documents of a file in columns: of a mesh with very many, an object for each would take more room than most of what they say. */
type Documents = {
  readonly lines: readonly number[];
  /** SHA-256 of each, 32 characters of a byte. */
  readonly digests: string;
  /** The objects of all, in their order, and for each document the index behind its last object. */
  readonly objects: readonly ParsedObject[];
  readonly ends: readonly number[];
  /** By index, of those that have any. */
  readonly findings: ReadonlyMap<number, readonly Problem[]>;
};

export type MeshFile = {
  /** The `stamp` of the file's state when it was read (read.ts); empty: the text comes from the last good copy. */
  readonly stamp: string;
  readonly bytes: number;
  /** SHA-256 of the whole text, in hex. */
  readonly digest: string;
  /** Its last line has no end: perhaps only half of it is written. */
  readonly torn: boolean;
  readonly documents: Documents;
  readonly problems: readonly Problem[];
};

const DIGEST_BYTES = 32;
const noFindings: Documents["findings"] = new Map();
export const noDocuments: Documents = { lines: [], digests: "", objects: [], ends: [], findings: noFindings };

/** Reads a file, one document a step, so that the caller can do other work between two. Unchanged documents of `before` are reused. */
export function* readingFile(
  read: { readonly file: string; readonly text: string; readonly stamp: string; readonly bytes: number },
  before: MeshFile | undefined,
  { settings, lean }: { readonly settings: NodeSettings; readonly lean: Lean },
): Generator<void, MeshFile> {
  const { file, text, stamp, bytes } = read;
  const known = before?.documents ?? noDocuments;
  const indexByLine = new Map(known.lines.map((line, index) => [line, index]));
  const lines: number[] = [];
  const digests: string[] = [];
  const objects: ParsedObject[] = [];
  const ends: number[] = [];
  const findings = new Map<number, readonly Problem[]>();
  const problems: Problem[] = [];
  const add = (line: number, digest: string, read: readonly ParsedObject[], found: readonly Problem[]): void => {
    if (found.length > 0) findings.set(lines.length, found);
    lines.push(line);
    digests.push(digest);
    objects.push(...read);
    ends.push(objects.length);
  };
  try {
    for (const written of documentsOf(file, text)) {
      const digest = hash("sha256", written.text, "binary");
      const same = indexByLine.get(written.line);
      if (same !== undefined && digestAt(known, same) === digest) {
        const read = known.objects.slice(known.ends[same - 1] ?? 0, known.ends[same]);
        add(written.line, digest, read, known.findings.get(same) ?? []);
        continue;
      }
      const value = parseDocument(file, written);
      if (value !== undefined) {
        const report = new Report();
        const read = parsedObjectsOf(value, settings, report).map((parsed) => leanObject(parsed, lean));
        problems.push(...report.problems);
        add(written.line, digest, read, report.findings);
      }
      yield;
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
  }
  const torn = text !== "" && !text.endsWith("\n");
  // Copies have no room for more, which lists that grew have.
  const documents: Documents = {
    ...{ lines: lines.slice(), objects: objects.slice(), ends: ends.slice() },
    digests: Buffer.from(digests.join(""), "latin1").toString("latin1"),
    findings: findings.size === 0 ? noFindings : findings,
  };
  return { stamp, bytes, digest: digestOf(text), torn, documents, problems };
}

function digestAt({ digests }: Documents, index: number): string {
  return digests.slice(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
}

/** The objects that only `before` has, and those that only `after` has. */
export function objectsBetween(
  before: MeshFile | undefined,
  after: MeshFile | undefined,
): { readonly gone: readonly ParsedObject[]; readonly come: readonly ParsedObject[] } {
  const [was, is] = [new Set(before?.documents.objects), new Set(after?.documents.objects)];
  return { gone: [...was.difference(is)], come: [...is.difference(was)] };
}
