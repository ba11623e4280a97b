// main thread · a cluster as a source: one watch for each kind. Nothing is in force before every kind was read whole: pods without the
// policies that protect them would be open.
import { setTimeout as delay } from "node:timers/promises";
import { AcceptedObjects, type ObjectChange } from "../accepted-objects.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import type { ConfigurationSource, Emit, SourceStatus } from "../source.ts";
import type { Ask } from "./api-answer.ts";
import { type KindState, KindWatch } from "./kind-watch.ts";
import { type WatchedKind, watchedKinds } from "./watched-kinds.ts";

export type KubernetesOptions = {
  /** The API server's address, for people. */
  readonly server: string;
  readonly settings: NodeSettings;
  readonly kinds?: readonly WatchedKind[];
};
export type KubernetesDependencies = {
  readonly ask: Ask;
  readonly wallMs: () => number;
  /** After each change of `status()`. */
  readonly changed?: (status: SourceStatus) => void;
  /** What goes wrong with the server, and that it works again, in words. */
  readonly log?: (message: string) => void;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random?: () => number;
  /** Monotonic, ms. */
  readonly nowMs?: () => number;
};

export class KubernetesSource implements ConfigurationSource {
  readonly #options: KubernetesOptions;
  readonly #dependencies: KubernetesDependencies;
  readonly #kinds: readonly WatchedKind[];
  readonly #accepted: AcceptedObjects;
  readonly #states = new Map<string, KindState>();
  /** What was read before every kind was. null: every kind was. */
  #first: ObjectChange[] | null = [];
  #appliedAt = "";

  constructor(options: KubernetesOptions, dependencies: KubernetesDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#kinds = options.kinds ?? watchedKinds;
    this.#accepted = new AcceptedObjects(options.settings);
  }

  status(): SourceStatus {
    const { problems, findings, objects } = this.#accepted;
    return {
      kind: "kubernetes",
      from: this.#options.server,
      acceptance: "object",
      state: this.#first !== null ? "waiting" : this.#isStale() ? "stale" : problems.length > 0 ? "partial" : "synced",
      fromLastGood: false,
      appliedAt: this.#appliedAt,
      objects,
      problems,
      findings,
    };
  }

  async run(emit: Emit, signal: AbortSignal): Promise<void> {
    const { ask, sleep, random, nowMs } = this.#dependencies;
    // One kind's defect ends all of them: half of a mesh must not go on as if it were whole.
    const ending = new AbortController();
    const ended = AbortSignal.any([signal, ending.signal]);
    const watches: KindWatch[] = this.#kinds.map(
      (kind) =>
        new KindWatch(kind, {
          ask,
          sleep: sleep ?? ((ms, aborted) => delay(ms, undefined, { signal: aborted })),
          random: random ?? Math.random,
          nowMs: nowMs ?? (() => performance.now()),
          changed: (changes) => this.#take(changes, watches, emit),
          noted: (state) => this.#note(kind.kind, state),
        }),
    );
    try {
      await Promise.all(watches.map((watch) => watch.run(ended)));
    } finally {
      ending.abort();
    }
  }

  #take(changes: readonly ObjectChange[], watches: readonly KindWatch[], emit: Emit): void {
    if (this.#first === null) {
      if (changes.length > 0) this.#apply(changes, emit);
      return;
    }
    this.#first.push(...changes);
    if (watches.length < this.#kinds.length || !watches.every(({ mirror }) => mirror.synced)) return;
    const all = this.#first;
    this.#first = null;
    this.#apply(all, emit);
  }

  #apply(changes: readonly ObjectChange[], emit: Emit): void {
    const isFirst = this.#appliedAt === "";
    const updates = this.#accepted.apply(changes);
    this.#appliedAt = new Date(this.#dependencies.wallMs()).toISOString();
    // The first batch names everything there is, also when that is nothing.
    if (updates.length > 0 || isFirst) emit(updates);
    this.#dependencies.changed?.(this.status());
  }

  #isStale(): boolean {
    return this.#states.values().some(({ state }) => state === "away");
  }

  #note(kind: string, state: KindState): void {
    const before = this.#states.get(kind);
    if (before?.state === state.state && before.why === state.why) return;
    this.#states.set(kind, state);
    const { log, changed } = this.#dependencies;
    if (state.state === "away") log?.(`${kind}: ${state.why}; what was read before stays in force`);
    else if (before?.state === "away" && state.state === "watching") log?.(`${kind}: the API server answers again`);
    changed?.(this.status());
  }
}
