// main thread · keeps the copy on disk equal to what is in force. It is there before a change takes effect, so that a process which
// begins with the copy protects no less than its predecessor did.
import { statSync } from "node:fs";
import { type FileHandle, rm } from "node:fs/promises";
import { Backoff } from "../../attempts/backoff.ts";
import {
  type ChangedText,
  changeLine,
  type LastGoodIndex,
  openLastGood,
  saveLastGood,
  syncLastGood,
  textsOfLastGood,
} from "../last-good.ts";
import type { MeshFiles } from "./mesh-files.ts";

/** A change waits at most this long for the disk, ms. */
export const WAIT_MS = 1_000;
/** A copy that could not be written is tried again: a full disk has room later. */
const RETRY = { baseMs: 500, capMs: 10_000 };
/** Lines behind the index may have so many bytes, and four times those of the index; then all is written anew, the index alone. */
const MAX_LINES_BYTES = 1024 * 1024;
const MAX_LINES_TIMES = 4;
/** Changes that follow each other reach the disk together, this long after the first of them, ms. */
const SYNC_MS = 500;

/** The index that this process has written, open for lines behind it. */
type OpenIndex = {
  readonly handle: FileHandle;
  readonly inode: bigint;
  readonly indexBytes: number;
  /** Of the index and all lines. */
  bytes: number;
};

export class Copy {
  readonly #path: string;
  readonly #files: MeshFiles;
  readonly #warn: (message: string) => void;
  /** Names of the texts on disk. */
  #has: Set<string> | undefined;
  /** Written, and perhaps not on the disk yet. */
  #unsynced: string[] = [];
  #latest: LastGoodIndex | undefined;
  #open: OpenIndex | undefined;
  #syncSoon: NodeJS.Timeout | undefined;
  /** All of the mesh is being written for the first time. */
  #isFirst = false;
  #saving: Promise<void> = Promise.resolve();
  readonly #backoff = new Backoff(RETRY);
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  #yielded = false;

  constructor(path: string, files: MeshFiles, warn: (message: string) => void) {
    this.#path = path;
    this.#files = files;
    this.#warn = warn;
  }

  /** Writes the first copy of this process. Its mesh is in force already, and no copy is there but, with `isThere`, of the same mesh. */
  begin(acceptedAt: string, { isThere } = { isThere: false }): void {
    this.#isFirst = !isThere;
    this.#enqueue(() => this.#save(acceptedAt)).then(() => {
      this.#isFirst = false;
    });
  }

  /** Resolves when a process that starts would find the accepted mesh or no copy at all; after a second at the latest. */
  async keep(acceptedAt: string): Promise<void> {
    const done = this.#enqueue(() => this.#save(acceptedAt));
    // Until the first copy is written there is no copy, so a process that starts finds nothing older.
    if (this.#isFirst) return;
    await withinWait(done);
  }

  /** Removes the copy, so that a process that starts does not use it. */
  async remove(): Promise<void> {
    try {
      await rm(this.#path, { force: true });
    } catch (error) {
      this.#warn(`an older configuration is kept for the next start: ${messageOf(error)}`);
    }
  }

  /** Another process is to keep the copy. Resolves when nothing of this process is being written any more; after a second at the latest. */
  async yield(): Promise<void> {
    clearTimeout(this.#retry);
    await withinWait(this.#drained());
    this.#yielded = true;
  }

  /** This process is to keep the copy: it writes the next anew, and reads before which texts are there. */
  take(): void {
    this.#yielded = false;
    this.#has = undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#drained();
    await this.#closeIndex();
  }

  async #drained(): Promise<void> {
    if (this.#syncSoon !== undefined) this.#enqueue(() => this.#syncLines());
    for (let seen: Promise<void> | undefined; seen !== this.#saving; ) {
      seen = this.#saving;
      await seen;
    }
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#saving = this.#saving.then(work);
    return this.#saving;
  }

  async #save(acceptedAt: string): Promise<void> {
    clearTimeout(this.#retry);
    try {
      const changed = this.#files.takeChanged();
      if (!(await this.#append(acceptedAt, changed))) await this.#writeAnew(acceptedAt);
      this.#backoff.reset();
    } catch (error) {
      this.#has = undefined;
      // By now it is the copy of the agent that holds the node.
      if (this.#yielded) return;
      if (this.#backoff.failures === 0)
        this.#warn(`the accepted configuration could not be kept for the next start: ${messageOf(error)}`);
      // The older copy may lack a policy that protects a pod by now. Without a copy, a start with a bad file releases no pod.
      await this.remove();
      if (!this.#closed)
        this.#retry = setTimeout(
          () => void this.#enqueue(() => this.#save(acceptedAt)),
          this.#backoff.nextMs(),
        ).unref();
    }
  }

  /**
   * A line behind the index that this process has written. False: there is none, it has enough lines, or another process has replaced it
   * or written to it.
   */
  async #append(acceptedAt: string, files: ReadonlySet<string>): Promise<boolean> {
    const open = this.#open;
    if (open === undefined || this.#has === undefined || this.#yielded) return false;
    const change = this.#files.changeOf(files);
    if (change === undefined) return false;
    const { changed, gone } = change;
    const room = Math.max(MAX_LINES_BYTES, MAX_LINES_TIMES * open.indexBytes) - (open.bytes - open.indexBytes);
    if (this.#files.unkeptLength > MAX_LINES_BYTES || changed.reduce((sum, one) => sum + lengthOf(one), 0) > room)
      return false;
    const line = changeLine({ acceptedAt, changed, gone });
    if (line.length > room || !isHere(this.#path, open)) return false;
    for (let written = 0; written < line.length; )
      written += (await open.handle.write(line, written, line.length - written)).bytesWritten;
    open.bytes += line.length;
    // Nobody waits for the disk itself.
    this.#syncSoon ??= setTimeout(() => void this.#enqueue(() => this.#syncLines()), SYNC_MS).unref();
    return true;
  }

  /** The index of all files, without lines. */
  async #writeAnew(acceptedAt: string): Promise<void> {
    await this.#closeIndex();
    // What was accepted until now is in the index, and an edit of what was there before would be of no use behind it.
    this.#files.takeChanged();
    const index = { acceptedAt, files: this.#files.digests() };
    this.#latest = index;
    this.#has ??= await textsOfLastGood(this.#path);
    const textOf = this.#files.textOf.bind(this.#files);
    const isOurs = (): boolean => !this.#yielded;
    this.#unsynced.push(...(await saveLastGood(this.#path, index, { has: this.#has, textOf, isOurs })));
    this.#files.kept(index.files);
    this.#open = await openIndex(this.#path);
    // Nobody waits for this but the next change.
    this.#saving.then(() => this.#enqueue(() => this.#sync(index)));
  }

  async #closeIndex(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.handle.close();
  }

  async #syncLines(): Promise<void> {
    clearTimeout(this.#syncSoon);
    this.#syncSoon = undefined;
    try {
      await this.#open?.handle.datasync();
    } catch (error) {
      this.#has = undefined;
      this.#warnUnsynced(error);
    }
  }

  async #sync(index: LastGoodIndex): Promise<void> {
    // It removes what the index does not name: that may be what another process has written since.
    if (index !== this.#latest || this.#yielded) return;
    const written = this.#unsynced;
    this.#unsynced = [];
    try {
      this.#has = await syncLastGood(this.#path, index, written);
    } catch (error) {
      this.#has = undefined;
      this.#warnUnsynced(error);
    }
  }

  #warnUnsynced(error: unknown): void {
    this.#warn(`the accepted configuration is perhaps not on the disk yet: ${messageOf(error)}`);
  }
}

function lengthOf(changed: ChangedText): number {
  return ("edit" in changed ? changed.edit.put : changed.text).length;
}

/** undefined: it cannot be opened, and so the next change writes all of it again. */
async function openIndex(path: string): Promise<OpenIndex | undefined> {
  const handle = await openLastGood(path).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const { ino, size } = await handle.stat({ bigint: true });
    return {
      handle,
      inode: ino,
      indexBytes: Number(size),
      bytes: Number(size),
    };
  } catch {
    await handle.close();
    return undefined;
  }
}

/** Asked of a file system that has just answered. */
function isHere(path: string, { inode, bytes }: OpenIndex): boolean {
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    return found?.ino === inode && Number(found.size) === bytes;
  } catch {
    return false;
  }
}

/** Resolves with `done`, after a second at the latest: a disk may not answer. */
export async function withinWait(done: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, WAIT_MS);
  });
  await Promise.race([done, waited]);
  clearTimeout(timer);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
