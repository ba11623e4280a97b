// main thread · what the agent itself holds for a pod that it serves: data threads, the kernel's verdicts, the certificate.
import { setTimeout as sleep } from "node:timers/promises";
import type { PreparedPod } from "../engine/keeper-client.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { type Workload, withAddresses } from "../mesh/workload.ts";
import type { PodMessage } from "../threads/data-threads.ts";
import type { HeldPod } from "./enrollment-plan.ts";
import type { EnrollmentTimes, NodeEnrollmentPorts } from "./enrollment-ports.ts";
import { LateListeners, untilCertified } from "./late-listeners.ts";
import type { NodePods } from "./node-pods.ts";

export type PodServiceOptions = {
  readonly times: Pick<EnrollmentTimes, "retry" | "certificate">;
  readonly closing: AbortSignal;
  /** Listeners of a captured pod are lost: it has to be prepared again. */
  readonly lost: (pod: HeldPod) => void;
};

export class PodService {
  readonly #pods: NodePods;
  readonly #ports: NodeEnrollmentPorts;
  readonly #times: Pick<EnrollmentTimes, "retry" | "certificate">;
  readonly #closing: AbortSignal;
  readonly #late: LateListeners;

  constructor(pods: NodePods, ports: NodeEnrollmentPorts, { times, closing, lost }: PodServiceOptions) {
    this.#pods = pods;
    this.#ports = ports;
    this.#times = times;
    this.#closing = closing;
    this.#late = new LateListeners(ports, {
      ...{ times, closing },
      identityOf: (podUid) => pods.get(podUid)?.identity,
      serve: async ({ podIdx, podUid }, listeners) => {
        const pod = pods.get(podUid);
        if (pod?.podIdx === podIdx) await ports.threads.servePod(podMessage(pod, listeners));
        else ports.closeListeners(listeners);
      },
      failed: ({ podIdx, podUid }, error) => {
        const pod = pods.get(podUid);
        if (pod?.podIdx !== podIdx) return;
        ports.log.warn("a pod's listeners were lost: it is prepared again", { pod: podUid, error });
        lost(pod);
      },
    });
  }

  /**
   * The threads serve the pod, so that it may be captured. What cannot be served without its certificate follows once that is there, or has
   * not come in time. Owns the listeners.
   */
  async serve(pod: HeldPod, prepared: Pick<PreparedPod, "listeners" | "captured">): Promise<void> {
    const { podIdx, podUid } = pod;
    const isCertified = this.#ports.certificates.isReady(pod.identity);
    const { now, late } = isCertified ? { now: prepared.listeners, late: [] } : untilCertified(prepared);
    if (late.length > 0) this.#late.keep({ podIdx, podUid, listeners: late, takesOver: prepared.captured });
    await this.#ports.threads.servePod(podMessage(pod, now));
  }

  /** Resolves when no pod that was captured before this agent held it waits for its certificate. */
  takenOver(): Promise<void> {
    return this.#late.takenOver();
  }

  /** What waits for the pod's certificate waits no longer. */
  serveUncertified(podIdx: number): Promise<void> {
    return this.#late.serve(podIdx);
  }

  /** False: the mesh does not know the pod's workload any more. */
  setVerdicts({ podIdx, podUid, workloadUid, addresses }: HeldPod): boolean {
    const { mesh, tables } = this.#ports;
    const workload = mesh.workload(workloadUid);
    if (workload === undefined) return false;
    if (tables.setPod(podIdx, withAddresses(workload, addresses))) void this.sweep(podIdx, podUid);
    return true;
  }

  /** The mesh names the pod by another workload: its index, listeners, connections and capture stay. */
  async setWorkload(pod: HeldPod, workload: Workload): Promise<void> {
    this.replace(pod, { workloadUid: workload.uid });
    const now = this.#pods.get(pod.podUid);
    if (now !== undefined) this.setVerdicts(now);
    await this.#ports.threads.servePod(podMessage({ ...pod, workloadUid: workload.uid }, []));
  }

  setIdentity(pod: HeldPod, identity: SpiffeId): void {
    const { certificates } = this.#ports;
    certificates.hold(identity);
    certificates.release(pod.identity);
    this.replace(pod, { identity });
  }

  /** Unless the pod has gone, or its keeper has, since the step was planned. */
  replace(pod: HeldPod, change: Partial<HeldPod>): void {
    if (this.#pods.get(pod.podUid) === pod) this.#pods.set({ ...pod, ...change });
  }

  /** The kernel's verdicts on the pod stay: it is captured, and will be served again. */
  async abandon(pod: HeldPod): Promise<void> {
    this.#late.close(pod.podIdx);
    await this.#ports.threads.removePod(pod.podIdx, false);
    this.#forget(pod);
  }

  /** No thread serves the pod any more, with `cut` its connections end, and the agent holds nothing for it. */
  async end(pod: HeldPod, cut: boolean): Promise<void> {
    // First of all: the threads would serve the pod once more.
    this.#late.close(pod.podIdx);
    await this.#ports.threads.removePod(pod.podIdx, cut);
    if (this.#forget(pod) || this.#pods.at(pod.podIdx) === undefined) this.#ports.tables.removePod(pod.podIdx);
  }

  /** The kernel may have let pass what it would refuse now: the agent asks the keeper to end that, until the keeper has. */
  async sweep(podIdx: number, podUid: string): Promise<void> {
    const { keeper, log } = this.#ports;
    while (!this.#closing.aborted && this.#pods.get(podUid)?.podIdx === podIdx) {
      try {
        return await keeper.sever({ podIdx, uid: podUid });
      } catch (error) {
        log.warn("plaintext that is no longer allowed could not be ended; trying again", { podIdx, error });
        await sleep(this.#times.retry);
      }
    }
  }

  /** False: another call for the same pod was first. */
  #forget({ podUid, podIdx }: HeldPod): boolean {
    const pod = this.#pods.get(podUid);
    if (pod?.podIdx !== podIdx) return false;
    this.#pods.delete(podUid);
    this.#ports.certificates.release(pod.identity);
    return true;
  }
}

function podMessage(
  { podIdx, workloadUid, addresses, netnsCookie, preservesSource }: HeldPod,
  listeners: PreparedPod["listeners"],
): PodMessage {
  return { op: "pod", podIdx, workloadUid, addresses, netnsCookie, preservesSource, listeners };
}
