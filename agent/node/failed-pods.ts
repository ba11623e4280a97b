// main thread · pods that could not be enrolled, or not be changed, and why; the log says each reason once.
import { fullName } from "../mesh/full-name.ts";
import type { Workload } from "../mesh/workload.ts";
import { type HeldPod, type PresentPods, sameAddresses } from "./enrollment-plan.ts";
import { isRefused, type NodeEnrollmentPorts } from "./enrollment-ports.ts";

type FailedPod = {
  readonly note: string;
  /** Not due again yet. */
  readonly resting: boolean;
  /** The pod is there, and another enrolled pod has its address or namespace. */
  readonly contested: boolean;
};

const contestedReasons: readonly string[] = ["address-taken", "namespace-shared"];

export class FailedPods {
  /** By UID. */
  readonly #failed = new Map<string, FailedPod>();
  readonly #ports: Pick<NodeEnrollmentPorts, "keeper" | "log">;

  constructor(ports: Pick<NodeEnrollmentPorts, "keeper" | "log">) {
    this.#ports = ports;
  }

  get notes(): ReadonlyMap<string, { readonly note: string }> {
    return this.#failed;
  }

  get size(): number {
    return this.#failed.size;
  }

  /** UIDs of the pods that are not due again yet, and of those whose address or namespace another pod has. */
  present(): Pick<PresentPods, "resting" | "contested"> {
    const failed = [...this.#failed];
    return {
      resting: new Set(failed.flatMap(([uid, pod]) => (pod.resting ? [uid] : []))),
      contested: new Set(failed.flatMap(([uid, pod]) => (pod.contested ? [uid] : []))),
    };
  }

  /** Each pod is due again. */
  wake(): void {
    for (const [uid, pod] of this.#failed) this.#failed.set(uid, { ...pod, resting: false });
  }

  /** Failures are over of pods that the mesh does not want any more, and of pods that are as the mesh wants them. */
  settle(held: (podUid: string) => HeldPod | undefined, desired: ReadonlyMap<string, Workload>): void {
    for (const uid of this.#failed.keys()) if (isSettled(held(uid), desired.get(uid))) this.#failed.delete(uid);
  }

  delete(podUid: string): void {
    this.#failed.delete(podUid);
  }

  /** Logs a failure once while its reason stays the same. @throws the error when the keeper has gone, which is no fault of the pod */
  add(error: unknown, workload: Workload, message: string): void {
    const { keeper, log } = this.#ports;
    if (!keeper.connected) throw error;
    const note = error instanceof Error ? error.message : String(error);
    const { podUid } = workload;
    const contested = isRefused(error) && contestedReasons.includes(error.reason);
    // A pod that is just beginning has no namespace or no address yet, and the keeper says so.
    const begins = workload.addresses.length === 0 && isRefused(error);
    const say = begins ? log.debug.bind(log) : log.warn.bind(log);
    if (this.#failed.get(podUid)?.note !== note) say(message, { pod: fullName(workload), why: note });
    this.#failed.set(podUid, { note, resting: true, contested });
  }
}

function isSettled(pod: HeldPod | undefined, workload: Workload | undefined): boolean {
  return workload === undefined || (pod?.state === "captured" && sameAddresses(pod, workload));
}
