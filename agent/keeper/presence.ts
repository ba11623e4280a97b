// keeper · is an enrolled pod still what was found? Remembers the process that now speaks for it.
import { closeSync } from "node:fs";
import { type CookieOf, type Enrollment, isRefusal } from "./enrollment-states.ts";
import type { PodTable } from "./pod-table.ts";
import { type FoundPod, findPod, nowOf, type PodTree } from "./pods.ts";
import type { UnbornPods } from "./unborn-pods.ts";

export type EnrollmentTree = PodTree & { readonly unborn: UnbornPods };
export type PresenceOptions = {
  readonly tree: EnrollmentTree;
  readonly cookieOf: CookieOf;
  readonly table: PodTable;
};

export class PodPresence {
  readonly #options: PresenceOptions;

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** Are the pod's process and namespace still what was found? */
  async isStillThere(
    found: Exclude<Enrollment, { readonly state: "awaited" }>,
    tree: EnrollmentTree = this.#options.tree,
  ): Promise<boolean> {
    const { cookieOf, table } = this.#options;
    if (found.state === "adopted" && found.pod === undefined) {
      const pod = findPod(tree, found.row.uid);
      if (isRefusal(pod)) return false;
      try {
        if ((await cookieOf(pod.netnsFd)) !== found.row.netnsCookie) return false;
      } finally {
        closeSync(pod.netnsFd);
      }
      table.set({ ...found, pod });
      return true;
    }
    if (found.pod === undefined) return false;
    const pod = this.lookAgain(found.pod, tree);
    if (pod === undefined) return false;
    if (pod !== found.pod) table.set({ ...found, pod });
    return true;
  }

  /** The pod with the process that speaks for it now; undefined: it has gone. */
  lookAgain(pod: FoundPod, tree: EnrollmentTree = this.#options.tree): FoundPod | undefined {
    const now = nowOf(tree, pod);
    if (now === undefined || now.process === pod.process) return now && pod;
    if (pod.process === undefined) tree.unborn.delete(pod.uid);
    return { ...pod, ...now };
  }
}
