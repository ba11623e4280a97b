// main thread · YAML files of a plain machine as a source: watched, applied live. What is read again is what has changed; a bad file
// changes nothing, holds back what changed with it, and says why until mended.
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { ConfigError, type Problem } from "../kinds/value.ts";
import { loadLastGood, saveLastGood } from "../last-good.ts";
import type { ConfigurationSource, Emit, SourceStatus } from "../source.ts";
import { MeshFiles } from "./mesh-files.ts";
import { FolderWatch } from "./watch.ts";

export type StaticFileOptions = {
  /** A file, or a directory of *.yaml. */
  readonly path: string;
  readonly lastGoodFile: string;
  readonly settings: NodeSettings;
  /** Writers write in several steps; this much silence ends them, ms. */
  readonly debounceMs?: number;
  /** Also looked at this often, or more seldom where that takes long: some file systems tell nobody, ms. */
  readonly pollMs?: number;
};
export type StaticFileDependencies = {
  readonly wallMs: () => number;
  /** After each change of `status()`. */
  readonly changed?: (status: SourceStatus) => void;
  /** What went wrong beside the configuration itself, in words: the copy could not be written, the directory not watched. */
  readonly warn?: (message: string) => void;
};

/** Looking at everything from time to time takes at most this share of the time. */
const POLL_SHARE = 0.01;
/** The copy for the next start is written again at most this often, ms; its index names every file, so of many more seldom. */
const KEEP_EVERY_MS = 5_000;
const KEEP_MS_PER_FILE = 5;

export class StaticFileSource implements ConfigurationSource {
  readonly #options: Required<StaticFileOptions>;
  readonly #dependencies: StaticFileDependencies;
  readonly #files: MeshFiles;
  readonly #copy: Copy;
  #status: Omit<SourceStatus, "findings" | "objects">;

  constructor(options: StaticFileOptions, dependencies: StaticFileDependencies) {
    this.#options = { debounceMs: 50, pollMs: 2_000, ...options };
    this.#dependencies = dependencies;
    const { path, settings, debounceMs: quietMs, lastGoodFile } = this.#options;
    this.#files = new MeshFiles({ path, settings, quietMs, wallMs: dependencies.wallMs });
    this.#copy = new Copy(lastGoodFile, this.#files, (message) => dependencies.warn?.(message));
    this.#status = {
      kind: "static-file",
      acceptance: "all",
      from: options.path,
      state: "waiting",
      fromLastGood: false,
      appliedAt: "",
      problems: [],
    };
  }

  status(): SourceStatus {
    return { ...this.#status, objects: this.#files.objects, findings: this.#files.findings };
  }

  async run(emit: Emit, signal: AbortSignal): Promise<void> {
    const { path, debounceMs } = this.#options;
    const watching = new FolderWatch(path, debounceMs, (message) => this.#dependencies.warn?.(message));
    signal.addEventListener("abort", () => watching.ring(0), { once: true });
    let poll: NodeJS.Timeout | undefined;
    let decided = false;
    try {
      while (!signal.aborted) {
        // Watched before it is read: a change in between is heard.
        watching.renew();
        const hints = watching.take();
        const beganMs = performance.now();
        const again = await this.#files.look(hints, signal);
        if (hints.all) {
          clearTimeout(poll);
          const tookMs = performance.now() - beganMs;
          poll = setTimeout(() => watching.lookAtAll(), Math.max(this.#options.pollMs, tookMs / POLL_SHARE));
        }
        if (again.size > 0) watching.lookAgain(again, debounceMs);
        else {
          this.#judge(emit);
          if (!decided && this.#status.state === "rejected") await this.#useLastGood(emit, signal, watching);
          decided = true;
        }
        if (!signal.aborted) await watching.rung();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearTimeout(poll);
      watching.close();
      await this.#copy.close();
    }
  }

  /** Takes over all of what has changed, or nothing. */
  #judge(emit: Emit): void {
    const { state, fromLastGood } = this.#status;
    if (this.#files.settled && this.#files.known) {
      // What runs was written back after a mistake.
      if (state === "rejected") this.#applied(fromLastGood ? this.#now() : this.#status.appliedAt);
      return;
    }
    const first = !this.#files.known;
    try {
      const updates = this.#files.accept();
      if (updates.length > 0 || first) emit(updates);
      this.#applied(this.#now());
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#reject(error.problems);
    }
  }

  #now(): string {
    return new Date(this.#dependencies.wallMs()).toISOString();
  }

  #applied(appliedAt: string): void {
    this.#report({ state: "synced", fromLastGood: false, appliedAt, problems: [] });
    this.#copy.keep(appliedAt);
  }

  #reject(problems: readonly Problem[]): void {
    // The same mistake looked at again is no news.
    if (this.#status.state === "rejected" && JSON.stringify(problems) === JSON.stringify(this.#status.problems)) return;
    this.#report({ state: "rejected", problems });
  }

  async #useLastGood(emit: Emit, signal: AbortSignal, watching: FolderWatch): Promise<void> {
    const saved = await loadLastGood(this.#options.lastGoodFile);
    if (!saved) return;
    try {
      const updates: readonly MeshUpdate[] = await this.#files.assume(saved.files, signal);
      emit(updates);
      this.#report({ state: "rejected", fromLastGood: true, appliedAt: saved.acceptedAt });
      // Against what runs now: files of the copy may be gone.
      watching.lookAtAll();
    } catch (error) {
      if (signal.aborted || !(error instanceof ConfigError)) throw error;
      // Accepted by an earlier version and no longer: nothing is assumed, the original's problems stay on show.
      this.#dependencies.warn?.(`the last good configuration is of no use any more: ${error.message}`);
    }
  }

  #report(change: Partial<SourceStatus>): void {
    this.#status = { ...this.#status, ...change };
    this.#dependencies.changed?.(this.status());
  }
}

/** Keeps the copy on disk equal to what is in force: at once after a while of quiet, and not too often. */
class Copy {
  readonly #path: string;
  readonly #files: MeshFiles;
  readonly #warn: (message: string) => void;
  #due: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(path: string, files: MeshFiles, warn: (message: string) => void) {
    this.#path = path;
    this.#files = files;
    this.#warn = warn;
  }

  keep(acceptedAt: string): void {
    const waiting = this.#timer !== undefined;
    this.#due = acceptedAt;
    if (!waiting) this.#save();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#saving;
    this.#save();
    clearTimeout(this.#timer);
    await this.#saving;
  }

  #save(): void {
    this.#timer = undefined;
    const acceptedAt = this.#due;
    if (acceptedAt === null) return;
    this.#due = null;
    const index = { acceptedAt, files: this.#files.digests() };
    this.#timer = setTimeout(() => this.#save(), Math.max(KEEP_EVERY_MS, KEEP_MS_PER_FILE * index.files.length));
    this.#timer.unref();
    this.#saving = this.#saving
      .then(() => saveLastGood(this.#path, index, (entry) => this.#files.textOf(entry)))
      .catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        this.#warn(`the accepted configuration could not be kept for the next start: ${why}`);
      });
  }
}
