// keeper · pods whose network namespace the CNI plug-in has named before their first process: guarded until an agent captures or
// releases them, or the plug-in says that the namespace goes.
import {
  type Enrollment,
  type EnrollmentRefusal,
  isRefusal,
  isUnserved,
  type PodRow,
  type PodRows,
  refusal,
} from "./enrollment-states.ts";
import type { PodParts } from "./pod-parts.ts";
import { type NamespaceId, sameNamespace } from "./pods.ts";
import type { RuntimeName } from "./protocol.ts";
import { MAX_PODS } from "./requests.ts";

/** `gone`: the row of the pod that is free now, of which agents may know. */
export type BegunPod = { readonly begun: PodRow | EnrollmentRefusal; readonly gone: PodRow | undefined };

export type BeginningsOptions = PodParts & {
  readonly rows: PodRows;
  /** The pod is awaited under an index that agents must hear of. */
  readonly moved: (uid: string) => void;
};

export class PodBeginnings {
  readonly #options: BeginningsOptions;

  constructor(options: BeginningsOptions) {
    this.#options = options;
  }

  /**
   * A pod's network namespace was made, and no process is in it yet. From here on the pod refuses everything, until an agent captures
   * it or releases it, or `end` says that the namespace goes. `container`: its sandbox. Owns the descriptor. Idempotent.
   */
  begin(uid: string, container: string, netnsFd: number, called?: RuntimeName): Promise<BegunPod> {
    const { tree, rows, protectedPods, table, turns, departures } = this.#options;
    return turns.of(uid, async () => {
      const netns = tree.unborn.set(uid, container, netnsFd, called);
      const known = table.byUid(uid);
      const isServed = known !== undefined && !isUnserved(known);
      if (isServed && known.pod !== undefined && sameNamespace(known.pod.netns, netns))
        return { begun: known.row, gone: undefined };
      let begun: PodRow | EnrollmentRefusal;
      try {
        if (isServed) await departures.release(known, "never");
        begun = await this.#guardBegun(uid, netns);
      } catch (error) {
        // Half of a guard may be there, of which the row does not know. A sweep places it again where the pod is protected.
        const half = table.byUid(uid);
        if (half?.state === "awaited" && !protectedPods.has(uid)) rows.withdraw(half.row);
        begun = refusal("kernel", String(error));
      }
      if (isRefusal(begun)) {
        tree.unborn.delete(uid);
        this.#awaitOrForget(uid);
        if (table.byUid(uid) !== undefined) this.#options.moved(uid);
      }
      const stays = known !== undefined && table.get(known.row.podIdx)?.row.uid === uid;
      return { begun, gone: stays ? undefined : known?.row };
    });
  }

  async #guardBegun(uid: string, netns: NamespaceId): Promise<PodRow | EnrollmentRefusal> {
    const { guards } = this.#options;
    const waiting = this.#underFreshIndex(uid);
    if (waiting === undefined || !isUnserved(waiting)) return refusal("limit", `${MAX_PODS} pods are enrolled`);
    const now = await guards.guard(waiting);
    if (now.state === "guarded" && sameNamespace(now.pod.netns, netns)) return now.row;
    return refusal("namespace-shared", `the namespace of pod ${uid} is another's, or a process of it runs in another`);
  }

  /**
   * An agent may have sent a release for the index under which it knows the pod, and not have heard yet that the pod begins. Such a release
   * must not be taken for its word on the namespace that begins: an index means a single namespace of the pod.
   */
  #underFreshIndex(uid: string): Enrollment | undefined {
    const { table, presence, departures } = this.#options;
    const known = table.byUid(uid);
    if (known?.state === "guarded" && presence.lookAgain(known.pod) !== undefined) return known;
    if (known !== undefined) departures.withdraw(known);
    return table.await(uid);
  }

  /**
   * The namespace of that sandbox goes, and no process was found in it. The row that is free now, if the pod is not protected. Another
   * sandbox of the pod stays as it is.
   */
  end(uid: string, container: string): Promise<PodRow | undefined> {
    const { tree, table, turns, presence, departures } = this.#options;
    return turns.of(uid, async () => {
      if (!tree.unborn.end(uid, container)) return undefined;
      const known = table.byUid(uid);
      if (known === undefined || (known.state !== "awaited" && (await presence.isStillThere(known)))) return undefined;
      if (known.state !== "awaited") await departures.release(known, "never");
      this.#awaitOrForget(uid);
      if (table.byUid(uid) !== undefined) this.#options.moved(uid);
      return known.state === "awaited" && table.byUid(uid) !== undefined ? undefined : known.row;
    });
  }

  /** Of a pod whose namespace has gone: it is awaited if it is protected, else its index is free. */
  #awaitOrForget(uid: string): void {
    const { protectedPods, table, departures } = this.#options;
    const known = table.byUid(uid);
    const isProtected = protectedPods.has(uid);
    if (known === undefined && isProtected) table.await(uid);
    if (known !== undefined && !isProtected) departures.withdraw(known);
  }
}
