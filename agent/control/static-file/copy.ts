// main thread · keeps the copy on disk equal to what is in force. It is there before a change takes effect, so that a process which
// begins with the copy protects no less than its predecessor did.
import { rm } from "node:fs/promises";
import { Backoff } from "../../backoff.ts";
import { type LastGoodIndex, saveLastGood, syncLastGood, textsOfLastGood } from "../last-good.ts";
import type { MeshFiles } from "./mesh-files.ts";

/** A change waits at most this long for the disk, ms. */
export const WAIT_MS = 1_000;
/** A copy that could not be written is tried again: a full disk has room later. */
const RETRY = { baseMs: 500, capMs: 10_000 };

export class Copy {
  readonly #path: string;
  readonly #files: MeshFiles;
  readonly #warn: (message: string) => void;
  /** Names of the texts on disk. */
  #has: Set<string> | undefined;
  /** Written, and perhaps not on the disk yet. */
  #unsynced: string[] = [];
  #latest: LastGoodIndex | undefined;
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

  /** This process is to keep the copy: which texts are there it reads again before it writes the next. */
  take(): void {
    this.#yielded = false;
    this.#has = undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#drained();
  }

  async #drained(): Promise<void> {
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
    const index = { acceptedAt, files: this.#files.digests() };
    this.#latest = index;
    try {
      this.#has ??= await textsOfLastGood(this.#path);
      const textOf = this.#files.textOf.bind(this.#files);
      const isOurs = (): boolean => !this.#yielded;
      this.#unsynced.push(...(await saveLastGood(this.#path, index, { has: this.#has, textOf, isOurs })));
      this.#files.kept(index.files);
      this.#backoff.reset();
      // Nobody waits for this but the next change.
      this.#saving.then(() => this.#enqueue(() => this.#sync(index)));
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

  async #sync(index: LastGoodIndex): Promise<void> {
    // It removes what the index does not name: that may be what another process has written since.
    if (index !== this.#latest || this.#yielded) return;
    const written = this.#unsynced;
    this.#unsynced = [];
    try {
      this.#has = await syncLastGood(this.#path, index, written);
    } catch (error) {
      this.#has = undefined;
      this.#warn(`the accepted configuration is perhaps not on the disk yet: ${messageOf(error)}`);
    }
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
