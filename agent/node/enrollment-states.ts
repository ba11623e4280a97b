// main thread · what operators see of the node's pods: each pod that the mesh wants here, whether or not it is held, and each that
// is held although the mesh does not name it. Pure.
import type { PodState } from "../admin/source.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Workload } from "../mesh/workload.ts";
import type { DesiredPods, PodRivalry } from "./desired-pods.ts";
import type { HeldPod } from "./enrollment-plan.ts";

export type EnrollmentParts = {
  readonly desired: DesiredPods;
  readonly held: readonly HeldPod[];
  /** By pod UID, why a pod could not be enrolled, or not be changed. */
  readonly failed: ReadonlyMap<string, { readonly note: string }>;
  /** UIDs of pods that stay although the mesh does not name them. */
  readonly retained: ReadonlySet<string>;
};

export function podStates({ desired, held, failed, retained }: EnrollmentParts): readonly PodState[] {
  const byUid = new Map(held.map((pod) => [pod.podUid, pod]));
  const stays = new Map(held.flatMap((pod) => (retained.has(pod.podUid) ? [[pod.workloadUid, pod] as const] : [])));
  const wanted = [...desired.pods.values()].map((workload): PodState => {
    const pod = byUid.get(workload.podUid);
    return pod === undefined ? missing(workload, failed, stays.get(workload.uid)) : present(workload.uid, pod, failed);
  });
  const named = new Set([...desired.pods.values()].map(({ uid }) => uid));
  const unnamed = held
    .filter(({ podUid, workloadUid }) => !desired.pods.has(podUid) && !named.has(workloadUid))
    .filter(({ podUid }) => !desired.rivalries.has(podUid))
    .map(
      (pod): PodState => ({
        ...present(pod.workloadUid, pod, failed),
        ...(pod.state === "leaving" ? { state: "leaving" as const } : {}),
        note: retained.has(pod.podUid) ? elsewhere : "",
      }),
    );
  return [...wanted, ...unnamed, ...[...desired.rivalries.values()].flatMap(refused)];
}

/** Claimants that are in the mesh and do not have the pod. */
function refused({ claimants, owner }: PodRivalry): readonly PodState[] {
  const names = claimants.map(fullName).join(" and ");
  const claim =
    claimants.length === 1 ? "claims this static pod, of which the kubelet has said no address yet" : "claim this pod";
  const how = owner?.addresses.length === 0 ? "by its name" : "with its address";
  const has = owner === undefined ? "it is enrolled as nobody's" : `${fullName(owner)} has it, ${how}`;
  return claimants
    .filter((claimant) => claimant !== owner && claimant.protocol === "hbone")
    .map(({ uid }) => ({ workloadUid: uid, podIdx: null, state: "failed", note: `${names} ${claim}: ${has}` }));
}

const elsewhere = "the mesh has this workload on another node, but its pod is here: it stays captured";

function present(workloadUid: string, pod: HeldPod, failed: EnrollmentParts["failed"]): PodState {
  // A pod that leaves, and that the mesh wants again meanwhile, is enrolled anew.
  const state = pod.state === "captured" || pod.state === "orphaned" ? "captured" : "pending";
  return { workloadUid, podIdx: pod.podIdx, state, note: failed.get(pod.podUid)?.note ?? "" };
}

function missing(
  { uid, podUid, addresses }: Workload,
  failed: EnrollmentParts["failed"],
  stays: HeldPod | undefined,
): PodState {
  const note = failed.get(podUid)?.note ?? "";
  const more = stays === undefined ? "" : `; pod ${stays.podUid}, which was this workload's, stays captured`;
  return {
    workloadUid: uid,
    podIdx: stays?.podIdx ?? null,
    // A pod without an address is just beginning.
    state: note === "" || addresses.length === 0 ? "pending" : "failed",
    note: `${note}${more}`,
  };
}
