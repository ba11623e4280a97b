// main thread · all files of the mesh: those in force, and drafts of those that have changed since. A look costs the files it was asked
// about; taking the drafts over costs what is different in them. Drafts that may take protection away wait until their files are still.
import { basename, dirname, join } from "node:path";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import { Lean } from "../../mesh/thread-view.ts";
import { Assembly, type Swap } from "../kinds/assembly.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { ConfigError, type Problem } from "../kinds/value.ts";
import { digestOf, type FileDigest, type LastGoodChange } from "../last-good.ts";
import { weakenings } from "../weakens.ts";
import { type Draft, type HeldDrafts, heldOf, movingOf, type NamedDraft, wasPutWhole } from "./draft.ts";
import { type MeshFile, noDocuments, objectsBetween, readingFile } from "./mesh-file.ts";
import {
  checkTotal,
  type FileState,
  type FileText,
  isMeshFile,
  type Location,
  locate,
  nothing,
  readText,
  stateOf,
  unreadable,
} from "./read.ts";
import { Turns } from "./turns.ts";
import { editOf, UnkeptTexts } from "./unkept-texts.ts";
import type { Hints } from "./watch.ts";

export type MeshFilesOptions = {
  readonly path: string;
  readonly settings: NodeSettings;
  /** A file that is not put into place by rename counts when nobody has written to it for so long, ms. */
  readonly quietMs: number;
  /** What may take protection away counts when its file has been still for so long, or was put into place by rename, ms. */
  readonly stillMs: number;
  readonly wallMs: () => number;
  /** Frees memory. Called while the first mesh is read, as long as none is in force. */
  readonly collectGarbage?: (() => void) | undefined;
};

/**
 * Objects of the first mesh between which memory is freed. What reading leaves behind lies between what stays, and where much of it
 * gathers, V8 keeps its pages.
 */
const FREED_EVERY = 25_000;

/** Every draft was taken over, or none of them yet. */
export type Taking = { readonly taken: true; readonly updates: readonly MeshUpdate[] } | HeldDrafts;

export class MeshFiles {
  readonly #options: MeshFilesOptions;
  readonly #assembly: Assembly;
  readonly #reader: { readonly settings: NodeSettings; readonly lean: Lean };
  readonly #inForce = new Map<string, MeshFile>();
  /**
   * Never emptied by `clear`: V8 keeps the table that was emptied, with all that is in it, behind the next, and of a chain of tables that
   * began in the old generation a scavenge frees none. The text of each change stayed until all of the heap was marked.
   */
  #drafts: Map<string, Draft> = new Map();
  readonly #unkept = new UnkeptTexts();
  /** Files that came, changed or went since `takeChanged`. */
  #changed = new Set<string>();
  readonly #missingSinceMs = new Map<string, number>();
  readonly #findings = new Map<string, readonly Problem[]>();
  /** A mesh was in force before this process began, and nothing of it is known. */
  #replacesUnknown = false;
  #location: Location | undefined;
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

  /** A mesh was in force before this process began, and its copy is lost: any draft may take away what protected a pod. */
  replacesUnknown(): void {
    this.#replacesUnknown = true;
  }

  /** What is written is what is in force. */
  get settled(): boolean {
    return this.#drafts.size === 0 && this.#unlisted.length === 0;
  }

  digests(): readonly FileDigest[] {
    return [...this.#inForce].map(([file, { digest }]) => ({ file, digest }));
  }

  /** Whether the drafts are exactly these files with these contents. */
  saysAs(files: readonly FileDigest[]): boolean {
    const said = new Map(files.map(({ file, digest }) => [file, digest]));
    const drafts = [...this.#drafts];
    return drafts.length === said.size && drafts.every(([file, draft]) => draft.file?.digest === said.get(file));
  }

  /** Whether what is in force is exactly these files with these contents. */
  inForceIs(files: readonly FileDigest[]): boolean {
    return (
      files.length === this.#inForce.size &&
      files.every(({ file, digest }) => this.#inForce.get(file)?.digest === digest)
    );
  }

  /** Whether the file lies where the mesh is read from. */
  isHere(file: string): boolean {
    const { folder, names, whole } = locate(this.#options.path);
    return dirname(file) === folder && (whole ? isMeshFile(basename(file)) : names().includes(basename(file)));
  }

  /** What is wrong with the drafts, each by itself. */
  get problems(): readonly Problem[] {
    return [...this.#unlisted, ...this.#sorted().flatMap(([file, draft]) => this.#problemsOf(file, draft))];
  }

  /**
   * A file that said something in what is in force and is empty now is no mesh, however long it is still. That is asked when drafts are
   * judged, not when a file is read: at a start files are read before the copy is in force.
   */
  #problemsOf(file: string, draft: Draft): readonly Problem[] {
    if (draft.file === null || draft.file.problems.length > 0) return draft.file?.problems ?? [];
    const said = this.#inForce.get(file)?.documents.lines.length ?? 0;
    return said > 0 && draft.file.documents.lines.length === 0 ? nothing(file).problems : [];
  }

  /** Reads what has changed. Returns the names of files that somebody may still be writing to: the caller looks at them again. */
  async look(hints: Hints, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const again = new Set<string>();
    const turns = new Turns(signal);
    // What is heard of single files is heard of where the files were at the last look at all of them.
    if (hints.all || this.#location === undefined) this.#location = locate(this.#options.path);
    const { folder, names, whole } = this.#location;
    let bytes = 0;
    let objects = 0;
    try {
      const listed = hints.all ? this.#withKnown(names(), folder) : [...hints.names].map((name) => join(folder, name));
      for (const file of listed) {
        const state = this.#stateOf(file);
        bytes += state?.bytes ?? 0;
        checkTotal(folder, bytes);
        const ready = state === undefined ? this.#missing(file, whole) : await this.#read(file, state, hints, turns);
        if (!ready) again.add(basename(file));
        if (!this.known) objects += this.#drafts.get(file)?.file?.documents.objects.length ?? 0;
        if (objects >= FREED_EVERY) {
          this.#options.collectGarbage?.();
          objects = 0;
        }
        await turns.mayPass();
      }
      if (hints.all) this.#unlisted = [];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#unlisted = error.problems;
    }
    return again;
  }

  /**
   * Takes every draft over, or none.
   * @param holdsOn a draft that must be still is not taken over, however long it is.
   * @throws ConfigError
   */
  accept({ holdsOn } = { holdsOn: false }): Taking {
    const drafts = this.#sorted();
    const { problems } = this;
    if (problems.length > 0) throw new ConfigError(problems.slice(0, 100));
    if (!this.known && drafts.every(([, { file }]) => file === null || file.documents.lines.length === 0))
      throw nothing(drafts[0]?.[0] ?? this.#options.path);
    const parts = drafts.map(([file, draft]) => objectsBetween(this.#inForce.get(file), draft.file ?? undefined));
    const swap = { gone: parts.flatMap(({ gone }) => gone), come: parts.flatMap(({ come }) => come) };
    const held = this.#held(drafts, swap, holdsOn);
    if (held !== undefined) return held;
    const updates = this.#assembly.swap(swap);
    for (const [file, draft] of drafts) {
      // An edit of a text that the copy has not seen is of no use to it.
      const edit = this.#changed.has(file) ? undefined : draft.edit;
      this.#changed.add(file);
      const findings = [...(draft.file?.documents.findings.values() ?? [])].flat();
      if (draft.file === null) this.#inForce.delete(file);
      else this.#inForce.set(file, draft.file);
      const { text } = draft;
      this.#unkept.set(file, text === undefined ? undefined : { digest: draft.file?.digest ?? "", text, edit });
      if (findings.length === 0) this.#findings.delete(file);
      else this.#findings.set(file, findings);
    }
    this.#drafts = new Map();
    return { taken: true, updates };
  }

  /** Takes these texts over instead of all that is in force and what is at the path, which stays a draft. @throws ConfigError */
  async assume(texts: readonly FileText[], signal: AbortSignal): Promise<readonly MeshUpdate[]> {
    const [drafts, unlisted] = [this.#drafts, this.#unlisted];
    this.#drafts = new Map();
    this.#unlisted = [];
    for (const file of this.#inForce.keys()) this.#drafts.set(file, { file: null, whole: true, sinceMs: 0 });
    const turns = new Turns(signal);
    try {
      for (const { file, text } of texts) {
        const read = { file, text, stamp: "", bytes: text.length };
        const like = drafts.get(file)?.file ?? this.#inForce.get(file);
        this.#drafts.set(file, {
          file: await turns.through(readingFile(read, like, this.#reader)),
          whole: true,
          sinceMs: 0,
        });
      }
      const taking = this.accept();
      return taking.taken ? taking.updates : [];
    } finally {
      this.#drafts = new Map();
      for (const [file, draft] of drafts) this.#keep(file, draft);
      this.#unlisted = unlisted;
    }
  }

  /** The text of a file in force; undefined: the file has another content by now. */
  textOf({ file, digest }: FileDigest): string | undefined {
    const unkept = this.#unkept.of({ file, digest });
    if (unkept !== undefined) return unkept.text;
    try {
      const { text } = readText(file);
      return digestOf(text) === digest ? text : undefined;
    } catch (error) {
      if (error instanceof ConfigError) return undefined;
      throw error;
    }
  }

  /** Files that came, changed or went since the last call. */
  takeChanged(): ReadonlySet<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** Characters that are remembered for the copy on disk. */
  get unkeptLength(): number {
    return this.#unkept.length;
  }

  /** What is in force of these files. undefined: a text is no longer to be had. */
  changeOf(files: ReadonlySet<string>): Omit<LastGoodChange, "acceptedAt"> | undefined {
    const changed: LastGoodChange["changed"][number][] = [];
    const gone: string[] = [];
    for (const file of files) {
      const digest = this.#inForce.get(file)?.digest;
      const edit = digest === undefined ? undefined : this.#unkept.of({ file, digest })?.edit;
      if (digest !== undefined && edit !== undefined) {
        changed.push({ file, digest, edit });
        continue;
      }
      const text = digest === undefined ? undefined : this.textOf({ file, digest });
      if (digest === undefined) gone.push(file);
      else if (text === undefined) return undefined;
      else changed.push({ file, digest, text });
    }
    return { changed, gone };
  }

  /** The index of the copy on disk now has these texts, so they need not be remembered. */
  kept(files: readonly FileDigest[]): void {
    this.#unkept.kept(files);
  }

  #sorted(): readonly NamedDraft[] {
    return [...this.#drafts].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** @throws ConfigError */
  #held(drafts: readonly NamedDraft[], swap: Swap, holdsOn: boolean): HeldDrafts | undefined {
    const { stillMs, settings } = this.#options;
    const moving = movingOf(drafts, { nowMs: performance.now(), stillMs, holdsOn });
    if (moving.length === 0 || (!this.known && !this.#replacesUnknown)) return undefined;
    const before = {
      rootNamespace: settings.rootNamespace,
      authorizationPolicies: () => this.#assembly.authorizationPolicies(),
    };
    return heldOf(moving, this.known ? weakenings(before, this.#assembly.preview(swap)) : undefined, stillMs);
  }

  /** The names listed, and the files that are in force or drafts but were not listed. A file in force from another path counts as gone. */
  #withKnown(names: readonly string[], folder: string): ReadonlySet<string> {
    const listed = new Set(names.map((name) => join(folder, name)));
    for (const file of [...this.#inForce.keys(), ...this.#drafts.keys()]) {
      if (listed.has(file)) continue;
      if (this.isHere(file)) listed.add(file);
      else if (this.#inForce.has(file)) this.#drafts.set(file, { file: null, whole: true, sinceMs: 0 });
      else this.#drafts.delete(file);
    }
    return listed;
  }

  /** undefined: there is no such file. A file that cannot be read becomes a draft with that problem. */
  #stateOf(file: string): FileState | undefined {
    try {
      return stateOf(file);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#keep(file, { file: broken(error.problems), whole: false, sinceMs: performance.now() });
      return { stamp: "", bytes: 0, changedMs: 0, renamedSince: false };
    }
  }

  /** Handles a file that is not there. False: too early to tell, since a program may be between two steps of replacing it. */
  #missing(file: string, whole: boolean): boolean {
    if (whole && !this.#inForce.has(file)) {
      this.#drafts.delete(file);
      return true;
    }
    const now = performance.now();
    const sinceMs = this.#missingSinceMs.get(file) ?? now;
    this.#missingSinceMs.set(file, sinceMs);
    if (now - sinceMs < this.#options.quietMs) return false;
    const gone = whole ? null : broken(unreadable(file, "there is no such file").problems);
    this.#drafts.set(file, { file: gone, whole: false, sinceMs });
    return true;
  }

  /** Reads a file if it has changed. False: somebody may still be writing it. */
  async #read(file: string, state: FileState, hints: Hints, turns: Turns): Promise<boolean> {
    this.#missingSinceMs.delete(file);
    const name = basename(file);
    const before = this.#inForce.get(file);
    const draft = this.#drafts.get(file);
    const known = draft === undefined ? before : (draft.file ?? before);
    if (known?.stamp === state.stamp) {
      // The file was gone and is back, unchanged.
      if (draft?.file === null) this.#drafts.delete(file);
      // Somebody wrote to it after it had been renamed into place.
      else if (draft?.whole === true && hints.names.has(name) && !hints.whole.has(name))
        this.#drafts.set(file, { ...draft, whole: false, sinceMs: performance.now() });
      return true;
    }
    // Half of a file that is written in place may be valid, with the policies of its other half missing.
    const quietMs = this.#options.wallMs() - state.changedMs;
    if (!hints.whole.has(name) && quietMs >= 0 && quietMs < this.#options.quietMs) return false;
    const whole = wasPutWhole(file, state, hints);
    const read = await this.#fileOf(file, before, turns);
    if (read === undefined) return false;
    this.#keep(file, { ...read, whole, sinceMs: performance.now() });
    return true;
  }

  /** Keeps the file as a draft, unless its content is what is in force. */
  #keep(file: string, draft: Draft): void {
    const before = this.#inForce.get(file);
    if (before === undefined || draft.file === null || draft.file.digest !== before.digest)
      this.#drafts.set(file, draft);
    else {
      this.#inForce.set(file, { ...before, stamp: draft.file.stamp });
      this.#drafts.delete(file);
    }
  }

  /** undefined: it changed while it was read. */
  async #fileOf(
    file: string,
    before: MeshFile | undefined,
    turns: Turns,
  ): Promise<Pick<Draft, "file" | "text" | "edit"> | undefined> {
    try {
      const { text, state } = readText(file);
      const { stamp, bytes } = state;
      if (stamp !== stateOf(file)?.stamp) return undefined;
      // A text of which the text before is remembered is read only where the two differ.
      const part = before && this.#unkept.partOf({ file, digest: before.digest }, text);
      const known = before && { documents: before.documents, part };
      const read = await turns.through(readingFile({ file, text, stamp, bytes }, known, this.#reader));
      if (!this.known) return { file: read };
      const edit = part && before && editOf(text, before.digest, part);
      return edit === undefined ? { file: read, text } : { file: read, text, edit };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return { file: broken(error.problems) };
    }
  }
}

function broken(problems: readonly Problem[]): MeshFile {
  return { stamp: "", bytes: 0, digest: "", torn: false, documents: noDocuments, problems };
}
