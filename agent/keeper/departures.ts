// keeper · how a pod leaves the kernel's tables: capture first, then what it needed; what was under way ends a moment later.
import { type Enrollment, isOpen, type Leave, type PodNamespace, type PodRows } from "./enrollment-states.ts";
import type { PodTable } from "./pod-table.ts";
import type { FoundPod } from "./pods.ts";
import type { PodRef } from "./protocol.ts";

/** Connections captured just before a release wait at listeners that the agent still serves for a moment. */
const FLOWS_LINGER_MS = 5_000;
/** So long an agent gets sockets of a pod that was released: longer than a connection that had come by then waits for a socket of its own. */
const LENT_AFTER_RELEASE_MS = 12_000;

/** Before its first process a pod has no connections of an agent's. */
export const onceLeft = ({ process }: FoundPod, { guarded }: { readonly guarded: boolean }): Leave =>
  process === undefined ? { restore: "now" } : { restore: "once-left", pid: process.pid, guarded };

type LeftPod = { readonly uid: string; readonly namespace: PodNamespace };

export class PodDepartures {
  readonly #rows: PodRows;
  readonly #table: PodTable;
  readonly #lingering = new Set<NodeJS.Timeout>();
  /** By index: released a moment ago. */
  readonly #left = new Map<number, LeftPod>();

  constructor(rows: PodRows, table: PodTable) {
    this.#rows = rows;
    this.#table = table;
  }

  /** Capture first, then what it needed: no connection is sent to a listener that has gone. */
  async release(found: Enrollment, restore: Leave["restore"]): Promise<void> {
    this.withdraw(found);
    if (!isOpen(found)) return;
    const { namespace, pod } = found;
    if (restore === "once-left") this.#lendOn(found.row, namespace);
    await namespace.close(restore === "once-left" ? onceLeft(pod, { guarded: false }) : { restore });
  }

  withdraw(found: Enrollment): void {
    const { podIdx, netnsCookie } = found.row;
    // Also of a prepared pod, which may have a guard.
    if (found.state !== "awaited") this.#rows.withdraw(found.row);
    this.#rows.forget(podIdx);
    this.#table.delete(podIdx);
    this.forgetFlowsLater(netnsCookie);
  }

  forgetFlowsLater(netnsCookie: bigint): void {
    this.#later(FLOWS_LINGER_MS, () => {
      // Enrolled again meanwhile: its flows are alive, and old ones are overwritten as ports come round.
      const isAlive = this.#table
        .all()
        .some(({ state, row }) => state !== "guarded" && row.netnsCookie === netnsCookie);
      if (!isAlive) this.#rows.forgetFlows(netnsCookie);
    });
  }

  /**
   * From where sockets may be lent for a pod that was released under this index a moment ago: its namespace as it was entered then, and as
   * it was entered since, if the pod came back and perhaps left again. None: no such pod was released.
   */
  left(pod: PodRef): readonly PodNamespace[] {
    const { podIdx, uid } = pod;
    const left = this.#left.get(podIdx);
    if (left?.uid !== uid) return [];
    const { netnsCookie } = left.namespace;
    const now = this.#table.byUid(uid);
    const others = [...this.#left.values()].filter((other) => other !== left && other.uid === uid);
    return [left, ...(now !== undefined && isOpen(now) ? [now] : []), ...others]
      .map(({ namespace }) => namespace)
      .filter((namespace) => namespace.netnsCookie === netnsCookie);
  }

  #lendOn({ podIdx, uid }: PodRef, namespace: PodNamespace): void {
    const left = { uid, namespace };
    this.#left.set(podIdx, left);
    this.#later(LENT_AFTER_RELEASE_MS, () => {
      if (this.#left.get(podIdx) === left) this.#left.delete(podIdx);
    });
  }

  #later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#lingering.delete(timer);
      act();
    }, ms);
    timer.unref();
    this.#lingering.add(timer);
  }

  close(): void {
    for (const timer of this.#lingering) clearTimeout(timer);
  }
}
