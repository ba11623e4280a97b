// 3 · main thread · which workload has which pod of this node, and which pods several claim. Pure.
import type { RuntimeName } from "../keeper/protocol.ts";
import { isStaticPodUid, type Workload } from "../mesh/workload.ts";

export type DesiredPods = {
  /** By pod UID, the workload that is to be enrolled as that pod. */
  readonly pods: ReadonlyMap<string, Workload>;
  /** UIDs of pods that are those of workloads outside the mesh. */
  readonly outside: ReadonlySet<string>;
  /** By pod UID, who claims it, where several do, or a single workload of which nothing says that the pod is its own. */
  readonly rivalries: ReadonlyMap<string, PodRivalry>;
};

/**
 * Several workloads of a node claim a UID, or a single workload claims a static pod's. Only a pod that the API server itself has named has a UID
 * that no other can have: a static pod's is in an annotation of its mirror, and every user who may create pods may write such annotations
 * (control/kinds/static-pod.ts).
 */
export type PodRivalry = {
  /** In the order of their uids. Those outside the mesh are among them: the pod may be theirs. */
  readonly claimants: readonly Workload[];
  /**
   * Of a static pod that the container runtime has named, the claimant of that name. Otherwise the only claimant with an address: nobody but the
   * kubelet writes addresses, and it writes them of pods that it runs; the keeper looks whether the pod's namespace has them before it captures.
   * Undefined: nobody knows whose pod it is, and it is enrolled as nobody's.
   */
  readonly owner: Workload | undefined;
};

/**
 * The pods that the mesh wants captured on `node`.
 * @param called by the UID of a static pod, what the container runtime calls it. The UID is a hash of the pod's file, its name among the rest
 */
export function desiredPods(
  workloads: Iterable<Workload>,
  node: string,
  called: ReadonlyMap<string, RuntimeName> = new Map(),
): DesiredPods {
  const claims = Map.groupBy(
    [...workloads].filter((workload) => workload.node === node && workload.podUid !== ""),
    ({ podUid }) => podUid,
  );
  const rivalries = new Map<string, PodRivalry>();
  const owners: Workload[] = [];
  const outside = new Set<string>();
  for (const [podUid, claimants] of claims) {
    const owner = ownerOf(claimants, called.get(podUid));
    if (claimants.length > 1 || owner === undefined)
      rivalries.set(podUid, { claimants: claimants.toSorted(byUid), owner });
    if (owner?.protocol === "hbone") owners.push(owner);
    else if (owner !== undefined) outside.add(podUid);
  }
  const pods = new Map(owners.toSorted(byUid).map((workload) => [workload.podUid, workload]));
  return { pods, outside, rivalries };
}

/** Whether the pod is to be enrolled as nobody's. */
export function isDisputed({ rivalries }: Pick<DesiredPods, "rivalries">, podUid: string): boolean {
  const rivalry = rivalries.get(podUid);
  return rivalry !== undefined && rivalry.owner === undefined;
}

/** Whether the pod is claimed by several, and that workload does not have it. */
export function isRivalsPod(
  { rivalries }: Pick<DesiredPods, "rivalries">,
  { podUid, workloadUid }: { readonly podUid: string; readonly workloadUid: string },
): boolean {
  const rivalry = rivalries.get(podUid);
  return rivalry !== undefined && rivalry.owner?.uid !== workloadUid;
}

/** Of each disputed pod that policy of some claimant protects, the first such claimant: under its name the pod is guarded. */
export function disputedGuards(
  { rivalries }: Pick<DesiredPods, "rivalries">,
  failDirect: (workload: Workload) => boolean,
): readonly Workload[] {
  return [...rivalries.values()].flatMap(({ claimants, owner }) => {
    if (owner !== undefined) return [];
    return claimants.find((workload) => workload.protocol === "hbone" && !failDirect(workload)) ?? [];
  });
}

function ownerOf(claimants: readonly Workload[], called: RuntimeName | undefined): Workload | undefined {
  const [first, ...others] = claimants;
  if (first === undefined || !isStaticPodUid(first.podUid))
    return others.length === 0 ? first : onlyAddressed(claimants);
  if (called === undefined) return onlyAddressed(claimants);
  return claimants.find(({ namespace, name }) => namespace === called.namespace && name === called.name);
}

function onlyAddressed(claimants: readonly Workload[]): Workload | undefined {
  const [first, ...others] = claimants.filter(({ addresses }) => addresses.length > 0);
  return others.length === 0 ? first : undefined;
}

const byUid = (one: Workload, other: Workload): number => (one.uid < other.uid ? -1 : 1);
