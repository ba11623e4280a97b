// main thread · what the agent itself holds for a pod that it serves: data threads, the kernel's verdicts, the certificate.
import { setTimeout as sleep } from "node:timers/promises";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { type Workload, withAddresses } from "../mesh/workload.ts";
import type { HeldPod } from "./enrollment-plan.ts";
import type { EnrollmentTimes, NodeEnrollmentPorts } from "./enrollment-ports.ts";
import type { NodePods } from "./node-pods.ts";

export class PodService {
  readonly #pods: NodePods;
  readonly #ports: NodeEnrollmentPorts;
  readonly #times: Pick<EnrollmentTimes, "retry">;
  readonly #closing: AbortSignal;

  constructor(
    pods: NodePods,
    ports: NodeEnrollmentPorts,
    { times, closing }: { readonly times: Pick<EnrollmentTimes, "retry">; readonly closing: AbortSignal },
  ) {
    this.#pods = pods;
    this.#ports = ports;
    this.#times = times;
    this.#closing = closing;
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
    const { podIdx, netnsCookie, preservesSource } = pod;
    this.replace(pod, { workloadUid: workload.uid });
    const now = this.#pods.get(pod.podUid);
    if (now !== undefined) this.setVerdicts(now);
    await this.#ports.threads.servePod({
      op: "pod",
      podIdx,
      workloadUid: workload.uid,
      addresses: pod.addresses,
      netnsCookie,
      preservesSource,
      listeners: [],
    });
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
    await this.#ports.threads.removePod(pod.podIdx, false);
    this.#forget(pod);
  }

  /** No thread serves the pod any more, with `cut` its connections end, and the agent holds nothing for it. */
  async end(pod: HeldPod, cut: boolean): Promise<void> {
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
