// main thread · listeners of pods at which no thread accepts before the pod's certificate is there. The kernel completes connections to
// them meanwhile, and those wait.
import type { PreparedPod } from "../engine/keeper-client.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { EnrollmentTimes, NodeEnrollmentPorts } from "./enrollment-ports.ts";

type Listeners = PreparedPod["listeners"];
type LatePod = {
  readonly podIdx: number;
  readonly podUid: string;
  readonly listeners: Listeners;
  /** Another agent may accept there, and goes on until this agent does. */
  readonly takesOver: boolean;
};

export type LateListenersOptions = {
  readonly times: Pick<EnrollmentTimes, "certificate">;
  readonly closing: AbortSignal;
  /** Undefined: the pod is not held any more. */
  readonly identityOf: (podUid: string) => SpiffeId | undefined;
  /** The threads accept at the listeners, too, which are theirs from here on. */
  readonly serve: (pod: Pick<LatePod, "podIdx" | "podUid">, listeners: Listeners) => Promise<void>;
  /** They could not be served, after the wait, and are closed. */
  readonly failed: (pod: Pick<LatePod, "podIdx" | "podUid">, error: unknown) => void;
};

/** What the threads get at once, and what waits for the pod's certificate. */
export function untilCertified({ listeners, captured }: Pick<PreparedPod, "listeners" | "captured">): {
  readonly now: Listeners;
  readonly late: Listeners;
} {
  // Another agent may accept there, which has its certificate.
  if (captured) return { now: [], late: listeners };
  // Outbound connections wait in the threads, and plaintext needs no certificate.
  const isLate = ({ kind }: Listeners[number]): boolean => kind === "hbone";
  return { now: listeners.filter((listener) => !isLate(listener)), late: listeners.filter(isLate) };
}

export class LateListeners {
  readonly #ports: Pick<NodeEnrollmentPorts, "certificates" | "closeListeners">;
  readonly #options: LateListenersOptions;
  /** By index of the pod. */
  readonly #late = new Map<number, LatePod>();
  readonly #takingOver = new Set<Promise<void>>();

  constructor(ports: Pick<NodeEnrollmentPorts, "certificates" | "closeListeners">, options: LateListenersOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  /** They are served once the pod's certificate is there, or has not come in time. */
  keep(pod: LatePod): void {
    this.#late.set(pod.podIdx, pod);
    const wait = this.#wait(pod).finally(() => this.#takingOver.delete(wait));
    if (pod.takesOver) this.#takingOver.add(wait);
  }

  /** Resolves when none of those waits at which another agent may accept, and which were kept before this call. */
  async takenOver(): Promise<void> {
    await Promise.all(this.#takingOver);
  }

  /** They are served now, with a certificate or without. */
  async serve(podIdx: number): Promise<void> {
    const pod = this.#late.get(podIdx);
    if (pod === undefined) return;
    this.#late.delete(podIdx);
    await this.#options.serve(pod, pod.listeners);
  }

  close(podIdx: number): void {
    const pod = this.#late.get(podIdx);
    this.#late.delete(podIdx);
    if (pod !== undefined) this.#ports.closeListeners(pod.listeners);
  }

  async #wait(pod: LatePod): Promise<void> {
    const { podIdx, podUid } = pod;
    const { times, closing, identityOf } = this.#options;
    const patience = AbortSignal.any([closing, AbortSignal.timeout(times.certificate)]);
    let identity = identityOf(podUid);
    for (;;) {
      if (identity === undefined || (await this.#ports.certificates.ready(identity, patience))) break;
      const before = identity;
      identity = identityOf(podUid);
      // Another identity, whose certificate is waited for.
      if (patience.aborted || identity === before) break;
    }
    // Closed, or served, and the index may mean another pod by now.
    if (this.#late.get(podIdx) !== pod) return;
    if (closing.aborted) this.close(podIdx);
    else await this.serve(podIdx).catch((error: unknown) => this.#options.failed(pod, error));
  }
}
