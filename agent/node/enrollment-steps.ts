// main thread · carries out each step of the enrollment plan: prepare, serve, write verdicts, capture; never in another order, so that
// at no moment the kernel refuses what policy allows or lets through what it does not.
import { setTimeout as sleep } from "node:timers/promises";
import { fullName } from "../mesh/full-name.ts";
import { type Workload, withAddresses } from "../mesh/workload.ts";
import { type EnrollmentStep, type HeldPod, refOf } from "./enrollment-plan.ts";
import { type EnrollmentTimes, isRefused, type NodeEnrollmentPorts } from "./enrollment-ports.ts";
import type { FailedPods } from "./failed-pods.ts";
import type { KnownPods, PodGuards } from "./pod-guards.ts";
import type { PodService } from "./pod-service.ts";

export type EnrollmentStepsParts = {
  readonly known: KnownPods;
  readonly service: PodService;
  readonly guards: PodGuards;
  readonly failed: FailedPods;
  readonly times: EnrollmentTimes;
  readonly closing: AbortSignal;
  /** Whether several workloads claim the pod by now, and this workload does not have it. */
  readonly isRivals: (pod: Pick<HeldPod, "podUid" | "workloadUid">) => boolean;
  /** The pod under this index is not captured any more, as long as nobody captures it. */
  readonly disowned: (podUid: string, podIdx: number | undefined) => void;
};

const addressReasons: readonly string[] = ["address-mismatch", "address-taken"];

const OF_ANOTHER = "its namespace has an address of another workload";

const isAddressRefusal = (error: unknown): boolean => isRefused(error) && addressReasons.includes(error.reason);

export class EnrollmentSteps {
  readonly #parts: EnrollmentStepsParts;
  readonly #ports: NodeEnrollmentPorts;

  constructor(parts: EnrollmentStepsParts, ports: NodeEnrollmentPorts) {
    this.#parts = parts;
    this.#ports = ports;
  }

  /** @throws when the keeper has gone, and when it refuses a release or a change of the fail mode */
  async perform(step: EnrollmentStep): Promise<void> {
    const { service, guards } = this.#parts;
    switch (step.op) {
      case "abandon":
        return this.#abandon(step.pod);
      case "release":
        return this.#release(step.pod);
      case "guard":
        return guards.guard(step.workload);
      case "identify-found":
        return this.#identify(step.podUid, step.podIdx);
      case "release-found":
        return this.#releaseFound(step.podUid, step.podIdx);
      case "set-workload":
        return service.setWorkload(step.pod, step.workload);
      case "name":
        return guards.name(step.pod.podIdx, step.workload);
      case "disown":
        return this.#disown(step.pod, step.guard);
      case "disown-found":
        return this.#disownFound(step.podUid, step.podIdx, step.guard);
      case "yield-addresses":
        return this.#yieldAddresses(step.pod, step.workload);
      case "set-addresses":
        return this.#trySetAddresses(step.pod, step.workload);
      case "enroll":
        return this.#tryEnroll(step.workload);
      case "set-fail-mode":
        await this.#ports.keeper.capture(refOf(step.pod), step.failDirect);
        if (step.failDirect) guards.ended(step.pod.podUid);
        return service.replace(step.pod, { failDirect: step.failDirect });
      case "set-identity":
        return service.setIdentity(step.pod, step.identity);
    }
  }

  /** The present keeper may not hold the pod: the keeper before it released the pod, and died before it could say so. */
  #abandon(pod: HeldPod): Promise<void> {
    const { known, service } = this.#parts;
    const isHeld = known.found.get(pod.podUid)?.podIdx === pod.podIdx;
    return isHeld ? service.abandon(pod) : service.end(pod, false);
  }

  async #identify(podUid: string, podIdx: number): Promise<void> {
    const { found } = this.#parts.known;
    const { workload: workloadUid, addresses } = await this.#ports.keeper.knownOf({ podIdx, uid: podUid });
    if (found.get(podUid)?.podIdx === podIdx) found.set(podUid, { podIdx, known: { workloadUid, addresses } });
  }

  async #releaseFound(podUid: string, podIdx: number): Promise<void> {
    const { known, guards } = this.#parts;
    guards.forget(podUid, podIdx);
    await this.#ports.keeper.release({ podIdx, uid: podUid });
    guards.ended(podUid);
    // Its namespace may have gone meanwhile: then the keeper has said under which index it guards the pod now.
    if (known.found.get(podUid)?.podIdx === podIdx) known.found.delete(podUid);
    this.#ports.tables.removePod(podIdx);
  }

  async #tryEnroll(workload: Workload): Promise<void> {
    const { failed } = this.#parts;
    const pod = fullName(workload);
    try {
      const captured = await this.#enroll(workload);
      if (!captured) return;
      failed.delete(workload.podUid);
      this.#ports.log.info("pod captured", { pod });
    } catch (error) {
      failed.add(error, workload, "pod not captured");
      if (isAddressRefusal(error)) await this.#releaseWrongCapture(workload);
    }
  }

  /**
   * An earlier agent may have captured the pod under what its namespace had then, and the mesh has that for another by now. Where the
   * mesh has it for nobody, the pod keeps its capture: what the mesh names is then taken for a mistake.
   */
  async #releaseWrongCapture(workload: Workload): Promise<void> {
    const podIdx = this.#parts.known.found.get(workload.podUid)?.podIdx;
    if (podIdx === undefined) return;
    const { addresses } = await this.#ports.keeper.knownOf({ podIdx, uid: workload.podUid });
    if (!this.#isStillNamed(workload) || !isOfAnother(this.#ports.mesh, addresses, workload)) return;
    this.#ports.log.warn("pod released from a capture under an address of another workload", {
      pod: fullName(workload),
    });
    await this.#releaseToGuard({ podIdx, podUid: workload.podUid }, workload);
    this.#ports.tables.removePod(podIdx);
  }

  /** The mesh may have given the workload another pod while the keeper answered: then the next plan decides about this pod. */
  #isStillNamed({ uid, podUid }: Workload): boolean {
    return this.#ports.mesh.workload(uid)?.podUid === podUid;
  }

  /**
   * Refused: the pod keeps the addresses that the mesh named before, and with them its capture. What an earlier agent captured keeps it, too,
   * unless the mesh has its addresses for another: they may have been named then.
   */
  async #trySetAddresses(pod: HeldPod, workload: Workload): Promise<void> {
    const { service, failed } = this.#parts;
    const { keeper, log } = this.#ports;
    const { addresses } = workload;
    try {
      await keeper.setAddresses(refOf(pod), addresses);
      failed.delete(pod.podUid);
      service.replace(pod, { addresses, named: true });
      void service.sweep(pod.podIdx, pod.podUid);
      log.info("pod has other addresses", { pod: fullName(workload), addresses });
    } catch (error) {
      const isVouched = pod.named || (pod.takenOver && !isOfAnother(this.#ports.mesh, pod.addresses, workload));
      if (isVouched || !isAddressRefusal(error) || !this.#isStillNamed(workload)) {
        return failed.add(error, workload, "pod stays captured with the addresses that it has");
      }
      failed.add(error, workload, "pod not captured: its namespace had other addresses than the mesh names");
      return this.#uncapture(pod, workload);
    }
  }

  /** False: the pod's workload, namespace or keeper went meanwhile, and the next plan decides. */
  async #enroll(workload: Workload): Promise<boolean> {
    const { known, service, guards } = this.#parts;
    const { pods, found } = known;
    const { mesh, keeper, tables, certificates } = this.#ports;
    const { podUid, identity } = workload;
    const prepared = await keeper.prepare(podUid, workload.addresses);
    const { podIdx, addresses, netnsCookie, preservesSource } = prepared;
    const before = found.get(podUid)?.podIdx;
    if (before !== undefined && before !== podIdx) {
      tables.removePod(before);
      guards.left(podUid, before);
    }
    // Until it is captured: when enrolling fails and the mesh does not name it any more, a later plan releases it.
    found.set(podUid, { podIdx, known: { workloadUid: workload.uid, addresses } });
    const named = workload.addresses.length > 0;
    /** Nobody has named the pod's addresses: whether they may be its own is asked of the workload that the mesh has for the pod by now. */
    const isStale = (): boolean =>
      this.#parts.isRivals({ podUid, workloadUid: workload.uid }) || (!named && !this.#isStillNamed(workload));
    const isWrong = (): boolean => !named && isOfAnother(mesh, addresses, workload);
    if (isStale() || isWrong()) {
      this.#ports.closeListeners(prepared.listeners);
      return isStale() ? false : this.#refuseAddress(podIdx, workload);
    }
    const failDirect = tables.failDirect(withAddresses(workload, addresses));
    const pod = {
      ...{ podIdx, podUid, netnsCookie, preservesSource },
      ...{ workloadUid: workload.uid, addresses, named, identity, failDirect, takenOver: prepared.captured },
    };
    const preparing: HeldPod = { ...pod, state: "preparing" };
    certificates.hold(identity);
    pods.set(preparing);
    // An earlier agent may have captured the pod and left its verdicts: what the mesh forbids by now waits for nothing.
    service.setVerdicts(preparing);
    try {
      const kept = guards.name(podIdx, workload);
      kept.catch(() => undefined);
      await service.serve(preparing, prepared);
      // Before capture: from then on the next agent must know whose pod it is.
      await kept;
      // As the mesh is by now.
      if (!isStale() && isWrong()) await this.#refuseAddress(podIdx, workload);
      if (!isStale() && service.setVerdicts(preparing)) {
        await keeper.capture(refOf(preparing), failDirect);
        if (failDirect) guards.ended(podUid);
        if (pods.get(podUid) === preparing) {
          found.delete(podUid);
          pods.set({ ...pod, state: "captured" });
          // The pod may have connections from before, under an index that this agent does not know.
          void service.sweep(podIdx, podUid);
          return true;
        }
      }
    } catch (error) {
      if (pods.get(podUid) === preparing) {
        await service.end(preparing, true);
        throw error;
      }
    }
    await service.end(preparing, true);
    return false;
  }

  /** The keeper forgets the address, which another pod of this node may need. @throws always */
  async #refuseAddress(podIdx: number, workload: Workload): Promise<never> {
    await this.#releaseToGuard({ podIdx, podUid: workload.podUid }, workload);
    this.#ports.tables.removePod(podIdx);
    throw new Error(OF_ANOTHER);
  }

  async #yieldAddresses(pod: HeldPod, workload: Workload): Promise<void> {
    this.#parts.failed.add(new Error(OF_ANOTHER), workload, "pod not captured");
    await this.#uncapture(pod, workload);
  }

  async #disown(pod: HeldPod, guard: Workload | undefined): Promise<void> {
    await this.#uncapture(pod, guard);
    this.#parts.disowned(pod.podUid, this.#parts.known.found.get(pod.podUid)?.podIdx);
  }

  /** Of an earlier agent, or of an attempt that has ended: whether it is captured only the keeper knows. */
  async #disownFound(podUid: string, podIdx: number, guard: Workload | undefined): Promise<void> {
    await this.#releaseToGuard({ podIdx, podUid }, guard);
    this.#ports.tables.removePod(podIdx);
    this.#parts.disowned(podUid, this.#parts.known.found.get(podUid)?.podIdx);
  }

  /** The pod was captured under what may not be its own: nothing of that stays. */
  async #uncapture(pod: HeldPod, guard: Workload | undefined): Promise<void> {
    const { known, service } = this.#parts;
    const leaving: HeldPod = { ...pod, state: "leaving" };
    known.pods.set(leaving);
    try {
      await this.#releaseToGuard(pod, guard);
    } catch (error) {
      if (known.pods.get(pod.podUid) === leaving) known.pods.set(pod);
      throw error;
    }
    await service.end(pod, true);
  }

  /** Capture goes; a pod that policy says anything about refuses from then on. */
  async #releaseToGuard(
    { podIdx, podUid }: Pick<HeldPod, "podIdx" | "podUid">,
    guard: Workload | undefined,
  ): Promise<void> {
    const { known, guards } = this.#parts;
    const { keeper, tables } = this.#ports;
    const before = known.found.get(podUid);
    const isFound = before?.podIdx === podIdx;
    if (isFound) known.found.delete(podUid);
    try {
      if (guard !== undefined && !tables.failDirect(guard)) return await guards.releaseTo(podIdx, guard);
      guards.forget(podUid, podIdx);
      await keeper.release({ podIdx, uid: podUid });
    } catch (error) {
      // A keeper that did not answer in time may hold it still.
      if (isFound && !known.found.has(podUid)) known.found.set(podUid, before);
      throw error;
    }
  }

  /** Capture off first; what was captured goes on to its end. */
  async #release(pod: HeldPod): Promise<void> {
    const { known, service, guards, times } = this.#parts;
    const leaving: HeldPod = { ...pod, state: "leaving" };
    known.pods.set(leaving);
    guards.forget(pod.podUid, pod.podIdx);
    try {
      await this.#ports.keeper.release(refOf(pod));
    } catch (error) {
      if (known.pods.get(pod.podUid) === leaving) known.pods.set(pod);
      throw error;
    }
    guards.ended(pod.podUid);
    await service.serveUncertified(pod.podIdx);
    await this.#ports.threads.leavePod(pod.podIdx);
    await sleep(times.linger);
    await service.end(pod, false);
  }
}

/** A program with NET_ADMIN chooses the addresses of its namespace: the mesh must not have them for anybody else. */
export function isOfAnother(
  mesh: Pick<NodeEnrollmentPorts["mesh"], "workloadAt" | "rivalsAt" | "serviceAt">,
  addresses: readonly string[],
  { uid }: Workload,
): boolean {
  return addresses.some(
    (address) =>
      mesh.serviceAt(address) !== undefined ||
      [mesh.workloadAt(address) ?? mesh.rivalsAt(address)].flat().some((workload) => workload.uid !== uid),
  );
}
