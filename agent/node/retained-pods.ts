// main thread · pods that stay captured although the mesh does not name them, since it has their workload. The log names each once.
import type { Logger } from "../observe/log.ts";
import type { DesiredPods } from "./desired-pods.ts";
import { isRetained, type PlanQuestions, type PresentPods } from "./enrollment-plan.ts";
import type { NodePods } from "./node-pods.ts";

export class RetainedPods {
  readonly #uids = new Set<string>();
  readonly #pods: NodePods;
  readonly #log: Logger;

  constructor(pods: NodePods, log: Logger) {
    this.#pods = pods;
    this.#log = log;
  }

  get uids(): ReadonlySet<string> {
    return this.#uids;
  }

  note(desired: DesiredPods, present: PresentPods, questions: PlanQuestions): void {
    for (const pod of this.#pods.all()) {
      const { podUid, workloadUid, state } = pod;
      const retained =
        state === "captured" && !desired.pods.has(podUid) && isRetained(pod, desired, present, questions);
      if (!retained) this.#uids.delete(podUid);
      else if (!this.#uids.has(podUid)) {
        this.#uids.add(podUid);
        this.#log.warn("the mesh has another pod or node for a workload whose pod is here: it stays captured", {
          workload: workloadUid,
          pod: podUid,
        });
      }
    }
    for (const podUid of this.#uids) if (this.#pods.get(podUid) === undefined) this.#uids.delete(podUid);
  }
}
