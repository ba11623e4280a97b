// main thread · a cluster as a source: one watch for each kind. It begins with what was applied last on this node. Nothing newer is in
// force before every kind was read whole: pods without the policies that protect them would be open.
import { setTimeout as delay } from "node:timers/promises";
import { type BackoffOptions, backoffMs } from "../../attempts/backoff.ts";
import { AcceptedObjects, type ObjectChange } from "../accepted-objects.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import type { ConfigurationSource, Emit, SourceStatus } from "../source.ts";
import { Turns } from "../static-file/turns.ts";
import type { Ask } from "./api-answer.ts";
import { clusterId } from "./cluster-id.ts";
import { ClusterCopy } from "./copy.ts";
import { emptied, type KeptCluster, type KeptFile, type PackedChange, packed, readClusterCopy } from "./copy-file.ts";
import { HeldChanges } from "./held-changes.ts";
import type { KnownObject } from "./kind-mirror.ts";
import { KindStates } from "./kind-states.ts";
import { type KindState, KindWatch } from "./kind-watch.ts";
import { type WatchedKind, watchedKinds } from "./watched-kinds.ts";

export type KubernetesOptions = {
  /** The API server's address, for people. */
  readonly server: string;
  readonly settings: NodeSettings;
  readonly kinds?: readonly WatchedKind[];
  /** Where what was applied last is kept; absent: nowhere. */
  readonly lastGoodFile?: string;
};
export type KubernetesDependencies = {
  readonly ask: Ask;
  readonly wallMs: () => number;
  /** After each change of `status()`. */
  readonly changed?: (status: SourceStatus) => void;
  /** What goes wrong with the server, and that it works again, in words. */
  readonly log?: (message: string) => void;
  /** Rejects when the signal is aborted. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random?: () => number;
  /** Monotonic, ms. */
  readonly nowMs?: () => number;
  /** Frees memory, which may take half a second. Called while the first mesh is read, as long as none is in force. `last`: it is read. */
  readonly collectGarbage?: (last: boolean) => void;
};

/** At the start the server has so long to say which cluster it is; then what was kept is believed to be of this cluster, ms. */
const IDENTIFY_MS = 2_000;
/** All agents of a cluster may start at once, and those that have something to begin with wait up to so long before they list, ms. */
const FIRST_LIST_MS = 5_000;
/** Objects of the first mesh between which memory is freed: they leave behind some 30 MB. */
const FREED_EVERY = 25_000;
const retry: BackoffOptions = { baseMs: 500, capMs: 30_000 };

export class KubernetesSource implements ConfigurationSource {
  readonly #options: KubernetesOptions;
  readonly #dependencies: Required<Omit<KubernetesDependencies, "changed" | "log" | "collectGarbage">> &
    Pick<KubernetesDependencies, "changed" | "log" | "collectGarbage">;
  readonly #kinds: readonly WatchedKind[];
  readonly #accepted: AcceptedObjects;
  readonly #states: KindStates;
  readonly #copy: ClusterCopy | undefined;
  readonly #held: HeldChanges;
  /** What is in force was read from it, and the copy goes on with it. */
  #adopted: KeptFile | undefined;
  #watches: readonly KindWatch[] = [];
  /** Every kind was read whole. */
  #synced = false;
  #fromLastGood = false;
  /** What is to be applied next. Before every kind was read it only grows. */
  #news: PackedChange[] = [];
  #arrived = Promise.withResolvers<void>();
  #appliedAt = "";

  constructor(options: KubernetesOptions, dependencies: KubernetesDependencies) {
    this.#options = options;
    this.#dependencies = {
      sleep: (ms, signal) => delay(ms, undefined, { signal }),
      random: Math.random,
      nowMs: () => performance.now(),
      ...dependencies,
    };
    this.#kinds = options.kinds ?? watchedKinds;
    this.#accepted = new AcceptedObjects(options.settings);
    this.#states = new KindStates(
      this.#kinds.map(({ kind }) => kind),
      dependencies,
    );
    this.#held = new HeldChanges({
      pass: (changes) => this.#pass(changes),
      sleep: this.#dependencies.sleep,
    });
    const { lastGoodFile } = options;
    if (lastGoodFile !== undefined)
      this.#copy = new ClusterCopy(lastGoodFile, (message) => dependencies.log?.(message));
  }

  status(): SourceStatus {
    const { problems, findings, leftOut, objects } = this.#accepted;
    const isStale = this.#states.isAnyAway || this.#fromLastGood;
    return {
      kind: "kubernetes",
      from: this.#options.server,
      acceptance: "object",
      state: this.#appliedAt === "" ? "waiting" : isStale ? "stale" : problems.length > 0 ? "partial" : "synced",
      fromLastGood: this.#fromLastGood,
      appliedAt: this.#appliedAt,
      objects,
      problems,
      findings,
      leftOut,
      kinds: this.#states.view((kind) => this.#watches.find(({ mirror }) => mirror.kind === kind)?.mirror.size ?? 0),
    };
  }

  /** From now on another agent of the node keeps what is applied for the next start. */
  stopKeeping(): void {
    this.#copy?.stop();
  }

  async run(emit: Emit, signal: AbortSignal): Promise<void> {
    // One kind's defect ends all of them: half of a mesh must not go on as if it were whole.
    const ending = new AbortController();
    const ended = AbortSignal.any([signal, ending.signal]);
    try {
      const cluster = await this.#begin(emit, ended);
      const applying = this.#applyAll(cluster, emit, ended);
      await Promise.all([applying, ...this.#watches.map((watch) => watch.run(ended))]);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      ending.abort();
      this.#held.close();
      await this.#copy?.close();
    }
  }

  /** Puts in force what was kept, unless it is another cluster's. Resolves to the cluster's id when the server has said it. */
  async #begin(emit: Emit, signal: AbortSignal): Promise<string> {
    const { lastGoodFile } = this.#options;
    const kept = lastGoodFile === undefined ? undefined : await readClusterCopy(lastGoodFile, signal);
    try {
      return await this.#beginWith(kept, emit, signal);
    } finally {
      // Unless the copy has it.
      if (kept?.file !== undefined && kept.file !== this.#adopted) await kept.file.handle.close();
    }
  }

  async #beginWith(kept: KeptCluster | undefined, emit: Emit, signal: AbortSignal): Promise<string> {
    const { sleep, random } = this.#dependencies;
    const asking = this.#identify(signal);
    let assumed: readonly KnownObject[] = [];
    if (kept !== undefined) {
      const soon = await Promise.race([asking, sleep(IDENTIFY_MS, signal).then(() => undefined)]);
      if (soon === undefined || soon === kept.cluster) assumed = await this.#assume(kept, emit, signal);
      else this.#forgets(kept, soon);
    }
    const cluster = await asking;
    this.#watches = this.#kinds.map((kind) => this.#watch(kind));
    if (kept === undefined || assumed.length === 0) return cluster;
    if (kept.cluster !== cluster) {
      this.#forgets(kept, cluster);
      for (const { version } of assumed) this.#news.push(packed({ op: "deleted", object: version }));
      return cluster;
    }
    const mirrors = new Map(this.#watches.map(({ mirror }) => [mirror.kind, mirror]));
    // Of a kind that is not read any more nothing may be kept on and on.
    if (kept.file !== undefined && assumed.every(({ version }) => mirrors.has(version.kind))) {
      this.#adopted = kept.file;
      this.#copy?.adopt(kept.file);
    }
    for (const object of assumed) mirrors.get(object.version.kind)?.assume(object, this.#adopted !== undefined);
    await sleep(FIRST_LIST_MS * random(), signal);
    return cluster;
  }

  async #identify(signal: AbortSignal): Promise<string> {
    const { ask, sleep, random } = this.#dependencies;
    for (let failures = 0; ; failures++) {
      try {
        return await clusterId(ask, signal);
      } catch (error) {
        signal.throwIfAborted();
        this.#noteAll(error instanceof Error ? error.message : String(error));
        await sleep(backoffMs(failures, retry, random), signal);
      }
    }
  }

  /** Puts in force what was kept. Resolves to the objects that are in force. */
  async #assume({ objects, appliedAt }: KeptCluster, emit: Emit, signal: AbortSignal): Promise<readonly KnownObject[]> {
    const assumed: KnownObject[] = [];
    const noting = function* (): Generator<ObjectChange> {
      for (const change of emptied(objects)) {
        if (change.op === "present") assumed.push({ version: change.version, uid: change.uid });
        yield change;
      }
    };
    this.#dependencies.collectGarbage?.(false);
    const updates = await new Turns(signal).through(this.#accepted.applying(this.#freeing(noting())));
    this.#dependencies.collectGarbage?.(true);
    this.#appliedAt = appliedAt;
    this.#fromLastGood = true;
    emit(updates);
    this.#changed();
    return assumed;
  }

  #forgets({ cluster: kept }: KeptCluster, cluster: string): void {
    this.#dependencies.log?.(`what was kept is of another cluster and does not count: ${kept}, and here is ${cluster}`);
  }

  #watch(kind: WatchedKind): KindWatch {
    const { ask, sleep, random, nowMs } = this.#dependencies;
    return new KindWatch(kind, {
      ...{ ask, sleep, random, nowMs },
      changed: (changes) => this.#take(kind.kind, changes),
      noted: (state) => this.#note(kind.kind, state),
    });
  }

  #note(kind: string, state: KindState): void {
    const wasAway = this.#states.isAway(kind);
    if (state.state === "away") this.#held.gapBegins(kind);
    if (state.state === "watching") {
      this.#held.gapEnds(kind);
      // The server answers: the other kinds need not wait for their turn.
      if (wasAway) for (const watch of this.#watches) watch.wake();
    }
    if (this.#states.note(kind, state)) this.#changed();
  }

  #noteAll(why: string): void {
    const noted = this.#kinds.map(({ kind }) => this.#states.note(kind, { state: "away", why }));
    if (noted.includes(true)) this.#changed();
  }

  #take(kind: string, changes: readonly PackedChange[]): void {
    if (this.#synced) {
      this.#held.take(kind, changes);
      return;
    }
    for (const change of changes) this.#news.push(change);
    if (!this.#watches.every(({ mirror }) => mirror.synced)) return;
    this.#synced = true;
    this.#arrived.resolve();
  }

  #pass(changes: readonly PackedChange[]): void {
    for (const change of changes) this.#news.push(change);
    if (changes.length > 0) this.#arrived.resolve();
  }

  /** Applies what has arrived, in batches: what arrives while a batch is applied is the next. */
  async #applyAll(cluster: string, emit: Emit, signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    for (;;) {
      await Promise.race([this.#arrived.promise, aborted.promise]);
      if (signal.aborted) return;
      const changes = this.#news;
      this.#news = [];
      this.#arrived = Promise.withResolvers();
      await this.#apply(changes, cluster, emit, signal);
    }
  }

  async #apply(changes: PackedChange[], cluster: string, emit: Emit, signal: AbortSignal): Promise<void> {
    const appliedAt = new Date(this.#dependencies.wallMs()).toISOString();
    const isFirst = this.#appliedAt === "";
    await this.#copy?.keep(cluster, changes, appliedAt);
    // A large cluster leaves behind more than its mesh will take, and V8 would let both grow together.
    if (isFirst) this.#dependencies.collectGarbage?.(false);
    const taken = isFirst ? this.#freeing(emptied(changes)) : emptied(changes);
    const updates = await new Turns(signal).through(this.#accepted.applying(taken));
    if (isFirst) this.#dependencies.collectGarbage?.(true);
    this.#appliedAt = appliedAt;
    this.#fromLastGood = false;
    // The first batch names everything there is, also when that is nothing.
    if (updates.length > 0 || isFirst) emit(updates);
    this.#changed();
  }

  /** The changes of the first mesh: what reading them leaves behind is freed meanwhile, since all of it together would be the most memory. */
  *#freeing(changes: Iterable<ObjectChange>): Generator<ObjectChange> {
    let count = 0;
    for (const change of changes) {
      yield change;
      count += 1;
      if (count % FREED_EVERY === 0) this.#dependencies.collectGarbage?.(false);
    }
  }

  #changed(): void {
    this.#dependencies.changed?.(this.status());
  }
}
