// keeper · puts the guard into a pod's namespace: from then on it refuses everything, until an agent captures it.
import { closeSync } from "node:fs";
import { onceLeft, type PodDepartures } from "./departures.ts";
import {
  type CookieOf,
  type Enrollment,
  emptyRow,
  isOpen,
  isRefusal,
  type PodRows,
  type Unserved,
} from "./enrollment-states.ts";
import { isExpected, type PendingPods } from "./pending.ts";
import type { PodTable } from "./pod-table.ts";
import { findPod } from "./pods.ts";
import type { EnrollmentTree, PodPresence } from "./presence.ts";
import type { ProtectedPods } from "./protected-pods.ts";

export type GuardOptions = {
  readonly tree: EnrollmentTree;
  readonly cookieOf: CookieOf;
  readonly rows: PodRows;
  readonly table: PodTable;
  readonly presence: PodPresence;
  readonly departures: PodDepartures;
  readonly pending: PendingPods;
  readonly protectedPods: ProtectedPods;
};

export class NamespaceGuards {
  readonly #options: GuardOptions;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** Puts the guard into the namespace that the pod has now; while it has none, the hooks are on its cgroup, if it has that. */
  async guard(found: Unserved, tree: EnrollmentTree = this.#options.tree): Promise<Unserved> {
    const { cookieOf, rows, table, presence, pending, protectedPods } = this.#options;
    const { podIdx, uid } = found.row;
    if (found.state === "guarded") {
      const still = presence.lookAgain(found.pod, tree);
      if (still !== undefined) {
        const same = { ...found, pod: still };
        table.set(same);
        return same;
      }
      rows.withdraw(found.row);
    }
    let now: Unserved = { state: "awaited", row: emptyRow(podIdx, uid) };
    const pod = findPod(tree, uid);
    if (!isRefusal(pod)) {
      try {
        const row = { ...now.row, netnsCookie: await cookieOf(pod.netnsFd) };
        // Of two pods in one namespace the first has the guard.
        if (table.inNamespace(row.netnsCookie, uid) === undefined) {
          rows.guard(row, pod.netnsFd);
          now = { state: "guarded", row, pod, ...(pending.lift(uid) && { isExpected: true }) };
        }
      } finally {
        closeSync(pod.netnsFd);
      }
    }
    if (isExpected(now, protectedPods.has(uid))) pending.expect(uid, tree);
    table.set(now);
    return now;
  }

  /** The guard takes the place of what the namespace has. Undefined: the namespace has gone. */
  async guardInPlace(found: Exclude<Enrollment, Unserved>): Promise<Unserved | undefined> {
    const { tree, cookieOf, rows, table, departures } = this.#options;
    const { podIdx, uid, netnsCookie } = found.row;
    const pod = findPod(tree, uid);
    if (isRefusal(pod)) return undefined;
    try {
      if ((await cookieOf(pod.netnsFd)) !== netnsCookie) return undefined;
      rows.guard(found.row, pod.netnsFd);
    } finally {
      closeSync(pod.netnsFd);
    }
    const guarded: Unserved = { state: "guarded", row: { ...emptyRow(podIdx, uid), netnsCookie }, pod };
    table.set(guarded);
    rows.forgetCapture(podIdx);
    departures.forgetFlowsLater(netnsCookie);
    if (isOpen(found)) await found.namespace.close(onceLeft(pod, { guarded: true }));
    return guarded;
  }
}
