// keeper · looks after every enrolled pod: what has gone is released, what must be guarded is guarded. Called by a timer.
import { isUnserved, type PodRow, type Unserved } from "./enrollment-states.ts";
import { isExpected } from "./pending.ts";
import type { PodParts } from "./pod-parts.ts";
import { hasContainers, walkedOnce } from "./pods.ts";
import type { AwaitedFound } from "./protocol.ts";
import type { Readdressing } from "./readdressing.ts";

export type GuardedRow = PodRow & {
  readonly found?: AwaitedFound;
  /** An agent asked about the pod before a sweep had found it. */
  readonly asked?: true;
};
/** What a sweep found out. */
export type Swept = {
  readonly gone: readonly PodRow[] /** Guarded or awaited under a new index. */;
  readonly guarded: readonly GuardedRow[];
  /** What could not be looked at; the next sweep tries again. */
  readonly failed: readonly { readonly uid: string; readonly error: unknown }[];
};

export type SweepOptions = PodParts & { readonly readdressing: Readdressing };

/** Every so many sweeps the routes to the agent's listener are made again: they go with an address or device of the pod. */
const SWEEPS_PER_ROUTE = 40;

type GuardedPod = Extract<Unserved, { readonly state: "guarded" }>;
type SweepFinding = { gone?: PodRow; guarded?: GuardedRow };

export class PodSweep {
  readonly #options: SweepOptions;
  /** UIDs of guarded pods whose new index the agent does not know: what it asked for may have been refused. */
  readonly #moved = new Set<string>();
  /** Rows of pods that were there when an agent asked about them. */
  readonly #asked: GuardedRow[] = [];
  #sweeps = 0;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** The next sweep names the pod's new index. */
  moved(uid: string): void {
    this.#moved.add(uid);
  }

  /** An agent asked about the pod before a sweep had found it. The next sweep says what it had when its guard was put. */
  foundBy(guarded: GuardedPod): void {
    this.#asked.push({ ...guarded.row, found: this.#foundOf(guarded, this.#options.tree), asked: true });
  }

  /** A container that begins between guard and look counts, too: no miss is left out. */
  #foundOf(guarded: GuardedPod, tree: PodParts["tree"]): AwaitedFound {
    const { pod } = guarded;
    if (guarded.isExpected) return "expected";
    return hasContainers(tree, pod) ? "late" : "first-process";
  }

  /**
   * A cgroup was made, or a process has come or gone: a pod that is awaited refuses everything from here on if its cgroup is there. At once,
   * in no turn: a sweep may be under way for a while, and a pod's first process comes some tenths of a second after its cgroup.
   */
  expect(): void {
    const { table, pending, protectedPods } = this.#options;
    const tree = walkedOnce(this.#options.tree);
    for (const found of table.all()) {
      const { uid } = found.row;
      if (found.state === "awaited" && protectedPods.has(uid)) pending.expect(uid, tree);
    }
  }

  /** Releases every pod that has gone, and guards what must be guarded. */
  async sweep(): Promise<Swept> {
    const { tree, table, turns, pending, protectedPods } = this.#options;
    const findings: SweepFinding[] = this.#named();
    const failed: { readonly uid: string; readonly error: unknown }[] = [];
    this.#sweeps += 1;
    tree.unborn.keep((uid) => table.byUid(uid) !== undefined || turns.isUnderWay(uid));
    const routesAreDue = this.#sweeps % SWEEPS_PER_ROUTE === 0;
    const walked = walkedOnce(tree);
    for (const { row } of table.all()) {
      // The others are looked at all the same.
      await turns
        .of(row.uid, () => this.#look(row, { tree: walked, routesAreDue }))
        .then((finding) => findings.push(finding))
        .catch((error: unknown) => failed.push({ uid: row.uid, error }));
    }
    const unknown = new Set(failed.map(({ uid }) => uid));
    pending.keep(
      (uid) => isExpected(table.byUid(uid), protectedPods.has(uid)),
      (uid) => unknown.has(uid),
    );
    return {
      gone: findings.flatMap(({ gone }) => gone ?? []),
      guarded: findings.flatMap(({ guarded }) => guarded ?? []),
      failed,
    };
  }

  #named(): SweepFinding[] {
    const { table } = this.#options;
    const moved = [...this.#moved].map((uid) => table.byUid(uid));
    this.#moved.clear();
    return [
      ...this.#asked.splice(0).map((guarded) => ({ guarded })),
      ...moved.flatMap((found) => (found !== undefined && isUnserved(found) ? [{ guarded: found.row }] : [])),
    ];
  }

  async #look(
    { podIdx, uid }: PodRow,
    { tree, routesAreDue }: { readonly tree: PodParts["tree"]; readonly routesAreDue: boolean },
  ): Promise<SweepFinding> {
    const { protectedPods, table, presence, guards, departures, readdressing } = this.#options;
    const found = table.get(podIdx);
    if (found === undefined || found.row.uid !== uid) return {};
    if (isUnserved(found)) {
      const now = await guards.guard(found, tree);
      // An agent that could not enroll it may try at once.
      if (found.state !== "awaited" || now.state !== "guarded") return {};
      return { guarded: { ...now.row, found: this.#foundOf(now, tree) } };
    }
    // Nothing is released by what the walk saw: the pod's cgroup may have been made anew since.
    if ((await presence.isStillThere(found, tree)) || (await presence.isStillThere(found))) {
      if (routesAreDue) await readdressing.routeAgain(podIdx);
      return {};
    }
    await departures.release(found, "never");
    const awaited = protectedPods.has(uid) ? table.await(uid) : undefined;
    return awaited === undefined
      ? { gone: found.row }
      : { gone: found.row, guarded: (await guards.guard(awaited, tree)).row };
  }
}
