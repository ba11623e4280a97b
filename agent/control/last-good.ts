// main · the last accepted configuration on disk, for a start at which the original is wrong. Holds no secret; never half written.
import { constants } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

/** The texts as they were read; they pass through the same readers again, so nothing on disk is believed unchecked. */
export type LastGood = {
  /** RFC 3339. */
  readonly acceptedAt: string;
  readonly files: readonly { readonly file: string; readonly text: string }[];
};

const VERSION = 1;
const MAX_BYTES = 128 * 1024 * 1024;

/** @throws the file system's errors; the configuration in force is not touched by them. */
export async function saveLastGood(path: string, lastGood: LastGood): Promise<void> {
  const draft = join(dirname(path), `.last-good.${process.pid}.tmp`);
  try {
    // The draft of a process that died while writing is overwritten; a link in its place is not followed.
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const handle = await open(draft, flags, 0o600);
    try {
      await handle.writeFile(JSON.stringify({ version: VERSION, ...lastGood }));
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

/** undefined: there is none, or what is there is no such file. */
export async function loadLastGood(path: string): Promise<LastGood | undefined> {
  let text: string;
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      if ((await handle.stat()).size > MAX_BYTES) return undefined;
      text = await handle.readFile("utf8");
    } finally {
      await handle.close();
    }
  } catch {
    // Absent or unreadable comes to the same: the source waits for a good original, which is always safe.
    return undefined;
  }
  return decode(text);
}

function decode(text: string): LastGood | undefined {
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    // Not ours, or damaged; see above.
    return undefined;
  }
  if (typeof read !== "object" || read === null) return undefined;
  const { version, acceptedAt, files } = read as Partial<Record<string, unknown>>;
  if (version !== VERSION || typeof acceptedAt !== "string" || !Array.isArray(files)) return undefined;
  const known = files.filter(
    (one): one is LastGood["files"][number] => typeof one?.file === "string" && typeof one?.text === "string",
  );
  return known.length === files.length ? { acceptedAt, files: known } : undefined;
}
