// main thread · pods that the CNI plug-in has begun, and of which nobody has said yet whether they belong to the mesh. A release
// says to the keeper that a pod does not belong, so this agent asks the API server before it releases: its own mesh may be behind.
import type { CapturedPod } from "../engine/keeper-client.ts";
import type { Workload } from "../mesh/workload.ts";
import type { NodeEnrollmentPorts } from "./enrollment-ports.ts";

export type BegunPodsOptions = {
  readonly ports: Pick<NodeEnrollmentPorts, "wasOutside" | "log">;
  /** What could not be said is asked again after this time, ms. */
  readonly retryMs: number;
  readonly closing: AbortSignal;
  /** Another pod was decided, or has to be asked about again. */
  readonly changed: () => void;
};

export class BegunPods {
  readonly #options: BegunPodsOptions;
  /** Index by UID. */
  readonly #waiting = new Map<string, number>();
  /** UIDs of pods about which a question is under way, or waits for its next try. */
  readonly #asked = new Set<string>();

  constructor(options: BegunPodsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  has(uid: string): boolean {
    return this.#waiting.has(uid);
  }

  begins(uid: string, podIdx: number): void {
    this.#waiting.set(uid, podIdx);
  }

  gone(uid: string, podIdx: number): void {
    if (this.#waiting.get(uid) === podIdx) this.#waiting.delete(uid);
  }

  /** An agent that held the node before may have decided about pods for which this agent still waits. */
  keeperCame(present: readonly CapturedPod[]): void {
    const indices = new Map(present.map(({ uid, podIdx }) => [uid, podIdx]));
    for (const [uid, podIdx] of this.#waiting) if (indices.get(uid) !== podIdx) this.#waiting.delete(uid);
    for (const { uid, podIdx, starting } of present) if (starting) this.#waiting.set(uid, podIdx);
  }

  /** What the mesh says now of the node's pods. A pod that it has inside is inside; of a pod that it has outside the API server is asked, too. */
  hear(workloads: Iterable<Workload>): void {
    if (this.#waiting.size === 0) return;
    for (const workload of workloads) {
      const { podUid, protocol } = workload;
      if (protocol === "hbone") this.#waiting.delete(podUid);
      else if (this.#waiting.has(podUid) && !this.#asked.has(podUid)) void this.#ask(workload);
    }
  }

  async #ask(workload: Workload): Promise<void> {
    const { ports, retryMs, closing, changed } = this.#options;
    const { podUid } = workload;
    const podIdx = this.#waiting.get(podUid);
    this.#asked.add(podUid);
    const again = (): void => {
      this.#asked.delete(podUid);
      changed();
    };
    try {
      const isOutside = await ports.wasOutside(workload, closing);
      if (isOutside && podIdx !== undefined) this.gone(podUid, podIdx);
      // Its label is on the way to the mesh.
      if (isOutside) again();
      else setTimeout(again, retryMs).unref();
    } catch (error) {
      if (closing.aborted) return;
      const pod = `${workload.namespace}/${workload.name}`;
      ports.log.warn("nobody says whether a pod that begins belongs to the mesh", { pod, error });
      setTimeout(again, retryMs).unref();
    }
  }
}
