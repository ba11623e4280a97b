// main thread · all files of the mesh: those in force, and drafts of those that have changed since. A look costs the files it was asked
// about; taking the drafts over costs what is different in them.
import { join } from "node:path";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import { Lean } from "../../mesh/thread-view.ts";
import { Assembly } from "../kinds/assembly.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { ConfigError, type Problem } from "../kinds/value.ts";
import { digestOf, type FileDigest } from "../last-good.ts";
import { type MeshFile, objectsBetween, readingFile } from "./mesh-file.ts";
import { checkTotal, type FileState, type FileText, locate, nothing, readText, stateOf, unreadable } from "./read.ts";
import type { Hints } from "./watch.ts";

/** Reading gives the loop back after this long, so that heartbeats go on, ms. */
const TURN_MS = 20;

export type MeshFilesOptions = {
  readonly path: string;
  readonly settings: NodeSettings;
  /** A file that is not put into place by rename counts when nobody has written to it for so long, ms. */
  readonly quietMs: number;
  readonly wallMs: () => number;
};

export class MeshFiles {
  readonly #options: MeshFilesOptions;
  readonly #assembly: Assembly;
  readonly #reader: { readonly settings: NodeSettings; readonly lean: Lean };
  readonly #inForce = new Map<string, MeshFile>();
  /** What a file says that is not in force yet; null: it is gone. */
  readonly #drafts = new Map<string, MeshFile | null>();
  readonly #missingSinceMs = new Map<string, number>();
  readonly #findings = new Map<string, readonly Problem[]>();
  /** Why the files could not be listed. */
  #unlisted: readonly Problem[] = [];

  constructor(options: MeshFilesOptions) {
    this.#options = options;
    this.#assembly = new Assembly(options.settings);
    this.#reader = { settings: options.settings, lean: new Lean() };
  }

  get objects(): number {
    return this.#assembly.objects;
  }

  get findings(): readonly Problem[] {
    return [...[...this.#findings.values()].flat(), ...this.#assembly.findings];
  }

  /** Whether anything was ever taken over. */
  get known(): boolean {
    return this.#inForce.size > 0;
  }

  /** What is written is what is in force. */
  get settled(): boolean {
    return this.#drafts.size === 0 && this.#unlisted.length === 0;
  }

  digests(): readonly FileDigest[] {
    return [...this.#inForce].map(([file, { digest }]) => ({ file, digest }));
  }

  /** Reads what has changed. The names that are still being written to: they are to be looked at again. */
  async look(hints: Hints, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const again = new Set<string>();
    const turns = new Turns(signal);
    const { folder, names, whole } = locate(this.#options.path);
    let bytes = 0;
    try {
      const listed = hints.all ? this.#withKnown(names(), folder) : hints.names;
      for (const name of listed) {
        const file = join(folder, name);
        const state = this.#stateOf(file);
        bytes += state?.bytes ?? 0;
        checkTotal(folder, bytes);
        const ready =
          state === undefined
            ? this.#missing(file, whole)
            : await this.#read(file, state, hints.whole.has(name), turns);
        if (!ready) again.add(name);
        await turns.mayPass();
      }
      if (hints.all) this.#unlisted = [];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#unlisted = error.problems;
    }
    return again;
  }

  /** Takes every draft over, or none. @throws ConfigError */
  accept(): readonly MeshUpdate[] {
    const drafts = [...this.#drafts].sort(([a], [b]) => (a < b ? -1 : 1));
    const problems = [...this.#unlisted, ...drafts.flatMap(([, draft]) => draft?.problems ?? [])];
    if (problems.length > 0) throw new ConfigError(problems.slice(0, 100));
    if (!this.known && drafts.every(([, draft]) => draft === null || draft.documents.length === 0))
      throw nothing(drafts[0]?.[0] ?? this.#options.path);
    const parts = drafts.map(([file, draft]) => objectsBetween(this.#inForce.get(file), draft ?? undefined));
    const updates = this.#assembly.swap({
      gone: parts.flatMap(({ gone }) => gone),
      come: parts.flatMap(({ come }) => come),
    });
    for (const [file, draft] of drafts) {
      const findings = draft?.documents.flatMap((document) => document.findings) ?? [];
      if (draft === null) this.#inForce.delete(file);
      else this.#inForce.set(file, draft);
      if (findings.length === 0) this.#findings.delete(file);
      else this.#findings.set(file, findings);
    }
    this.#drafts.clear();
    return updates;
  }

  /** Takes these texts over instead of what is at the path, which stays a draft. Before anything else. @throws ConfigError */
  async assume(texts: readonly FileText[], signal: AbortSignal): Promise<readonly MeshUpdate[]> {
    const [drafts, unlisted] = [new Map(this.#drafts), this.#unlisted];
    this.#drafts.clear();
    this.#unlisted = [];
    const turns = new Turns(signal);
    try {
      for (const { file, text } of texts) {
        const read = { file, text, stamp: "", bytes: text.length };
        this.#drafts.set(file, await turns.through(readingFile(read, undefined, this.#reader)));
      }
      return this.accept();
    } finally {
      this.#drafts.clear();
      for (const [file, draft] of drafts) this.#drafts.set(file, draft);
      this.#unlisted = unlisted;
    }
  }

  /** Of a file in force, as long as it says what is in force. */
  textOf({ file, digest }: FileDigest): string | undefined {
    try {
      const { text } = readText(file);
      return digestOf(text) === digest ? text : undefined;
    } catch (error) {
      if (error instanceof ConfigError) return undefined;
      throw error;
    }
  }

  /** Also those that are in force and no longer there. */
  #withKnown(names: readonly string[], folder: string): ReadonlySet<string> {
    const known = [...this.#inForce.keys(), ...this.#drafts.keys()];
    return new Set([...names, ...known.map((file) => file.slice(folder === "/" ? 1 : folder.length + 1))]);
  }

  /** undefined: it is not there. What cannot be read is a draft with that problem. */
  #stateOf(file: string): FileState | undefined {
    try {
      return stateOf(file);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#drafts.set(file, broken("", error.problems));
      return { stamp: "", bytes: 0, changedMs: 0 };
    }
  }

  /** False: perhaps only between two steps of a program that replaces it. */
  #missing(file: string, whole: boolean): boolean {
    if (whole && !this.#inForce.has(file)) {
      this.#drafts.delete(file);
      return true;
    }
    const now = this.#options.wallMs();
    const since = this.#missingSinceMs.get(file) ?? now;
    this.#missingSinceMs.set(file, since);
    if (now - since < this.#options.quietMs) return false;
    this.#drafts.set(file, whole ? null : broken("", unreadable(file, "there is no such file").problems));
    return true;
  }

  /** False: somebody may still be writing. */
  async #read(file: string, state: FileState, inPlace: boolean, turns: Turns): Promise<boolean> {
    this.#missingSinceMs.delete(file);
    const before = this.#inForce.get(file);
    const known = this.#drafts.get(file) ?? before;
    if (known?.stamp === state.stamp) {
      // A draft of its being gone, taken back.
      if (this.#drafts.get(file) === null) this.#drafts.delete(file);
      return true;
    }
    // Half of a file that is written in place may be valid, with the policies of its other half missing.
    const quietMs = this.#options.wallMs() - state.changedMs;
    if (!inPlace && quietMs >= 0 && quietMs < this.#options.quietMs) return false;
    const draft = await this.#draftOf(file, before, turns);
    if (draft === undefined) return false;
    if (before === undefined || draft.digest !== before.digest) this.#drafts.set(file, draft);
    else {
      this.#inForce.set(file, { ...before, stamp: draft.stamp });
      this.#drafts.delete(file);
    }
    return true;
  }

  /** undefined: it changed while it was read. */
  async #draftOf(file: string, before: MeshFile | undefined, turns: Turns): Promise<MeshFile | undefined> {
    try {
      const { text, state } = readText(file);
      const { stamp, bytes } = state;
      if (stamp !== stateOf(file)?.stamp) return undefined;
      const draft = await turns.through(readingFile({ file, text, stamp, bytes }, before, this.#reader));
      const emptied = draft.documents.length === 0 && draft.problems.length === 0 && before !== undefined;
      return emptied ? broken(stamp, nothing(file).problems) : draft;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return broken("", error.problems);
    }
  }
}

function broken(stamp: string, problems: readonly Problem[]): MeshFile {
  return { stamp, bytes: 0, digest: "", documents: [], problems };
}

/** Gives the loop back when this work has had it for long enough. */
class Turns {
  readonly #signal: AbortSignal;
  #since = performance.now();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async through<T>(steps: Generator<void, T>): Promise<T> {
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      await this.mayPass();
    }
  }

  /** Resolves at once, or after everything else that waits; rejects when the signal was aborted meanwhile. */
  async mayPass(): Promise<void> {
    if (performance.now() - this.#since < TURN_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#signal.throwIfAborted();
    this.#since = performance.now();
  }
}
