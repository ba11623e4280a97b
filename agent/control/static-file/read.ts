// any thread · files → texts: which files there are, what tells one state of a file from another, bounded reading. A text that
// is no UTF-8, a pipe, a file without end: all of them are a ConfigError and nothing else.
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { type Translation, translate } from "../kinds/translate.ts";
import { ConfigError } from "../kinds/value.ts";
import { MAX_FILE_BYTES, parseYaml } from "./parse.ts";

export type FileText = { readonly file: string; readonly text: string };
/** `stamp` differs whenever the content may; `changedMs` since the epoch. */
export type FileState = {
  readonly stamp: string;
  readonly bytes: number;
  readonly changedMs: number;
  /**
   * Its name, owner or mode changed after its content did. Writing changes both times alike, and so no file that somebody writes
   * to in place shows it at the time of a write.
   */
  readonly renamedSince: boolean;
};

const MAX_FILES = 20_000;
const MAX_FOLDER_BYTES = 256 * 1024 * 1024;

/** Where the files are: the folder itself, or that of the one file. */
export type Location = { readonly folder: string; readonly names: () => readonly string[]; readonly whole: boolean };

/**
 * A file, or every *.yaml and *.yml of a directory in the order of their names (hidden ones left out, as the `..data` of a
 * mounted ConfigMap).
 */
export function locate(path: string): Location {
  const whole = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  if (!whole) return { folder: dirname(path), names: () => [basename(path)], whole };
  return { folder: path, names: () => namesIn(path), whole };
}

export function isMeshFile(name: string): boolean {
  return /^[^.].*\.ya?ml$/.test(name);
}

/** @throws ConfigError */
function namesIn(folder: string): readonly string[] {
  const names = reading(folder, () => readdirSync(folder))
    .filter(isMeshFile)
    .sort();
  if (names.length === 0) throw unreadable(folder, "there is no .yaml file in it");
  if (names.length > MAX_FILES) throw unreadable(folder, `there are more than ${MAX_FILES} files in it`);
  return names;
}

/** Links are followed. undefined: there is no such file. @throws ConfigError */
export function stateOf(file: string): FileState | undefined {
  const found = reading(file, () => statSync(file, { bigint: true, throwIfNoEntry: false }));
  return found === undefined ? undefined : toState(file, found);
}

function toState(file: string, found: BigIntStats): FileState {
  if (!found.isFile()) throw unreadable(file, "it is not a regular file");
  const { dev, ino, size, mtimeNs, ctimeNs } = found;
  return {
    stamp: `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`,
    bytes: Number(size),
    changedMs: Number(mtimeNs) / 1e6,
    renamedSince: mtimeNs < ctimeNs,
  };
}

/** @throws ConfigError */
export function checkTotal(path: string, bytes: number): void {
  if (bytes > MAX_FOLDER_BYTES)
    throw unreadable(path, `there are more than ${MAX_FOLDER_BYTES} bytes of configuration`);
}

/** The text and the state it was read in. @throws ConfigError */
export function readText(file: string): { readonly text: string; readonly state: FileState } {
  return reading(file, () => {
    // A pipe that took the file's place would keep a blocking open waiting.
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { bytes } = toState(file, fstatSync(descriptor, { bigint: true }));
      if (bytes > MAX_FILE_BYTES) throw unreadable(file, `it is larger than ${MAX_FILE_BYTES} bytes`);
      const text = decodeUtf8(file, readAtMost(descriptor, bytes));
      // Asked after reading: a writer may have come in between, and is then seen as another state.
      return { text, state: toState(file, fstatSync(descriptor, { bigint: true })) };
    } finally {
      closeSync(descriptor);
    }
  });
}

function readAtMost(descriptor: number, bytes: number): Uint8Array {
  const buffer = Buffer.allocUnsafe(bytes);
  let filled = 0;
  while (filled < bytes) {
    const read = readSync(descriptor, buffer, filled, bytes - filled, null);
    if (read === 0) break;
    filled += read;
  }
  return buffer.subarray(0, filled);
}

/** All texts at `path`. @throws ConfigError */
export function readTexts(path: string): readonly FileText[] {
  const { folder, names } = locate(path);
  let left = MAX_FOLDER_BYTES;
  return names().map((name) => {
    const file = join(folder, name);
    const { text, state } = readText(file);
    left -= state.bytes;
    checkTotal(path, MAX_FOLDER_BYTES - left);
    return { file, text };
  });
}

/** Of all texts together. @throws ConfigError with every problem */
export function translateTexts(texts: readonly FileText[], settings: NodeSettings): Translation {
  const documents = texts.flatMap(({ file, text }) => parseYaml(file, text));
  if (documents.length === 0) throw nothing(texts[0]?.file ?? "");
  return translate(documents, settings);
}

/** Writers that truncate first leave an empty file for a moment, and a mesh without a policy is open. */
export function nothing(file: string): ConfigError {
  return new ConfigError([
    {
      code: "ORL4103",
      from: { file, line: 1, column: 1 },
      what: "there is no document in it",
      why: "an empty file is more often an accident than a mesh without workloads and policies",
      fix: "write at least one document, such as a Namespace, or remove the file where there are others",
    },
  ]);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeUtf8(file: string, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    // The decoder says only that; a replacement character in a name would be another name.
    throw unreadable(file, "it is not UTF-8 text");
  }
}

function reading<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw unreadable(file, error instanceof Error ? error.message : String(error));
  }
}

export function unreadable(file: string, what: string): ConfigError {
  return new ConfigError([
    {
      code: "ORL4107",
      from: { file, line: 0, column: 0 },
      what: `cannot be read: ${what}`,
      why: "what runs stays as it is until there is something to replace it",
      fix: "make it a readable YAML file",
    },
  ]);
}
