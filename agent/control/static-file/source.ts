// main thread · YAML files of a plain machine as a source: watched, applied live. What is read again is what has changed; a bad file
// changes nothing, holds back what changed with it, and says why until mended.
import { setImmediate as turn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import { ConfigError, type Problem } from "../kinds/value.ts";
import { digestOf, type FileDigest, hadMesh, type LastGoodIndex, lastGoodIndex, loadLastGood } from "../last-good.ts";
import type { ConfigurationSource, Emit, SourceStatus } from "../source.ts";
import { Copy, WAIT_MS, withinWait } from "./copy.ts";
import { MeshFiles } from "./mesh-files.ts";
import { FolderWatch } from "./watch.ts";

export type StaticFileOptions = {
  /** A file, or a directory of *.yaml. */
  readonly path: string;
  readonly lastGoodFile: string;
  readonly settings: NodeSettings;
  /** Writers write in several steps; this much silence ends them, ms. */
  readonly debounceMs?: number;
  /** A change that may take protection away waits for this much silence, unless its file was put into place by rename, ms. */
  readonly stillMs?: number;
  /** Also looked at this often, or more seldom where that takes long: some file systems tell nobody, ms. */
  readonly pollMs?: number;
};
export type StaticFileDependencies = {
  readonly wallMs: () => number;
  /** After each change of `status()`. */
  readonly changed?: (status: SourceStatus) => void;
  /** What went wrong beside the configuration itself, in words: the copy could not be written, the directory not watched. */
  readonly warn?: (message: string) => void;
  /** Frees memory, which may take a tenth of a second. Called while the first mesh is read, as long as none is in force. */
  readonly collectGarbage?: () => void;
};

/** The last good copy runs after this long, if what is written now is being written all the time, ms. */
const ASSUMED_MS = 1_000;
/** Looking at everything from time to time takes at most this share of the time. */
const POLL_SHARE = 0.01;

export class StaticFileSource implements ConfigurationSource {
  readonly #options: Required<StaticFileOptions>;
  readonly #dependencies: StaticFileDependencies;
  readonly #files: MeshFiles;
  readonly #copy: Copy;
  /** What leads to the last good copy, until it is known how what is written now differs from it: it is passed on with that. */
  #assumed: readonly MeshUpdate[] = [];
  #assumedMs = Number.POSITIVE_INFINITY;
  /** What was written at the start is what was kept. */
  #isCopy = false;
  /** This agent holds the node. */
  #keeps = false;
  /** It did, and the next agent does not serve yet. */
  #isYielding = false;
  /** The copy as this agent read it last, or left it; undefined: there was none. */
  #copyBefore: LastGoodIndex | undefined;
  /** Contents that were in force here while another agent held the node. */
  readonly #wasInForce = new Set<string>();
  /** `hold` waits for `#catchUp`, which happens between two looks at the files. */
  #catchingUp: PromiseWithResolvers<void> | undefined;
  #watching: FolderWatch | undefined;
  #status: Omit<SourceStatus, "findings" | "objects" | "leftOut" | "kinds">;

  constructor(options: StaticFileOptions, dependencies: StaticFileDependencies) {
    this.#options = { debounceMs: 50, stillMs: 3_000, pollMs: 2_000, ...options };
    this.#dependencies = dependencies;
    const { path, settings, debounceMs: quietMs, stillMs, lastGoodFile } = this.#options;
    const { wallMs, collectGarbage } = dependencies;
    this.#files = new MeshFiles({ path, settings, quietMs, stillMs, wallMs, collectGarbage });
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
    return { ...this.#status, objects: this.#files.objects, findings: this.#files.findings, leftOut: [], kinds: [] };
  }

  /**
   * From now on this agent holds the node, and keeps what it accepts for the next start. Resolves when nothing older is in force here than
   * what the agent before it had in force: that was kept before it took effect, so it counts, also where this agent still holds the same
   * change back or finds a broken file by now. Resolves at once while nothing is in force here; what comes first is no older either. A disk
   * that does not answer is waited for as long as before any change: a second for each read. The mesh that was read is waited for however
   long it takes to understand it; the agent before this one answers connections meanwhile.
   */
  hold(): Promise<void> {
    this.#isYielding = false;
    if (this.#watching === undefined) {
      this.#keeps = true;
      return Promise.resolve();
    }
    this.#catchingUp ??= Promise.withResolvers();
    this.#watching.ring(0);
    return this.#files.known && !this.#keeps ? this.#catchingUp.promise : Promise.resolve();
  }

  /**
   * Another agent is to hold the node: what this one accepts from now on is not in force there, and is not kept; and until `leave` what it
   * holds back waits, since the next agent may hold it back for longer. Resolves when what was in force is kept, or after two seconds.
   */
  async yield(): Promise<void> {
    this.#keeps = false;
    this.#isYielding = true;
    this.#catchingUp?.resolve();
    this.#catchingUp = undefined;
    await this.#copy.yield();
    const reading = lastGoodIndex(this.#options.lastGoodFile).then((kept) => {
      this.#copyBefore = kept;
    });
    await withinWait(reading);
  }

  /** The next agent serves. */
  leave(): void {
    this.#isYielding = false;
    this.#watching?.ring(0);
  }

  async run(emit: Emit, signal: AbortSignal): Promise<void> {
    const { path, debounceMs } = this.#options;
    const watching = new FolderWatch(path, debounceMs, (message) => this.#dependencies.warn?.(message));
    this.#watching = watching;
    signal.addEventListener("abort", () => watching.ring(0), { once: true });
    let poll: NodeJS.Timeout | undefined;
    let begun = false;
    try {
      while (!signal.aborted) {
        // The watch begins before the files are read, so that no change in between is missed.
        watching.renew();
        const hints = watching.take();
        const beganMs = performance.now();
        const again = await this.#files.look(hints, signal);
        if (hints.all) {
          clearTimeout(poll);
          const tookMs = performance.now() - beganMs;
          poll = setTimeout(() => watching.lookAtAll(), Math.max(this.#options.pollMs, tookMs / POLL_SHARE));
        }
        const moved = hints.whole.union(hints.arrived);
        // Gives the watch the chance to report a writer that goes on: it does when the loop polls, at the latest in the second turn.
        for (let turns = 0; moved.size > 0 && turns < 2; turns++) await turn();
        const writing = again.union(watching.writtenOf(moved));
        if (writing.size > 0) watching.lookAgain(writing, debounceMs);
        if (!begun && (await this.#begin(signal))) watching.lookAtAll();
        else if (this.#catchingUp !== undefined && (await this.#catchUp(emit, signal))) watching.lookAtAll();
        else if (writing.size === 0) await this.#judge(emit, watching);
        else if (performance.now() - this.#assumedMs > ASSUMED_MS) this.#pass(emit, []);
        begun = true;
        if (!signal.aborted) await watching.rung();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearTimeout(poll);
      this.#watching = undefined;
      this.#catchingUp?.resolve();
      watching.close();
      await this.#copy.close();
    }
  }

  /** Takes over all of what has changed, or nothing yet. */
  async #judge(emit: Emit, watching: FolderWatch): Promise<void> {
    const { state, fromLastGood } = this.#status;
    if (this.#files.settled && this.#files.known) {
      // A mistake or a waiting draft was undone: what is written is again what is in force.
      const appliedAt = fromLastGood ? this.#now() : this.#status.appliedAt;
      if (state !== "synced" || fromLastGood) await this.#apply(appliedAt, () => this.#pass(emit, []));
      return;
    }
    const isFirst = !this.#files.known;
    try {
      const taking = this.#files.accept({ holdsOn: this.#isYielding });
      if (!taking.taken) {
        this.#refuse("held", taking.held);
        this.#pass(emit, []);
        watching.lookAgain(taking.names, taking.afterMs);
        return;
      }
      const { updates } = taking;
      await this.#apply(this.#now(), () => (isFirst ? emit(updates) : this.#pass(emit, updates)), isFirst);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#refuse("rejected", error.problems);
      this.#pass(emit, []);
    }
  }

  #pass(emit: Emit, updates: readonly MeshUpdate[]): void {
    const all = [...this.#assumed, ...updates];
    this.#assumed = [];
    this.#assumedMs = Number.POSITIVE_INFINITY;
    if (all.length > 0) emit(all);
  }

  #now(): string {
    return new Date(this.#dependencies.wallMs()).toISOString();
  }

  /** Puts a mesh in force. The copy on disk is written first, so that a start with a bad file finds it; only the first mesh does not wait. */
  async #apply(appliedAt: string, emit: () => void, isFirst = false): Promise<void> {
    if (!this.#keeps) this.#wasInForce.add(contentOf(this.#files.digests()));
    if (this.#keeps && !isFirst) await this.#copy.keep(appliedAt);
    else if (this.#keeps && !this.#isCopy) await this.#copy.remove();
    if (isFirst) this.#dependencies.collectGarbage?.();
    emit();
    if (this.#keeps && isFirst) this.#copy.begin(appliedAt, { isThere: this.#isCopy });
    this.#report({ state: "synced", fromLastGood: false, appliedAt, problems: [] });
  }

  #refuse(state: "rejected" | "held", problems: readonly Problem[]): void {
    // The same problems as before are not reported again.
    if (this.#status.state === state && JSON.stringify(problems) === JSON.stringify(this.#status.problems)) return;
    this.#report({ state, problems });
  }

  /**
   * At the start the mesh in force is the last good copy, if it was kept: what is written now replaces it as any other draft
   * does. False: what is written is the copy, or there is none. Where a mesh was in force whose copy is lost (the disk was full), what
   * is written now counts when its files are still: half of a file must not replace what nobody remembers.
   */
  async #begin(signal: AbortSignal): Promise<boolean> {
    const begun = await this.#assumeKept(signal);
    if (!begun && !this.#isCopy && (await hadMesh(this.#options.lastGoodFile))) this.#files.replacesUnknown();
    return begun;
  }

  /** True: another agent has accepted something else meanwhile, which is in force now; what is written is a draft again. */
  async #catchUp(emit: Emit, signal: AbortSignal): Promise<boolean> {
    const waiting = this.#catchingUp;
    try {
      const kept = await this.#fromDisk(lastGoodIndex(this.#options.lastGoodFile));
      if (kept !== undefined && this.#files.inForceIs(kept.files)) return false;
      if (this.#keeps) {
        // The keeper came again, or an agent that hung has written the copy since: what is in force here is what counts.
        this.#copy.take();
        if (this.#files.known) await this.#copy.keep(this.#status.appliedAt);
        return false;
      }
      const isNews = kept !== undefined && !isDeepStrictEqual(kept, this.#copyBefore) && !this.#isAheadOf(kept);
      if (isNews && kept.files.every(({ file }) => this.#files.isHere(file)) && (await this.#assume(signal))) {
        this.#pass(emit, []);
        return true;
      }
      if (this.#files.known) {
        this.#copy.take();
        await this.#fromDisk(this.#copy.remove());
        this.#copy.begin(this.#status.appliedAt);
      }
      return false;
    } finally {
      if (waiting === this.#catchingUp) {
        this.#keeps = true;
        this.#wasInForce.clear();
        this.#copy.take();
        this.#catchingUp = undefined;
      }
      waiting?.resolve();
    }
  }

  /** Who waits in `hold` waits no longer when the disk has not answered after a second; what it answers later counts then. */
  async #fromDisk<Answer>(answer: Promise<Answer>): Promise<Answer> {
    const late = setTimeout(() => this.#catchingUp?.resolve(), WAIT_MS);
    try {
      return await answer;
    } finally {
      clearTimeout(late);
    }
  }

  /** What the copy says was in force here already, before what is now: its disk was full or slow. */
  #isAheadOf({ acceptedAt, files }: LastGoodIndex): boolean {
    return acceptedAt < this.#status.appliedAt && this.#wasInForce.has(contentOf(files));
  }

  async #assumeKept(signal: AbortSignal): Promise<boolean> {
    const { problems } = this.#files;
    const kept = await this.#fromDisk(lastGoodIndex(this.#options.lastGoodFile));
    this.#copyBefore = kept;
    this.#isCopy = kept !== undefined && problems.length === 0 && this.#files.saysAs(kept.files);
    if (kept === undefined || this.#isCopy) return false;
    // The operator has named another path: what that says is the mesh.
    if (problems.length === 0 && !kept.files.every(({ file }) => this.#files.isHere(file))) return false;
    return this.#assume(signal);
  }

  async #assume(signal: AbortSignal): Promise<boolean> {
    const saved = await loadLastGood(this.#options.lastGoodFile, (reading) => this.#fromDisk(reading));
    if (!saved) return false;
    try {
      this.#assumed = [...this.#assumed, ...(await this.#files.assume(saved.files, signal))];
    } catch (error) {
      if (signal.aborted || !(error instanceof ConfigError)) throw error;
      // An earlier version accepted this copy, and this version does not. It is not used, and the status shows the original's problems.
      this.#dependencies.warn?.(`the last good configuration is of no use any more: ${error.message}`);
      return false;
    }
    this.#wasInForce.add(contentOf(this.#files.digests()));
    this.#assumedMs = performance.now();
    this.#status = { ...this.#status, fromLastGood: true, appliedAt: saved.acceptedAt };
    return true;
  }

  #report(change: Partial<SourceStatus>): void {
    this.#status = { ...this.#status, ...change };
    this.#dependencies.changed?.(this.status());
  }
}

function contentOf(files: readonly FileDigest[]): string {
  return digestOf(JSON.stringify(files.map(({ file, digest }) => `${file} ${digest}`).sort()));
}
