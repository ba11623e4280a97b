// main thread · the last accepted configuration on disk, for a start at which the original is wrong: an index, and beside it each
// file's text under its digest, so that a change costs what has changed. Holds no secret; never half written.
import { hash } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

/** The texts as they were read; they pass through the same readers again, so nothing on disk is believed unchecked. */
export type LastGood = {
  /** RFC 3339. */
  readonly acceptedAt: string;
  readonly files: readonly { readonly file: string; readonly text: string }[];
};
export type FileDigest = { readonly file: string; readonly digest: string };
type Index = { readonly acceptedAt: string; readonly files: readonly FileDigest[] };

const VERSION = 2;
const MAX_BYTES = 32 * 1024 * 1024;

/** Of a text, as a file may be called. */
export function digestOf(text: string): string {
  return hash("sha256", text, "hex");
}

/**
 * @param textOf the text of this digest; undefined: it is no longer to be had.
 * @throws the file system's errors, and when a text is no longer to be had; the configuration in force is not touched by them.
 */
export async function saveLastGood(
  path: string,
  index: Index,
  textOf: (entry: FileDigest) => string | undefined,
): Promise<void> {
  const folder = folderOf(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const old = new Set(await readdir(folder));
  const wanted = new Set<string>();
  for (const entry of index.files) {
    const name = `${entry.digest}.yaml`;
    if (!old.has(name) && !wanted.has(name)) {
      const text = textOf(entry);
      if (text === undefined) throw new Error(`${entry.file} says something else by now`);
      await write(join(folder, name), text);
    }
    wanted.add(name);
  }
  await write(path, JSON.stringify({ version: VERSION, ...index }));
  for (const name of old) if (!wanted.has(name)) await rm(join(folder, name), { force: true, recursive: true });
}

/** Which files were saved. undefined: there is no copy, or what is there is not what was saved. */
export async function lastGoodDigests(path: string): Promise<readonly FileDigest[] | undefined> {
  return decode(await readBounded(path))?.files;
}

/** undefined: there is none, or what is there is not what was saved. */
export async function loadLastGood(path: string): Promise<LastGood | undefined> {
  const index = decode(await readBounded(path));
  if (index === undefined) return undefined;
  const files: { readonly file: string; readonly text: string }[] = [];
  for (const { file, digest } of index.files) {
    const text = await readBounded(join(folderOf(path), `${digest}.yaml`));
    if (text === undefined || digestOf(text) !== digest) return undefined;
    files.push({ file, text });
  }
  return { acceptedAt: index.acceptedAt, files };
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
      await handle.sync();
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

function decode(text: string | undefined): Index | undefined {
  let read: unknown;
  try {
    read = JSON.parse(text ?? "");
  } catch {
    // Not ours, or damaged; see above.
    return undefined;
  }
  if (typeof read !== "object" || read === null) return undefined;
  const { version, acceptedAt, files } = read as Partial<Record<string, unknown>>;
  if (version !== VERSION || typeof acceptedAt !== "string" || !Array.isArray(files)) return undefined;
  const known = files.filter(
    (entry): entry is FileDigest => typeof entry?.file === "string" && /^[0-9a-f]{64}$/.test(entry?.digest),
  );
  return known.length === files.length ? { acceptedAt, files: known } : undefined;
}
