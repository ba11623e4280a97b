// 3 · main thread · what must happen so that the pods that the kernel captures become the pods that the mesh wants here:
// desired pods and present pods → next steps. Pure; enrollment.ts carries the steps out and asks again until none is left.
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";

export type DesiredPods = {
  /** By pod UID. */
  readonly pods: ReadonlyMap<string, Workload>;
  /** Workloads that name a pod which another workload has; of several workloads the first by uid has it. */
  readonly conflicts: readonly Workload[];
};

/** A pod for which this agent holds a certificate and kernel verdicts. */
export type HeldPod = {
  /**
   * - preparing: the keeper has lent its listeners; the agent waits for its certificate, serves it, then asks for capture
   * - captured: served, and the kernel captures it
   * - orphaned: captured, but its listeners are those of a keeper that has gone
   * - leaving: capture is being turned off, or is off while the last waiting connections are accepted
   * - gone: the pod's namespace does not exist any more; its connections are being ended
   */
  readonly state: "preparing" | "captured" | "orphaned" | "leaving" | "gone";
  readonly podIdx: number;
  readonly podUid: string;
  readonly workloadUid: string;
  readonly addresses: readonly string[];
  /** Whose certificate the agent holds for the pod. */
  readonly identity: SpiffeId;
  /** What the kernel does with the pod's connections while no agent lives: let them go direct, or refuse them. */
  readonly failDirect: boolean;
};

export type PresentPods = {
  readonly held: Iterable<HeldPod>;
  /**
   * By UID, the index of each pod for which the keeper holds listeners or capture, of an earlier agent or of an attempt
   * that failed.
   */
  readonly found: ReadonlyMap<string, number>;
  /** UIDs of pods that could not be enrolled and are not due again yet. */
  readonly resting: ReadonlySet<string>;
};

export type EnrollmentStep =
  /** Close the listeners of a keeper that has gone, so that the present keeper can open its own. Connections stay. */
  | { readonly op: "abandon"; readonly pod: HeldPod }
  /** Turn capture off, then stop serving. What was captured goes on to its end. */
  | { readonly op: "release"; readonly pod: HeldPod }
  /** The keeper holds something for a pod that the mesh does not name: listeners and capture go. */
  | { readonly op: "release-found"; readonly podUid: string; readonly podIdx: number }
  | { readonly op: "enroll"; readonly workload: Workload }
  | { readonly op: "set-fail-mode"; readonly pod: HeldPod; readonly failDirect: boolean }
  | { readonly op: "set-identity"; readonly pod: HeldPod; readonly identity: SpiffeId };

/** The pods that the mesh wants captured on `node`. */
export function desiredPods(workloads: Iterable<Workload>, node: string): DesiredPods {
  const pods = new Map<string, Workload>();
  const conflicts: Workload[] = [];
  const here = [...workloads].filter((workload) => belongsHere(workload, node));
  for (const workload of here.toSorted((a, b) => (a.uid < b.uid ? -1 : 1))) {
    if (pods.has(workload.podUid)) conflicts.push(workload);
    else pods.set(workload.podUid, workload);
  }
  return { pods, conflicts };
}

/**
 * The steps that may be carried out together now; empty when the present is as desired. A step comes only when all earlier
 * kinds of steps are done: pods leave before pods come, since both may claim the same address.
 * @param failDirect what the kernel should do with the workload's connections while no agent lives; asked as late as possible
 */
export function nextSteps(
  { pods }: Pick<DesiredPods, "pods">,
  present: PresentPods,
  failDirect: (workload: Workload) => boolean,
): readonly EnrollmentStep[] {
  const held = [...present.held];
  const heldUids = new Set(held.map(({ podUid }) => podUid));
  const leaving: readonly EnrollmentStep[] = [
    ...held.filter(({ state }) => state === "orphaned").map((pod) => ({ op: "abandon", pod }) as const),
    ...held.filter((pod) => isUnwanted(pod, pods)).map((pod) => ({ op: "release", pod }) as const),
    ...[...present.found]
      .filter(([podUid]) => !pods.has(podUid) && !heldUids.has(podUid))
      .map(([podUid, podIdx]) => ({ op: "release-found", podUid, podIdx }) as const),
  ];
  if (leaving.length > 0) return leaving;
  const missing = [...pods.values()].find(({ podUid }) => !heldUids.has(podUid) && !present.resting.has(podUid));
  if (missing !== undefined) return [{ op: "enroll", workload: missing }];
  return held.flatMap((pod) => adjustments(pod, pods.get(pod.podUid), failDirect));
}

function isUnwanted(pod: HeldPod, desired: ReadonlyMap<string, Workload>): boolean {
  if (pod.state !== "captured") return false;
  const workload = desired.get(pod.podUid);
  return workload === undefined || !sameEnrollment(pod, workload);
}

function adjustments(
  pod: HeldPod,
  workload: Workload | undefined,
  failDirect: (workload: Workload) => boolean,
): readonly EnrollmentStep[] {
  if (pod.state !== "captured" || workload === undefined) return [];
  const steps: EnrollmentStep[] = [];
  const direct = failDirect(workload);
  if (direct !== pod.failDirect) steps.push({ op: "set-fail-mode", pod, failDirect: direct });
  if (workload.identity.text !== pod.identity.text) {
    steps.push({ op: "set-identity", pod, identity: workload.identity });
  }
  return steps.slice(0, 1); // Each step replaces the pod: the second is planned anew.
}

function belongsHere(workload: Workload, node: string): boolean {
  return (
    workload.node === node && workload.protocol === "hbone" && workload.podUid !== "" && workload.addresses.length > 0
  );
}

/** The keeper makes listeners and kernel entries for addresses, so other addresses are another enrollment. */
function sameEnrollment(pod: HeldPod, workload: Workload): boolean {
  return (
    pod.workloadUid === workload.uid &&
    pod.addresses.length === workload.addresses.length &&
    pod.addresses.every((address) => workload.addresses.includes(address))
  );
}
