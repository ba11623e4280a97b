// 3 · main thread · who should be enrolled here: workloads of this node against what the keeper holds → requests. Pure.
import type { Workload } from "../mesh/workload.ts";

/** A pod that the keeper holds for us. */
export type EnrolledPod = {
  readonly podIdx: number;
  readonly podUid: string;
  readonly workloadUid: string;
  readonly addresses: readonly string[];
};

export type PodChanges = {
  readonly enrol: readonly Workload[];
  readonly release: readonly EnrolledPod[];
  /** Workloads that claim a pod which another one has; the first by uid keeps it. */
  readonly conflicts: readonly Workload[];
};

/** What has to be asked of the keeper so that exactly the mesh's pods of `node` are enrolled. Releases come first. */
export function podChanges(workloads: Iterable<Workload>, node: string, enrolled: readonly EnrolledPod[]): PodChanges {
  const wanted = new Map<string, Workload>();
  const conflicts: Workload[] = [];
  const ours = [...workloads].filter((one) => belongsHere(one, node)).sort((a, b) => (a.uid < b.uid ? -1 : 1));
  for (const workload of ours) {
    if (wanted.has(workload.podUid)) conflicts.push(workload);
    else wanted.set(workload.podUid, workload);
  }
  const release = enrolled.filter((pod) => {
    const workload = wanted.get(pod.podUid);
    return workload === undefined || !sameEnrolment(pod, workload);
  });
  const kept = new Set(enrolled.filter((pod) => !release.includes(pod)).map((pod) => pod.podUid));
  return { enrol: [...wanted.values()].filter((one) => !kept.has(one.podUid)), release, conflicts };
}

function belongsHere(workload: Workload, node: string): boolean {
  return (
    workload.node === node && workload.protocol === "hbone" && workload.podUid !== "" && workload.addresses.length > 0
  );
}

/** Listeners and kernel entries are made for addresses: other addresses are another enrolment. */
function sameEnrolment(pod: EnrolledPod, workload: Workload): boolean {
  return (
    pod.workloadUid === workload.uid &&
    pod.addresses.length === workload.addresses.length &&
    pod.addresses.every((address) => workload.addresses.includes(address))
  );
}
