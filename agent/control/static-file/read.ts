// main, CLI · a YAML file, or a directory of them → texts → documents → mesh values, without ever holding up the loop for long.
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Place } from "../kinds/place.ts";
import { type Translation, translating } from "../kinds/translate.ts";
import { ConfigError, type Value } from "../kinds/value.ts";
import { MAX_FILE_BYTES, parseDocuments } from "./parse.ts";

export type FileText = { readonly file: string; readonly text: string };
export type ReadFiles = {
  readonly texts: readonly FileText[] /** When the youngest was last written, ms since the epoch. */;
  readonly changedMs: number;
};

const MAX_FILES = 1_000;
/** Parsing gives the loop back after this long, so that heartbeats and traffic go on, ms. */
const TURN_MS = 20;

/**
 * The file, or every *.yaml and *.yml of the directory in the order of their names (hidden ones left out, as the `..data`
 * of a mounted ConfigMap). @throws ConfigError when something cannot be read.
 */
export async function readFiles(path: string): Promise<ReadFiles> {
  try {
    const files = (await stat(path)).isDirectory() ? await filesOf(path) : [path];
    const texts: FileText[] = [];
    let left = MAX_FILE_BYTES;
    let changedMs = 0;
    for (const file of files) {
      const read = await readBounded(file, left);
      left -= read.text.length;
      changedMs = Math.max(changedMs, read.changedMs);
      texts.push({ file, text: read.text });
    }
    return { texts, changedMs };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw unreadable(path, error instanceof Error ? error.message : String(error));
  }
}

/** The texts alone. @throws ConfigError as `readFiles`. */
export async function readTexts(path: string): Promise<readonly FileText[]> {
  return (await readFiles(path)).texts;
}

async function filesOf(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
  if (names.length === 0) throw new Error("there is no .yaml file in it");
  if (names.length > MAX_FILES) throw new Error(`there are more than ${MAX_FILES} files in it`);
  return names.map((name) => join(folder, name));
}

async function readBounded(file: string, maxBytes: number): Promise<{ text: string; changedMs: number }> {
  const handle = await open(file, "r");
  try {
    // Checked on what was opened and again on what was read: the file may grow in between.
    const found = await handle.stat();
    if (!found.isFile()) throw unreadable(file, "it is not a regular file");
    if (found.size > maxBytes) throw unreadable(file, `there are more than ${MAX_FILE_BYTES} bytes of configuration`);
    const bytes = await handle.readFile();
    if (bytes.length > maxBytes) throw unreadable(file, `there are more than ${MAX_FILE_BYTES} bytes of configuration`);
    // Asked again after reading: a writer may have come in between.
    const { mtimeMs: changedMs } = await handle.stat();
    return { text: decodeUtf8(file, bytes), changedMs };
  } finally {
    await handle.close();
  }
}

function decodeUtf8(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // The decoder says only that; a replacement character in a name would be another name.
    throw unreadable(file, "it is not UTF-8 text");
  }
}

function unreadable(file: string, what: string): ConfigError {
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

/** @throws ConfigError with every problem, or the signal's reason. */
export async function translateTexts(
  texts: readonly FileText[],
  place: Place,
  signal?: AbortSignal,
): Promise<Translation> {
  const turns = new Turns(signal);
  const documents: Value[] = [];
  const problems: ConfigError["problems"][number][] = [];
  for (const { file, text } of texts) {
    try {
      for (const document of parseDocuments(file, text)) {
        if (document) documents.push(document);
        await turns.mayPass();
      }
    } catch (error) {
      // The next file's mistakes are told in the same breath.
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  if (documents.length === 0) throw nothing(texts[0]?.file ?? "");
  const steps = translating(documents, place);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await turns.mayPass();
  }
}

/** Writers that truncate first leave an empty file for a moment, and a mesh without a policy is open. */
function nothing(file: string): ConfigError {
  return new ConfigError([
    {
      code: "ORL4103",
      from: { file, line: 1, column: 1 },
      what: "there is no document in it",
      why: "an empty file is more often an accident than a mesh without workloads and policies",
      fix: "write at least one document, such as a Namespace",
    },
  ]);
}

/** Gives the loop back when this work has had it for long enough. */
class Turns {
  readonly #signal: AbortSignal | undefined;
  #since = performance.now();

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** Resolves at once, or after everything else that waits; rejects when the signal was aborted meanwhile. */
  async mayPass(): Promise<void> {
    if (performance.now() - this.#since < TURN_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#signal?.throwIfAborted();
    this.#since = performance.now();
  }
}
