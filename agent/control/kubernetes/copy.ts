// main thread · keeps on disk what is applied of a cluster: a change is appended before it takes effect, so that a process which begins
// with the copy protects no less than its predecessor did. A file that has grown to twice its objects is written anew beside itself.
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { endLine, headerLine, type KeptFile, type PackedChange, type Span } from "./copy-file.ts";

/** A change waits at most this long for the disk, ms. */
const WAIT_MS = 1_000;
/** Bytes that are written or read in one go. */
const CHUNK = 256 * 1024;
/** A file may hold so many bytes of objects that are gone or changed, and as many as it has of others. */
const SLACK = 1024 * 1024;

type CopyFile = {
  readonly handle: FileHandle;
  readonly inode: number;
  readonly spans: Map<string, Span>;
  /** Size when it was written anew. */
  readonly began: number;
  size: number;
  crc: number;
};

export class ClusterCopy {
  readonly #path: string;
  readonly #warn: (message: string) => void;
  #cluster = "";
  #file: CopyFile | undefined;
  /** Changes that are in no file: the last write has failed, or is under way. */
  #unsaved: Map<string, PackedChange> = new Map();
  #appendable = false;
  #failed = false;
  #stopped = false;
  #queue: Promise<void> = Promise.resolve();

  constructor(path: string, warn: (message: string) => void) {
    this.#path = path;
    this.#warn = warn;
  }

  /**
   * Before the first changes: what a process before this one has kept is what they change. Its file is read once more when the next is
   * written, and closed then.
   */
  adopt({ handle, inode, spans }: KeptFile): void {
    this.#file = { handle, inode, spans, began: 0, size: 0, crc: 0 };
  }

  /**
   * Appends the changes, which belong together. The first changes are all that there is of the cluster, or what differs from the file that
   * was adopted. Resolves when a process that
   * starts would find them, or no copy at all; after a second at the latest.
   * @param cluster the UID of its namespace kube-system
   * @param appliedAt RFC 3339
   */
  async keep(cluster: string, changes: readonly PackedChange[], appliedAt: string): Promise<void> {
    if (this.#stopped) return;
    this.#cluster = cluster;
    // The caller goes on after a second and empties its list; a write before this may last longer.
    const own = [...changes];
    const done = this.#queue.then(() => this.#save(own, appliedAt));
    this.#queue = done;
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, WAIT_MS);
    });
    await Promise.race([done, waited]);
    clearTimeout(timer);
  }

  /** Another agent keeps the copy from now on. */
  stop(): void {
    this.#stopped = true;
  }

  async close(): Promise<void> {
    this.stop();
    await this.#queue;
    await this.#file?.handle.close();
    this.#file = undefined;
  }

  async #save(changes: readonly PackedChange[], appliedAt: string): Promise<void> {
    for (const change of changes) this.#unsaved.set(change.key, change);
    const file = this.#file;
    try {
      if (file !== undefined && this.#appendable && (await this.#isHere(file)) && !isWasteful(file))
        await this.#append(file, appliedAt);
      else await this.#writeAnew(appliedAt);
      // Behind what `clear` empties, V8 keeps it until all of the heap is marked.
      this.#unsaved = new Map();
      this.#appendable = true;
      this.#failed = false;
    } catch (error) {
      this.#appendable = false;
      if (!this.#failed)
        this.#warn(`what is applied of the cluster cannot be kept for the next start: ${String(error)}`);
      this.#failed = true;
      // It lacks what is applied now, perhaps what protects a pod. Its content is still to be had by the open file.
      await rm(this.#path, { force: true }).catch((left: unknown) =>
        this.#warn(`an older state of the cluster is kept for the next start: ${String(left)}`),
      );
    }
  }

  /** Another agent of the node may have put its own file there meanwhile. */
  async #isHere({ inode }: CopyFile): Promise<boolean> {
    const found = await stat(this.#path).catch(() => undefined);
    return found?.ino === inode;
  }

  async #append(file: CopyFile, appliedAt: string): Promise<void> {
    const writing = new Writing(file);
    for (const change of this.#unsaved.values()) await writing.change(change);
    await writing.end(appliedAt);
    // Nobody waits for the disk itself: what a crash of the machine takes, the server has.
    file.handle.datasync().catch(() => undefined);
  }

  async #writeAnew(appliedAt: string): Promise<void> {
    const draft = join(dirname(this.#path), `.cluster-copy.${process.pid}.tmp`);
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    // The draft of a process that died while writing is written over; a link in its place is not followed.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const handle = await open(draft, flags, 0o600);
    try {
      const inode = (await handle.stat()).ino;
      const fresh = { handle, inode, spans: new Map<string, Span>(), size: 0, crc: 0 };
      const writing = new Writing(fresh);
      await writing.text(headerLine(this.#cluster));
      if (this.#file !== undefined) await writing.rest(this.#file, this.#unsaved);
      for (const change of this.#unsaved.values()) if (change.isPresent) await writing.change(change);
      await writing.end(appliedAt);
      await handle.datasync();
      await rename(draft, this.#path);
      await this.#file?.handle.close().catch(() => undefined);
      this.#file = { ...fresh, began: fresh.size };
    } catch (error) {
      await handle.close().catch(() => undefined);
      await rm(draft, { force: true });
      throw error;
    }
  }
}

function isWasteful({ size, began }: CopyFile): boolean {
  return size > 2 * began + SLACK;
}

const LINE_END = 0x0a;

/** Lines on their way into a file, some at once. */
class Writing {
  readonly #file: Omit<CopyFile, "began">;
  /** Filled in place: texts that are joined first would be in memory once more, all of them until the next collection. */
  readonly #bytes = Buffer.allocUnsafe(CHUNK);
  #length = 0;
  /** Where the next line will be. */
  #at: number;
  #crc: number;
  readonly #spans = new Map<string, Span | null>();

  constructor(file: Omit<CopyFile, "began">) {
    this.#file = file;
    this.#at = file.size;
    this.#crc = file.crc;
  }

  async change({ key, isPresent, line }: PackedChange): Promise<void> {
    const length = Buffer.byteLength(line) + 1;
    if (this.#length + length > CHUNK) await this.#flush();
    this.#spans.set(key, isPresent ? { offset: this.#at + this.#length, length } : null);
    if (length > CHUNK) {
      await this.#write(Buffer.from(`${line}\n`));
      return;
    }
    this.#bytes.write(line, this.#length);
    this.#bytes[this.#length + length - 1] = LINE_END;
    this.#length += length;
  }

  async text(text: string): Promise<void> {
    await this.#flush();
    await this.#write(Buffer.from(text));
  }

  /** The objects of another file that are not among these, in the order of that file. */
  async rest(other: CopyFile, besides: ReadonlyMap<string, PackedChange>): Promise<void> {
    const left = [...other.spans].filter(([key]) => !besides.has(key)).sort(([, a], [, b]) => a.offset - b.offset);
    for (let first = 0; first < left.length; ) {
      const [, { offset = 0 } = {}] = left[first] ?? [];
      let next = first;
      let length = 0;
      for (
        let entry = left[next];
        entry !== undefined && entry[1].offset === offset + length && length < CHUNK;
        entry = left[next]
      ) {
        this.#spans.set(entry[0], { offset: this.#at + length, length: entry[1].length });
        length += entry[1].length;
        next += 1;
      }
      const bytes = Buffer.alloc(length);
      for (let read = 0; read < length; ) {
        const { bytesRead } = await other.handle.read(bytes, read, length - read, offset + read);
        if (bytesRead === 0) throw new Error("the copy is shorter than what was written to it");
        read += bytesRead;
      }
      await this.#write(bytes);
      first = next;
    }
  }

  /** Ends the batch: from here on it is in the file. */
  async end(appliedAt: string): Promise<void> {
    await this.#flush();
    await this.text(endLine(this.#crc, appliedAt));
    const { spans } = this.#file;
    for (const [key, span] of this.#spans) {
      if (span === null) spans.delete(key);
      else spans.set(key, span);
    }
    this.#file.size = this.#at;
    this.#file.crc = this.#crc;
  }

  async #flush(): Promise<void> {
    const bytes = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    await this.#write(bytes);
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#file.handle.write(
        bytes,
        written,
        bytes.length - written,
        this.#at + written,
      );
      written += bytesWritten;
    }
    this.#at += bytes.length;
    this.#crc = crc32(bytes, this.#crc);
  }
}
