// main thread · the last accepted configuration on disk, for a start at which the original is wrong: an index, beside it each file's text
// under its digest, and behind the index a line for each change since. So a change costs what has changed. Holds no secret.
import { hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

/** The texts as they were read; they pass through the same readers again, so nothing on disk is believed unchecked. */
export type LastGood = {
  /** RFC 3339. */
  readonly acceptedAt: string;
  readonly files: readonly { readonly file: string; readonly text: string }[];
};
export type FileDigest = { readonly file: string; readonly digest: string };
export type LastGoodIndex = {
  readonly acceptedAt: string;
  readonly files: readonly FileDigest[];
};

/** How a text differs from the text with the digest `base`: from `at` on it has `put` in place of `gone` characters. */
export type TextEdit = { readonly base: string; readonly at: number; readonly gone: number; readonly put: string };
/** A file's text, or what differs in it from the text that the copy had for this file. */
export type ChangedText = FileDigest & ({ readonly text: string } | { readonly edit: TextEdit });

/** Files of the mesh that have other texts now, or are gone. */
export type LastGoodChange = {
  /** RFC 3339. */
  readonly acceptedAt: string;
  readonly changed: readonly ChangedText[];
  readonly gone: readonly string[];
};

const VERSION = 2;
const MAX_BYTES = 32 * 1024 * 1024;

/** SHA-256 of a text, in hex: the name of its file. */
export function digestOf(text: string): string {
  return hash("sha256", text, "hex");
}

/**
 * Writes the texts that are not there yet, then the index: from then on a process that begins finds them. Nothing waits for the disk.
 * @param has names of texts that are there; what is written is added.
 * @param textOf the text of this digest; undefined: it is no longer to be had.
 * @param isOurs asked before the index is written: whether this process still keeps the copy.
 * @returns what was written, for `syncLastGood`.
 * @throws the file system's errors, and when a text is no longer to be had or the copy is another's; the configuration in force is not touched by them.
 */
export async function saveLastGood(
  path: string,
  index: LastGoodIndex,
  {
    has,
    textOf,
    isOurs,
  }: {
    readonly has: Set<string>;
    readonly textOf: (entry: FileDigest) => string | undefined;
    readonly isOurs: () => boolean;
  },
): Promise<readonly string[]> {
  const folder = folderOf(path);
  const written: string[] = [];
  for (const entry of index.files) {
    const name = nameOf(entry);
    if (has.has(name)) continue;
    const text = textOf(entry);
    if (text === undefined) throw new Error(`${entry.file} says something else by now`);
    await write(join(folder, name), text);
    has.add(name);
    written.push(join(folder, name));
  }
  if (!isOurs()) throw new Error("another agent keeps the copy by now");
  await write(path, JSON.stringify({ version: VERSION, ...index }));
  return [...written, path];
}

/**
 * Waits until what was written is on the disk; removes texts that the index does not name.
 * @returns the names of those that are left.
 * @throws the file system's errors
 */
export async function syncLastGood(
  path: string,
  index: LastGoodIndex,
  written: readonly string[],
): Promise<Set<string>> {
  for (const file of written) {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  const wanted = new Set(index.files.map(nameOf));
  for (const name of await textsOfLastGood(path))
    if (!wanted.has(name)) await rm(join(folderOf(path), name), { force: true, recursive: true });
  return wanted;
}

/**
 * Whether a mesh was in force here before, as far as the disk can tell: its copy may be gone, but the directory of its texts is made
 * before the first mesh counts, and stays. True as well when the directory cannot be made.
 */
export async function hadMesh(path: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await mkdir(folderOf(path), { mode: 0o700 });
    return false;
  } catch {
    return true;
  }
}

/** Names of the texts that are there. Makes the directory if there is none. @throws the file system's errors */
export async function textsOfLastGood(path: string): Promise<Set<string>> {
  await mkdir(folderOf(path), { recursive: true, mode: 0o700 });
  return new Set(await readdir(folderOf(path)));
}

/** Which files were saved, and when. undefined: there is no copy, or what is there is not what was saved. */
export async function lastGoodIndex(path: string): Promise<LastGoodIndex | undefined> {
  return decode(await readBounded(path))?.index;
}

/** The copy whose index was just written, for lines behind it. @throws the file system's errors */
export function openLastGood(path: string): Promise<FileHandle> {
  return open(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW);
}

/** The bytes to append to the index for this change: a line feed, then JSON. */
export function changeLine(change: LastGoodChange): Buffer {
  return Buffer.from(`\n${JSON.stringify(change)}`);
}

/**
 * undefined: there is none, or what is there is not what was saved.
 * @param each is given each read of a file, so that a caller can limit how long it waits for the disk.
 */
export async function loadLastGood(
  path: string,
  each: <Answer>(reading: Promise<Answer>) => Promise<Answer> = (reading) => reading,
): Promise<LastGood | undefined> {
  const copy = decode(await each(readBounded(path)));
  if (copy === undefined) return undefined;
  const files: { readonly file: string; readonly text: string }[] = [];
  for (const { file, digest } of copy.index.files) {
    const { text: whole, base, edits } = copy.texts.get(file) ?? { base: digest, edits: [] };
    const first = whole ?? (await each(readBounded(join(folderOf(path), nameOf({ digest: base })))));
    if (first === undefined) return undefined;
    const text = edits.reduce(edited, first);
    if (digestOf(text) !== digest) return undefined;
    files.push({ file, text });
  }
  return { acceptedAt: copy.index.acceptedAt, files };
}

function edited(text: string, { at, gone, put }: TextEdit): string {
  return text.slice(0, at) + put + text.slice(at + gone);
}

function nameOf({ digest }: Pick<FileDigest, "digest">): string {
  return `${digest}.yaml`;
}

function folderOf(path: string): string {
  return path.replace(/\.json$/, "");
}

async function write(path: string, text: string): Promise<void> {
  const draft = join(dirname(path), `.draft.${process.pid}.tmp`);
  try {
    // The draft of a process that died while writing is overwritten; a link in its place is not followed.
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const handle = await open(draft, flags, 0o600);
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

async function readBounded(path: string): Promise<string | undefined> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return (await handle.stat()).size > MAX_BYTES ? undefined : await handle.readFile("utf8");
    } finally {
      await handle.close();
    }
  } catch {
    // Absent or unreadable comes to the same: the source waits for a good original, which is always safe.
    return undefined;
  }
}

/** A file that lines of the index have changed: the text that a line has, or the digest of the text in the index; and the edits since. */
type ReadText = { readonly text?: string; readonly base: string; readonly edits: TextEdit[] };

/** The index as its lines have changed it, and by file the texts in them. */
type ReadCopy = {
  readonly index: LastGoodIndex;
  readonly texts: ReadonlyMap<string, ReadText>;
};

/**
 * Each line begins with its line feed, and the last counts only if it is whole: a process that ended while it wrote the line had not put that
 * change in force.
 */
function decode(text: string | undefined): ReadCopy | undefined {
  const [head = "", ...lines] = text?.split("\n") ?? [];
  const index = indexOf(objectOf(head));
  if (index === undefined) return undefined;
  const files = new Map(index.files.map((entry) => [entry.file, entry]));
  const texts = new Map<string, ReadText>();
  let { acceptedAt } = index;
  for (const [nth, line] of lines.entries()) {
    const read = objectOf(line);
    if (read === undefined && nth === lines.length - 1) break;
    const change = changeOf(read);
    if (change === undefined) return undefined;
    acceptedAt = change.acceptedAt;
    for (const file of change.gone) {
      files.delete(file);
      texts.delete(file);
    }
    for (const changed of change.changed) {
      const { file, digest } = changed;
      if ("edit" in changed) {
        const { edit } = changed;
        // An edit of any other text than the copy's cannot be applied.
        if (files.get(file)?.digest !== edit.base) return undefined;
        const read = texts.get(file) ?? { base: edit.base, edits: [] };
        read.edits.push(edit);
        texts.set(file, read);
      } else texts.set(file, { text: changed.text, base: digest, edits: [] });
      files.set(file, { file, digest });
    }
  }
  return { index: { acceptedAt, files: [...files.values()] }, texts };
}

type LastGoodFields = Readonly<Record<string, unknown>>;

/** undefined: not ours, or damaged. */
function objectOf(text: string): LastGoodFields | undefined {
  try {
    const read: unknown = JSON.parse(text);
    return typeof read === "object" && read !== null ? (read as LastGoodFields) : undefined;
  } catch {
    return undefined;
  }
}

function indexOf(read: LastGoodFields | undefined): LastGoodIndex | undefined {
  if (read === undefined) return undefined;
  const { version, acceptedAt, files } = read;
  if (version !== VERSION || typeof acceptedAt !== "string" || !areAll(files, isDigest)) return undefined;
  return { acceptedAt, files };
}

function changeOf(read: LastGoodFields | undefined): LastGoodChange | undefined {
  if (read === undefined) return undefined;
  const { acceptedAt, changed, gone } = read;
  const isFile = (file: unknown): file is string => typeof file === "string";
  if (typeof acceptedAt !== "string" || !areAll(changed, isText) || !areAll(gone, isFile)) return undefined;
  return { acceptedAt, changed, gone };
}

function areAll<T>(list: unknown, is: (entry: unknown) => entry is T): list is readonly T[] {
  return Array.isArray(list) && list.every(is);
}

function isDigest(entry: unknown): entry is FileDigest {
  const { file, digest } = (entry ?? {}) as LastGoodFields;
  return typeof file === "string" && typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest);
}

function isText(entry: unknown): entry is ChangedText {
  if (!isDigest(entry)) return false;
  const { text, edit } = entry as LastGoodFields;
  return edit === undefined ? typeof text === "string" : isEdit(edit);
}

function isEdit(edit: unknown): boolean {
  const { base, at, gone, put } = (edit ?? {}) as LastGoodFields;
  return typeof base === "string" && isCount(at) && isCount(gone) && typeof put === "string";
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
