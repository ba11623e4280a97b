// main thread · the pods that this agent holds, by UID and by index, with their workloads as the mesh names them now.
import type { LocalPod } from "../kernel/pair-verdicts.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import type { HeldPod } from "./enrollment-plan.ts";

export class NodePods {
  readonly #mesh: Pick<Snapshot, "workload">;
  readonly #byUid = new Map<string, HeldPod>();
  readonly #byIndex = new Map<number, HeldPod>();
  /** By index, also of pods that are held no more: connections of theirs may go on. */
  readonly #uids = new Map<number, string>();

  constructor(mesh: Pick<Snapshot, "workload">) {
    this.#mesh = mesh;
  }

  get(podUid: string): HeldPod | undefined {
    return this.#byUid.get(podUid);
  }

  at(podIdx: number): HeldPod | undefined {
    return this.#byIndex.get(podIdx);
  }

  /** Of the pod that is held, or was last, under that index. */
  uidOf(podIdx: number): string | undefined {
    return this.#uids.get(podIdx);
  }

  all(): readonly HeldPod[] {
    return [...this.#byUid.values()];
  }

  /** Holds the pod, in place of what is known of the same UID. */
  set(pod: HeldPod): void {
    this.delete(pod.podUid);
    this.#byUid.set(pod.podUid, pod);
    this.#byIndex.set(pod.podIdx, pod);
    this.#uids.set(pod.podIdx, pod.podUid);
  }

  delete(podUid: string): void {
    const pod = this.#byUid.get(podUid);
    this.#byUid.delete(podUid);
    if (pod !== undefined && this.#byIndex.get(pod.podIdx) === pod) this.#byIndex.delete(pod.podIdx);
  }

  /** The workload of a held pod. Called for every kernel event. */
  workloadOf(podIdx: number): Workload | undefined {
    const pod = this.#byIndex.get(podIdx);
    return pod && this.#mesh.workload(pod.workloadUid);
  }

  /** Held pods whose workload the mesh knows. */
  local(): readonly LocalPod[] {
    return this.all().flatMap(({ podIdx, workloadUid }) => {
      const workload = this.#mesh.workload(workloadUid);
      return workload === undefined ? [] : [{ podIdx, workload }];
    });
  }
}
