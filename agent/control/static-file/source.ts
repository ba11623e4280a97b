// main · the YAML file of a plain machine as a source: watched, applied live; a bad one changes nothing and says why until mended.
import { type FSWatcher, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { difference, noObjects, type ObjectState, stateOf } from "../difference.ts";
import type { Place } from "../kinds/place.ts";
import type { Translation } from "../kinds/translate.ts";
import { ConfigError, type Problem } from "../kinds/value.ts";
import { type LastGood, loadLastGood, saveLastGood } from "../last-good.ts";
import type { Emit, Source, SourceStatus } from "../source.ts";
import { readFiles, translateTexts } from "./read.ts";

export type StaticFileOptions = {
  /** A file, or a directory of *.yaml. */
  readonly path: string;
  readonly lastGoodFile: string;
  readonly place: Place;
  /** Writers write in several steps; this much silence ends them, ms. */
  readonly debounceMs?: number;
  /** Also looked at this often: some file systems tell nobody, ms. */
  readonly pollMs?: number;
};
export type StaticFileDependencies = {
  readonly wallMs: () => number;
  /** After each change of `status()`. */
  readonly changed?: (status: SourceStatus) => void;
  /** What went wrong beside the configuration itself, in words: the copy could not be written, the directory not watched. */
  readonly warn?: (message: string) => void;
};

type Pending = { readonly fire: () => void };

export class StaticFileSource implements Source {
  readonly #options: Required<StaticFileOptions>;
  readonly #dependencies: StaticFileDependencies;
  #objects: ObjectState = noObjects;
  #accepted = "";
  #refused = "";
  #status: SourceStatus;

  constructor(options: StaticFileOptions, dependencies: StaticFileDependencies) {
    this.#options = { debounceMs: 50, pollMs: 2_000, ...options };
    this.#dependencies = dependencies;
    this.#status = {
      kind: "static-file",
      from: options.path,
      state: "waiting",
      fromLastGood: false,
      appliedAt: "",
      objects: 0,
      problems: [],
      findings: [],
    };
  }

  status(): SourceStatus {
    return this.#status;
  }

  async run(emit: Emit, signal: AbortSignal): Promise<void> {
    const bell = new Bell(this.#options.debounceMs);
    const watching = new DirectoryWatch(this.#options.path, bell, this.#dependencies.warn ?? (() => undefined));
    const poll = setInterval(() => bell.ring(), this.#options.pollMs);
    signal.addEventListener("abort", () => bell.ring(), { once: true });
    try {
      let decided = false;
      while (!signal.aborted) {
        // Watched before it is read: a change in between rings again.
        watching.renew();
        if (!(await this.#look(emit, signal))) bell.ring();
        else if (!decided) {
          decided = true;
          if (this.#status.state === "rejected") await this.#useLastGood(emit, signal);
        }
        if (!signal.aborted) await bell.rung();
      }
    } finally {
      clearInterval(poll);
      bell.close();
      watching.close();
    }
  }

  /** Reads, and either takes all of it over or none. False: somebody may still be writing, so look again soon. */
  async #look(emit: Emit, signal: AbortSignal): Promise<boolean> {
    let seen = "";
    try {
      const { texts, changedMs } = await readFiles(this.#options.path);
      seen = JSON.stringify(texts);
      if (seen === this.#accepted) {
        // What runs was written back after a mistake.
        if (this.#status.state === "rejected" && !this.#status.fromLastGood)
          this.#report({ state: "synced", problems: [] });
        this.#refused = "";
        return true;
      }
      if (seen === this.#refused) return true;
      // Half of a file that is written in place may be valid, with the policies of its other half missing.
      const quietMs = this.#dependencies.wallMs() - changedMs;
      if (quietMs >= 0 && quietMs < this.#options.debounceMs) return false;
      const translation = await translateTexts(texts, this.#options.place, signal);
      if (signal.aborted) return true;
      const acceptedAt = new Date(this.#dependencies.wallMs()).toISOString();
      this.#accept(translation, emit, { fromLastGood: false, acceptedAt });
      this.#accepted = seen;
      this.#refused = "";
      await this.#keep({ acceptedAt, files: texts });
    } catch (error) {
      if (signal.aborted) return true;
      if (!(error instanceof ConfigError)) throw error;
      this.#refused = seen;
      this.#reject(error.problems);
    }
    return true;
  }

  #accept(
    translation: Translation,
    emit: Emit,
    how: { readonly fromLastGood: boolean; readonly acceptedAt: string },
  ): void {
    const after = stateOf(translation.updates);
    const updates = difference(this.#objects, after);
    // Emitted before it is noted: a receiver that throws is given the same again.
    if (updates.length > 0 || this.#objects === noObjects) emit(updates);
    this.#objects = after;
    this.#report({
      state: how.fromLastGood ? "rejected" : "synced",
      fromLastGood: how.fromLastGood,
      appliedAt: how.acceptedAt,
      objects: after.size,
      findings: translation.findings,
      ...(how.fromLastGood ? {} : { problems: [] }),
    });
  }

  #reject(problems: readonly Problem[]): void {
    // The same mistake looked at again is no news.
    if (this.#status.state === "rejected" && JSON.stringify(problems) === JSON.stringify(this.#status.problems)) return;
    this.#report({ state: "rejected", problems });
  }

  async #useLastGood(emit: Emit, signal: AbortSignal): Promise<void> {
    const saved = await loadLastGood(this.#options.lastGoodFile);
    if (!saved) return;
    try {
      const translation = await translateTexts(saved.files, this.#options.place, signal);
      this.#accept(translation, emit, { fromLastGood: true, acceptedAt: saved.acceptedAt });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ConfigError)) throw error;
      // Accepted by an earlier version and no longer: nothing is assumed, the original's problems stay on show.
      this.#dependencies.warn?.(`the last good configuration is of no use any more: ${error.message}`);
    }
  }

  async #keep(lastGood: LastGood): Promise<void> {
    try {
      await saveLastGood(this.#options.lastGoodFile, lastGood);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#dependencies.warn?.(`the accepted configuration could not be kept for the next start: ${why}`);
    }
  }

  #report(change: Partial<SourceStatus>): void {
    this.#status = { ...this.#status, ...change };
    this.#dependencies.changed?.(this.#status);
  }
}

/** Rings once after the last of several pulls, and remembers a ring nobody waited for. */
class Bell {
  readonly #quietMs: number;
  #timer: NodeJS.Timeout | undefined;
  #rang = false;
  #waiting: Pending | undefined;

  constructor(quietMs: number) {
    this.#quietMs = quietMs;
  }

  ring(): void {
    // Not pushed back by further pulls: a file written without pause is still looked at.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#rang = true;
      this.#waiting?.fire();
    }, this.#quietMs);
  }

  async rung(): Promise<void> {
    if (!this.#rang) await new Promise<void>((resolve) => (this.#waiting = { fire: resolve }));
    this.#waiting = undefined;
    this.#rang = false;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

/**
 * Watches the directory, not the file: editors and ConfigMaps replace files by rename, and a watch on the old inode
 * would hear nothing more. Whatever it misses, the polling finds.
 */
class DirectoryWatch {
  readonly #path: string;
  readonly #bell: Bell;
  readonly #warn: (message: string) => void;
  #watcher: FSWatcher | undefined;
  #warned = false;

  constructor(path: string, bell: Bell, warn: (message: string) => void) {
    this.#path = path;
    this.#bell = bell;
    this.#warn = warn;
  }

  /** Begins to watch, unless it does. */
  renew(): void {
    if (this.#watcher) return;
    try {
      const whole = statSync(this.#path, { throwIfNoEntry: false })?.isDirectory() === true;
      const file = basename(this.#path);
      const folder = whole ? this.#path : dirname(this.#path);
      this.#watcher = watch(folder, { persistent: false }, (_, name) => {
        // A ConfigMap swaps the link `..data` beside the file; the file's own name is never heard.
        if (whole || name === null || name === file || name.startsWith("..")) this.#bell.ring();
      });
      this.#watcher.on("error", (error) => this.#lost(error));
    } catch (error) {
      this.#lost(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #lost(error: Error): void {
    this.close();
    if (this.#warned) return;
    this.#warned = true;
    this.#warn(`cannot watch ${this.#path}, looking at it from time to time instead: ${error.message}`);
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
