// any thread · YAML 1.2 → values that keep file:line:column. Nothing in a file can make it throw but ConfigError. The only yaml import.
import { createRequire } from "node:module";
import type { Alias, Node, parseAllDocuments } from "yaml";
import type { FilePosition, SourceRef } from "../../mesh/source-ref.ts";
import { ConfigError, type MapEntry, type Problem, quoted, type Value } from "../kinds/value.ts";
import { readPlain } from "./plain-yaml.ts";

const load = createRequire(import.meta.url);
let loaded: typeof import("yaml") | undefined;

/** Loaded with the first document that is not plain: where all are, an agent does without it. */
function yaml(): typeof import("yaml") {
  loaded ??= load("yaml") as typeof import("yaml");
  return loaded;
}

/** Larger files are refused unread; a mesh that needs more belongs behind an API. */
export const MAX_FILE_BYTES = 32 * 1024 * 1024;
/** One document is parsed in one go; half a second of it at most. The objects we read have a few kB. */
export const MAX_DOCUMENT_BYTES = 512 * 1024;
/** Deeper values are refused; the deepest kind needs 9. */
const MAX_DEPTH = 64;
/** Values per document, aliases counted as often as they are used ("billion laughs"). */
const MAX_VALUES = 200_000;
/** Aliases per document. */
const MAX_ALIASES = 100;

/** A document as it is written, with the line it begins in. */
export type WrittenDocument = { readonly text: string; readonly line: number };

/** The documents of a file, unread, or of a part of it that begins in this line with a document. Throws ConfigError. */
export function* documentsOf(file: string, source: string, firstLine = 1): Generator<WrittenDocument> {
  if (source.length > MAX_FILE_BYTES) {
    throw refused(
      { file, line: 0, column: 0 },
      `it is larger than ${MAX_FILE_BYTES} bytes`,
      "split it, or use an API source",
    );
  }
  // A byte order mark would shift the first column; it carries nothing else.
  const whole = source.startsWith("\uFEFF") ? source.slice(1) : source;
  let line = firstLine;
  for (const text of split(whole)) {
    yield { text, line };
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) line++;
  }
}

/** Every document that is not empty. Throws ConfigError. */
export function parseYaml(file: string, source: string): Value[] {
  return [...documentsOf(file, source)]
    .map((written) => parseDocument(file, written))
    .filter((value) => value !== undefined);
}

/** Three dashes at the start of a line separate documents, inside scalars too (YAML 1.2.2 §9.1.2). */
function* split(text: string): Generator<string> {
  let start = 0;
  for (const match of text.matchAll(/^---(?=[ \t\r\n]|$)/gm)) {
    if (match.index === 0) continue;
    yield text.slice(start, match.index);
    start = match.index;
  }
  yield text.slice(start);
}

function refused(from: SourceRef, what: string, fix: string): ConfigError {
  const why = "a file that is read two ways would be enforced one way and meant the other";
  return new ConfigError([{ code: "ORL4101", from, what, why, fix }]);
}

/** undefined: the document is empty. Throws ConfigError. */
export function parseDocument(file: string, written: WrittenDocument): Value | undefined {
  return readPlain(file, written.text, written.line) ?? parseByLibrary(file, written);
}

/** As `parseDocument`, whatever the document holds, in ten times the time. */
export function parseByLibrary(file: string, { text: chunk, line: firstLine }: WrittenDocument): Value | undefined {
  if (chunk.length > MAX_DOCUMENT_BYTES) {
    throw refused(
      { file, line: firstLine, column: 1 },
      `this document is larger than ${MAX_DOCUMENT_BYTES} bytes`,
      "one object per document, with --- between them",
    );
  }
  const directive = /^%/m.exec(chunk);
  if (directive) {
    const line = firstLine + chunk.slice(0, directive.index).split("\n").length - 1;
    throw refused(
      { file, line, column: 1 },
      "directives (%) are not read",
      "remove the line; files are read as YAML 1.2",
    );
  }
  const counter = new (yaml().LineCounter)();
  const positionOf = (offset: number): FilePosition => {
    const { line, col } = counter.linePos(offset);
    return { file, line: Math.max(line, 1) + firstLine - 1, column: Math.max(col, 1) };
  };
  let documents: ReturnType<typeof parseAllDocuments>;
  try {
    documents = yaml().parseAllDocuments(chunk, {
      version: "1.2",
      schema: "core",
      merge: false,
      strict: true,
      stringKeys: true,
      // Compared by ourselves: the library compares each key with all before it, minutes for a large map.
      uniqueKeys: false,
      resolveKnownTags: false,
      prettyErrors: false,
      logLevel: "silent",
      lineCounter: counter,
    });
  } catch (error) {
    // The library's composer is recursive: what is nested thousands deep exhausts the stack instead of giving an error.
    const nested = error instanceof RangeError;
    throw refused(
      { file, line: firstLine, column: 1 },
      nested ? "this document is nested too deeply" : `this document is not YAML: ${quoted(String(error))}`,
      nested ? `nest at most ${MAX_DEPTH} deep` : "correct the document",
    );
  }
  if (!Array.isArray(documents)) return undefined;
  const problems: Problem[] = [];
  for (const document of documents) {
    for (const error of [...document.errors, ...document.warnings]) {
      const [what, fix] = wording[error.code] ?? [error.message.split("\n")[0] ?? error.code, "correct the YAML here"];
      const why = "a file that is read two ways would be enforced one way and meant the other";
      problems.push({ code: "ORL4101", from: positionOf(error.pos[0]), what, why, fix });
    }
  }
  if (problems.length > 0) throw new ConfigError(problems.slice(0, 20));
  const filled = documents.filter((document) => document.contents !== null && !isEmpty(document.contents));
  if (filled.length > 1)
    throw refused({ file, line: firstLine, column: 1 }, "documents run together here", "put --- between them");
  const [document] = filled;
  if (!document?.contents) return undefined;
  return new Walk(document.contents, positionOf).value();
}

/** Words for the mistakes people make; the library's own are used for the rest. */
const wording: Partial<Record<string, readonly [what: string, fix: string]>> = {
  TAB_AS_INDENT: ["a tab is used as indentation", "indent with spaces"],
  BAD_INDENT: ["the indentation does not fit its surroundings", "align it with its neighbours"],
  RESOURCE_EXHAUSTION: ["this is nested too deeply", `nest at most ${MAX_DEPTH} deep`],
  NON_STRING_KEY: ["a key must be a string", "put quotes around the key"],
  TAG_RESOLVE_FAILED: ["tags are not read", "remove the tag"],
};

function isEmpty(node: Node): boolean {
  return yaml().isScalar(node) && node.value === null && (node.source === undefined || node.source === "");
}

/** The library's tree → ours, with its limits. */
class Walk {
  readonly #root: Node;
  readonly #positionOf: (offset: number) => FilePosition;
  readonly #anchors = new Map<string, Node>();
  #values = 0;
  #aliases = 0;

  constructor(root: Node, positionOf: (offset: number) => FilePosition) {
    this.#root = root;
    this.#positionOf = positionOf;
  }

  value(): Value {
    return this.#walk(this.#root, 0);
  }

  #from(node: Node): SourceRef {
    return this.#positionOf(node.range?.[0] ?? 0);
  }

  #walk(node: Node, depth: number): Value {
    const from = this.#from(node);
    if (depth > MAX_DEPTH) throw refused(from, "this is nested too deeply", `nest at most ${MAX_DEPTH} deep`);
    if (++this.#values > MAX_VALUES)
      throw refused(from, `more than ${MAX_VALUES} values in one document`, "split the document");
    if (yaml().isAlias(node)) return this.#walk(this.#resolve(node, from), depth + 1);
    if (node.tag !== undefined && !node.tag.startsWith("tag:yaml.org,2002:"))
      throw refused(from, "tags are not read", "remove the tag");
    let value: Value;
    if (yaml().isMap(node)) value = this.#map(node.items, from, depth);
    else if (yaml().isSeq(node))
      value = { type: "list", from, items: node.items.map((item) => this.#child(item, from, depth)) };
    else if (yaml().isScalar(node)) value = scalar(node.value, from);
    else throw refused(from, "this is neither a value, a list nor a map", "correct the YAML here");
    // Registered after its content was read: an alias inside its own anchor stays unknown instead of turning in circles.
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    return value;
  }

  #map(items: readonly { readonly key: unknown; readonly value: unknown }[], from: SourceRef, depth: number): Value {
    const entries = new Map<string, MapEntry>();
    for (const { key, value } of items) {
      if (!yaml().isScalar(key) || typeof key.value !== "string")
        throw refused(from, "a key must be a string", "put quotes around the key");
      const keyFrom = this.#from(key);
      if (key.value === "<<") throw refused(keyFrom, "merge keys (<<) are not read", "write the fields out");
      if (entries.has(key.value)) throw refused(keyFrom, "this key stands twice in one map", "keep one of them");
      entries.set(key.value, { keyFrom, value: this.#child(value, keyFrom, depth) });
    }
    return { type: "map", from, entries };
  }

  #child(node: unknown, parent: SourceRef, depth: number): Value {
    return node === null || node === undefined ? { type: "null", from: parent } : this.#walk(node as Node, depth + 1);
  }

  #resolve(alias: Alias, from: SourceRef): Node {
    if (++this.#aliases > MAX_ALIASES)
      throw refused(from, `more than ${MAX_ALIASES} aliases in one document`, "write the values out");
    const node = this.#anchors.get(alias.source);
    if (!node)
      throw refused(from, `no value named ${quoted(alias.source)} stands before this alias`, "write the value out");
    return node;
  }
}

function scalar(value: unknown, from: SourceRef): Value {
  switch (typeof value) {
    case "string":
      return { type: "string", value, from };
    case "boolean":
      return { type: "boolean", value, from };
    case "number":
      if (!Number.isFinite(value)) throw refused(from, "infinity and not-a-number are not read", "write a number");
      return { type: "number", value, from };
    default:
      if (value === null) return { type: "null", from };
      throw refused(from, "this value is of no type that is read", "write a string, a number, true or false");
  }
}
