// main thread · one file of the mesh as it was read: its documents with their digests, so that of a changed file only the documents
// that changed are read again. Of a document nothing is kept but what it says.
import { hash } from "node:crypto";
import type { Lean } from "../../mesh/thread-view.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { leanObject, type ParsedObject, parsedObjectsOf } from "../kinds/parsed-object.ts";
import { ConfigError, type Problem, Report } from "../kinds/value.ts";
import { digestOf } from "../last-good.ts";
import type { ChangedPart } from "./changed-part.ts";
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

/** What is known of a file from before: its documents, and which part of the text they were read from is another by now. */
export type KnownFile = { readonly documents: Documents; readonly part?: ChangedPart | undefined };

/** Reads a file, one document a step, so that the caller can do other work between two. Unchanged documents of `before` are reused. */
export function* readingFile(
  read: { readonly file: string; readonly text: string; readonly stamp: string; readonly bytes: number },
  before: KnownFile | undefined,
  { settings, lean }: { readonly settings: NodeSettings; readonly lean: Lean },
): Generator<void, MeshFile> {
  const { file, text, stamp, bytes } = read;
  const known = before?.documents ?? noDocuments;
  const part = before?.part ?? { begin: 0, end: text.length, line: 1, endLine: null };
  // Those before and behind these are as they were.
  const head = indexOfLine(known, part.line);
  const tail = part.endLine === null ? known.lines.length : indexOfLine(known, part.endLine);
  const indexByLine = new Map<number, number>();
  for (let index = head; index < tail; index += 1) indexByLine.set(known.lines[index] ?? 0, index);
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
    for (const written of documentsOf(file, text.slice(part.begin, part.end), part.line)) {
      const digest = hash("sha256", written.text, "binary");
      const same = indexByLine.get(written.line);
      if (same !== undefined && digestAt(known, same) === digest) {
        add(written.line, digest, objectsOf(known, same, same + 1), known.findings.get(same) ?? []);
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
  const whole = head === 0 && tail === known.lines.length ? documents : between(known, head, documents, tail);
  return { stamp, bytes, digest: digestOf(text), torn, documents: whole, problems };
}

/** Of the first document in this line or behind. */
function indexOfLine({ lines }: Documents, line: number): number {
  let [from, to] = [0, lines.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((lines[middle] ?? 0) < line) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** `known` with `part` instead of its documents from `head` to `tail`. */
function between(known: Documents, head: number, part: Documents, tail: number): Documents {
  const [first, last] = [known.ends[head - 1] ?? 0, known.ends[tail - 1] ?? 0];
  const moved = first + part.objects.length - last;
  const digests = [known.digests.slice(0, head * DIGEST_BYTES), part.digests, known.digests.slice(tail * DIGEST_BYTES)];
  const findings = new Map<number, readonly Problem[]>();
  for (const [index, found] of known.findings) if (index < head) findings.set(index, found);
  for (const [index, found] of part.findings) findings.set(head + index, found);
  const further = head + part.lines.length - tail;
  for (const [index, found] of known.findings) if (index >= tail) findings.set(index + further, found);
  const isAsLong = further === 0 && moved === 0 && part.lines.every((line, at) => line === known.lines[head + at]);
  const isAsBefore = isAsLong && part.ends.every((end, at) => first + end === known.ends[head + at]);
  return {
    lines: isAsBefore ? known.lines : known.lines.slice(0, head).concat(part.lines, known.lines.slice(tail)),
    ends: isAsBefore
      ? known.ends
      : known.ends.slice(0, head).concat(
          part.ends.map((end) => first + end),
          known.ends.slice(tail).map((end) => end + moved),
        ),
    objects: known.objects.slice(0, first).concat(part.objects, known.objects.slice(last)),
    digests: Buffer.from(digests.join(""), "latin1").toString("latin1"),
    findings: findings.size === 0 ? noFindings : findings,
  };
}

function objectsOf({ objects, ends }: Documents, from: number, to: number): readonly ParsedObject[] {
  return objects.slice(ends[from - 1] ?? 0, ends[to - 1] ?? 0);
}

function digestAt({ digests }: Documents, index: number): string {
  return digests.slice(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
}

/** The objects that only `before` has, and those that only `after` has. */
export function objectsBetween(
  before: MeshFile | undefined,
  after: MeshFile | undefined,
): { readonly gone: readonly ParsedObject[]; readonly come: readonly ParsedObject[] } {
  const [was, is] = [before?.documents.objects ?? [], after?.documents.objects ?? []];
  const most = Math.min(was.length, is.length);
  let head = 0;
  while (head < most && was[head] === is[head]) head += 1;
  let tail = 0;
  while (tail < most - head && was[was.length - 1 - tail] === is[is.length - 1 - tail]) tail += 1;
  const [old, young] = [new Set(was.slice(head, was.length - tail)), new Set(is.slice(head, is.length - tail))];
  return { gone: [...old.difference(young)], come: [...young.difference(old)] };
}
