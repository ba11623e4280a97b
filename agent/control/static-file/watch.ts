// main thread · tells that files of a folder have changed, and which: at once where one was put into place whole, else after a
// while of quiet. Whatever it misses, looking at everything from time to time finds.
import { type FSWatcher, lstatSync, watch } from "node:fs";
import { join } from "node:path";
import { isMeshFile, type Location, locate } from "./read.ts";

/** Time between the rename of a file into place and reading it, ms. A writer that goes on writing is noticed in that time. */
const SETTLE_MS = 1;

/** What may have changed since the last look. */
export type Hints = {
  /** Everything, since it is not known what changed. */
  readonly all: boolean;
  readonly names: ReadonlySet<string>;
  /** The names among them that were put into place by rename: nobody is writing to them. */
  readonly whole: ReadonlySet<string>;
  /** The names among them that appeared and were not written to since: files moved here from another directory, or new files that are still empty. */
  readonly arrived: ReadonlySet<string>;
  /** The link `..data` of a mounted ConfigMap was swapped: the files behind the links had been written before. */
  readonly swapped: boolean;
};

export class FolderWatch {
  readonly #path: string;
  readonly #quietMs: number;
  readonly #warn: (message: string) => void;
  #location: Location;
  #watcher: FSWatcher | undefined;
  #warned = false;
  #all = true;
  #names = new Set<string>();
  #whole = new Set<string>();
  #arrived = new Set<string>();
  #swapped = false;
  /** The name in the event just before, if that was a rename in the same turn of the loop. A rename is two events: the old name, then the new. */
  #before: string | null = null;
  #forget: NodeJS.Immediate | undefined;
  readonly #forgetting = (): void => {
    this.#forget = undefined;
    this.#before = null;
  };
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #rang = false;
  #wake: () => void = () => undefined;

  constructor(path: string, quietMs: number, warn: (message: string) => void) {
    this.#path = path;
    this.#location = locate(path);
    this.#quietMs = quietMs;
    this.#warn = warn;
  }

  /** Begins to watch, unless it does. The folder, not the file: editors and ConfigMaps replace files by rename. */
  renew(): void {
    if (this.#watcher) return;
    this.#location = locate(this.#path);
    try {
      this.#watcher = watch(this.#location.folder, { persistent: false }, (event, name) => this.#heard(event, name));
      this.#watcher.on("error", (error) => this.#lost(error));
      this.#all = true;
    } catch (error) {
      this.#lost(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** What was heard of since the last call. */
  take(): Hints {
    const [whole, arrived] = [this.#whole, this.#arrived];
    const hints = { all: this.#all, names: this.#names, whole, arrived, swapped: this.#swapped };
    this.#all = false;
    this.#names = new Set();
    this.#whole = new Set();
    this.#arrived = new Set();
    this.#swapped = false;
    return hints;
  }

  /** Those of these names that changed since the last `take` in another way than by a rename into place. */
  writtenOf(names: ReadonlySet<string>): ReadonlySet<string> {
    return names.intersection(this.#names).difference(this.#whole);
  }

  /** Ends the wait of `rung` after this time, ms, or earlier if an earlier call says so: a file that is written without pause is still read. */
  ring(afterMs: number): void {
    const dueMs = performance.now() + afterMs;
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.#rang = true;
      this.#wake();
    }, afterMs);
  }

  /** Looks at these files again, because they were not ready to be read. */
  lookAgain(names: Iterable<string>, afterMs: number): void {
    for (const name of names) this.#names.add(name);
    this.ring(afterMs);
  }

  lookAtAll(): void {
    this.#all = true;
    this.ring(0);
  }

  async rung(): Promise<void> {
    if (!this.#rang) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#rang = false;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #heard(event: string, name: string | null): void {
    const before = this.#before;
    this.#before = event === "rename" ? name : null;
    if (this.#before !== null) this.#forget ??= setImmediate(this.#forgetting);
    const moved = event === "rename" && before !== null && before !== name && this.#isGone(before);
    // A ConfigMap swaps the link `..data` beside the files; their own names are never heard.
    if (name === null || name.startsWith("..")) {
      this.#all = true;
      if (moved && name !== null) this.#swapped = true;
      this.ring(this.#quietMs);
      return;
    }
    if (!this.#location.whole && name !== this.#location.names()[0]) return;
    if (this.#location.whole && !isMeshFile(name)) return;
    this.#names.add(name);
    if (event === "rename") this.#arrived.add(name);
    else this.#arrived.delete(name);
    if (moved) {
      // A name went and this name came at the same moment: the file was renamed, and writers rename files that are finished.
      this.#whole.add(name);
      this.ring(SETTLE_MS);
    } else {
      this.#whole.delete(name);
      this.ring(this.#quietMs);
    }
  }

  #isGone(name: string): boolean {
    try {
      return lstatSync(join(this.#location.folder, name), { throwIfNoEntry: false }) === undefined;
    } catch {
      return false; // Not known: the change counts as an ordinary write.
    }
  }

  #lost(error: Error): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    if (this.#warned) return;
    this.#warned = true;
    this.#warn(`cannot watch ${this.#location.folder}, looking at it from time to time instead: ${error.message}`);
  }
}
