// main thread · keeps the copy on disk equal to what is in force: soon after each change, and not too often.
import { rm } from "node:fs/promises";
import { saveLastGood } from "../last-good.ts";
import type { MeshFiles } from "./mesh-files.ts";

/** Saving takes at most this share of the time: the index names every file, and of many files it is long. */
const SAVE_SHARE = 0.1;

export class Copy {
  readonly #path: string;
  readonly #files: MeshFiles;
  readonly #warn: (message: string) => void;
  #due: string | null = null;
  /** It is being saved, or was a moment ago. */
  #busy = false;
  #timer: NodeJS.Timeout | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(path: string, files: MeshFiles, warn: (message: string) => void) {
    this.#path = path;
    this.#files = files;
    this.#warn = warn;
  }

  keep(acceptedAt: string): void {
    this.#due = acceptedAt;
    if (!this.#busy) this.#save();
  }

  async close(): Promise<void> {
    await this.#saving;
    clearTimeout(this.#timer);
    this.#save();
    await this.#saving;
    clearTimeout(this.#timer);
  }

  #save(): void {
    const acceptedAt = this.#due;
    if (acceptedAt === null) return;
    this.#due = null;
    this.#busy = true;
    const index = { acceptedAt, files: this.#files.digests() };
    const beganMs = performance.now();
    this.#saving = this.#saving
      .then(() => saveLastGood(this.#path, index, (entry) => this.#files.textOf(entry)))
      .then(() => this.#files.kept(index.files))
      .catch((error: unknown) => this.#failed(error))
      .then(() => {
        this.#timer = setTimeout(() => this.#next(), (performance.now() - beganMs) / SAVE_SHARE);
        this.#timer.unref();
      });
  }

  #next(): void {
    this.#busy = false;
    this.#save();
  }

  /** What was kept before may lack what protects a pod by now: without any copy a start with a bad file lets nobody out. */
  async #failed(error: unknown): Promise<void> {
    const why = error instanceof Error ? error.message : String(error);
    this.#warn(`the accepted configuration could not be kept for the next start: ${why}`);
    try {
      await rm(this.#path, { force: true });
    } catch (failure) {
      const also = failure instanceof Error ? failure.message : String(failure);
      this.#warn(`an older configuration is kept for the next start: ${also}`);
    }
  }
}
