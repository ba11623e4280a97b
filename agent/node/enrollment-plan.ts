// 3 · main thread · what must happen so that the pods that the kernel captures become the pods that the mesh wants here:
// desired pods and present pods → next steps. Pure; enrollment.ts carries the steps out and asks again until none is left.
import type { PodRef } from "../keeper/protocol.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import { type DesiredPods, disputedGuards, isDisputed, isRivalsPod } from "./desired-pods.ts";

/** A pod for which this agent holds a certificate and kernel verdicts. */
export type HeldPod = {
  /**
   * - preparing: the keeper has lent its listeners; the threads are given them, then the agent asks for capture
   * - captured: served, and the kernel captures it
   * - orphaned: captured, but its listeners are those of a keeper that has gone
   * - leaving: capture is being turned off, or is off while the last waiting connections are accepted
   * - gone: the pod's namespace does not exist any more; its connections are being ended
   */
  readonly state: "preparing" | "captured" | "orphaned" | "leaving" | "gone";
  readonly podIdx: number;
  readonly podUid: string;
  readonly netnsCookie: bigint;
  readonly preservesSource: boolean;
  readonly workloadUid: string;
  readonly addresses: readonly string[];
  /** Whether the mesh has named these addresses for the pod. If not, the keeper found them in the pod's namespace. */
  readonly named: boolean;
  /** Captured before this agent held it, perhaps under addresses that the mesh named then. */
  readonly takenOver: boolean;
  /** Whose certificate the agent holds for the pod. */
  readonly identity: SpiffeId;
  /** What the kernel does with the pod's connections while no agent lives: let them go direct, or refuse them. */
  readonly failDirect: boolean;
};

/** What the keeper is asked about it by. */
export const refOf = ({ podIdx, podUid }: Pick<HeldPod, "podIdx" | "podUid">): PodRef => ({ podIdx, uid: podUid });

/** A pod for which the keeper holds listeners, capture or a guard, while this agent does not hold it. */
export type UnservedPod = {
  readonly podIdx: number;
  /** Undefined: the agent has not asked the keeper yet. */
  readonly known: KnownPod | undefined;
};

/** The workload under which the pod was enrolled, and its addresses; empty where the keeper does not know. */
export type KnownPod = Pick<HeldPod, "workloadUid" | "addresses">;

export type PresentPods = {
  readonly held: Iterable<HeldPod>;
  /** By UID: of an earlier agent, of an attempt that failed, or guarded until the pod can be enrolled. */
  readonly found: ReadonlyMap<string, UnservedPod>;
  /** By UID, the workload under which this agent has asked the present keeper to guard the pod. */
  readonly guarded: ReadonlyMap<string, string>;
  /** By UID, the workload as which the present keeper knows the pod. */
  readonly named: ReadonlyMap<string, string>;
  /** UIDs of pods that the mesh named without an address, and that have not been captured since. */
  readonly beginning: ReadonlySet<string>;
  /** UIDs of pods that could not be enrolled or changed, and are not due again yet. */
  readonly resting: ReadonlySet<string>;
  /** Of those, the pods that are there, but whose address or namespace another enrolled pod has. */
  readonly contested: ReadonlySet<string>;
  /** UIDs of pods of which a step is under way. */
  readonly busy: ReadonlySet<string>;
  /** By UID, the index under which this agent has taken a disputed pod out of capture. */
  readonly disowned: ReadonlyMap<string, number>;
};

/** What the mesh says of workloads. */
export type PlanQuestions = {
  /** Whether the kernel lets the workload's connections go direct while no agent lives. */
  readonly failDirect: (workload: Workload) => boolean;
  /** Whether plaintext to some port of it is refused, so that its first enrollment begins with a guard. */
  readonly refusesPlaintext: (workload: Workload) => boolean;
  /**
   * The workload of that UID, or else a workload with any of these addresses, on whatever node, if it belongs to the mesh: its
   * name and its pod may both have been edited.
   */
  readonly memberLike: (pod: KnownPod) => Workload | undefined;
  /** Whether the mesh has an address of the pod for anybody but that workload of it. */
  readonly isOfAnother: (pod: Pick<HeldPod, "addresses">, workload: Workload) => boolean;
};

export type EnrollmentStep =
  /** From now on the pod refuses what nobody serves. The agent asks the keeper for this before anything that may fail. */
  | { readonly op: "guard"; readonly workload: Workload }
  /** Close the listeners of a keeper that has gone, so that the present keeper can open its own. Connections stay. */
  | { readonly op: "abandon"; readonly pod: HeldPod }
  /** Turn capture off, then stop serving. What was captured goes on to its end. */
  | { readonly op: "release"; readonly pod: HeldPod }
  /** Ask the keeper whose pod it was. */
  | { readonly op: "identify-found"; readonly podUid: string; readonly podIdx: number }
  /** The keeper holds something for a pod that the mesh does not name: listeners, capture and guard go. */
  | { readonly op: "release-found"; readonly podUid: string; readonly podIdx: number }
  | { readonly op: "enroll"; readonly workload: Workload }
  /** The pod is captured as a workload that may not be its own: capture goes, and a pod that policy says anything about is guarded. */
  | { readonly op: "disown"; readonly pod: HeldPod; readonly guard: Workload | undefined }
  /** The same of a pod that an earlier agent has captured, perhaps. */
  | {
      readonly op: "disown-found";
      readonly podUid: string;
      readonly podIdx: number;
      readonly guard: Workload | undefined;
    }
  | { readonly op: "set-workload"; readonly pod: HeldPod; readonly workload: Workload }
  /** The keeper learns what the mesh calls the pod, for the agent that comes after this. */
  | { readonly op: "name"; readonly pod: HeldPod; readonly workload: Workload }
  /** The pod is captured under what its namespace had, and the mesh has that for another: capture goes, the pod is guarded. */
  | { readonly op: "yield-addresses"; readonly pod: HeldPod; readonly workload: Workload }
  | { readonly op: "set-addresses"; readonly pod: HeldPod; readonly workload: Workload }
  | { readonly op: "set-fail-mode"; readonly pod: HeldPod; readonly failDirect: boolean }
  | { readonly op: "set-identity"; readonly pod: HeldPod; readonly identity: SpiffeId };

/** Whose step it is. Of a pod at most one step is under way. */
export function podOf(step: EnrollmentStep): string {
  if ("podUid" in step) return step.podUid;
  return "pod" in step ? step.pod.podUid : step.workload.podUid;
}

/**
 * The steps that may begin now, at most one for each pod that is not busy, and the more urgent first. Pods do not wait for each other, with
 * two exceptions: a pod waits while another gives up an address that it claims; and after a keeper has come, what was of the keeper before
 * goes first, since an index may mean another pod now, and the pods that the keeper holds are asked whose they are, and with which address.
 */
export function nextSteps(
  desired: DesiredPods,
  present: PresentPods,
  questions: PlanQuestions,
): readonly EnrollmentStep[] {
  const { pods } = desired;
  const { found, resting, busy, named } = present;
  const guards = new Map(disputedGuards(desired, questions.failDirect).map((guard) => [guard.podUid, guard]));
  const held = [...present.held];
  const heldUids = new Set(held.map(({ podUid }) => podUid));
  const unheld = [...found].filter(([podUid]) => !heldUids.has(podUid));
  const candidates: readonly EnrollmentStep[] = [
    ...held
      .filter((pod) => pod.state === "captured" && isRivalsPod(desired, pod))
      .map((pod) => ({ op: "disown", pod, guard: pods.get(pod.podUid) ?? guards.get(pod.podUid) }) as const),
    ...guardsOf(desired, present, questions).map((workload) => ({ op: "guard", workload }) as const),
    ...held.filter(({ state }) => state === "orphaned").map((pod) => ({ op: "abandon", pod }) as const),
    ...held
      .filter(({ state, podUid }) => state === "captured" && !pods.has(podUid))
      .filter((pod) => !isRetained(pod, desired, present, questions))
      .map((pod) => ({ op: "release", pod }) as const),
    ...unheld.flatMap(([podUid, pod]) => foundStep(podUid, pod, { desired, guards, present, questions })),
    ...held.flatMap((pod) => adjustments(pod, pods.get(pod.podUid), { resting, named }, questions)),
  ];
  const steps = new Map<string, EnrollmentStep>();
  for (const step of candidates) {
    const podUid = podOf(step);
    if (!busy.has(podUid) && !steps.has(podUid)) steps.set(podUid, step);
  }
  const isUnsettled =
    held.some(({ state }) => state === "orphaned") ||
    unheld.some(([podUid, { known }]) => known === undefined && !pods.has(podUid) && !isDisputed(desired, podUid));
  if (isUnsettled) return [...steps.values()];
  const givenUp = addressesGivenUp(held, found, (podUid) => busy.has(podUid) || steps.has(podUid));
  const missing = [...pods.values()].filter(
    ({ podUid, addresses }) =>
      !heldUids.has(podUid) &&
      !resting.has(podUid) &&
      !busy.has(podUid) &&
      !steps.has(podUid) &&
      !addresses.some((address) => (givenUp.get(address) ?? podUid) !== podUid),
  );
  return [...steps.values(), ...missing.map((workload) => ({ op: "enroll", workload }) as const)];
}

/** By address, the pod that has it and is just being changed, enrolled or released. */
function addressesGivenUp(
  held: readonly HeldPod[],
  found: PresentPods["found"],
  isMoving: (podUid: string) => boolean,
): ReadonlyMap<string, string> {
  const known = [...found].map(([podUid, pod]) => ({ podUid, addresses: pod.known?.addresses ?? [] }));
  const moving = [...held, ...known].filter(({ podUid }) => isMoving(podUid));
  return new Map(moving.flatMap(({ podUid, addresses }) => addresses.map((address) => [address, podUid] as const)));
}

/** The workloads whose pods the agent must ask the keeper to guard. A guard waits for no other step. */
export function guardsOf(
  desired: DesiredPods,
  { held, guarded, beginning }: Pick<PresentPods, "held" | "guarded" | "beginning">,
  { failDirect, refusesPlaintext }: Pick<PlanQuestions, "failDirect" | "refusesPlaintext">,
): readonly Workload[] {
  // A pod under policy alone is protected once it is captured: until then its connections go on as they did.
  const captured = new Set([...held].flatMap(({ podUid, state }) => (state === "captured" ? [podUid] : [])));
  // A pod that does not run yet has no connections that go on. Its address may reach the mesh before its guard does.
  const begins = ({ podUid, addresses }: Workload): boolean => addresses.length === 0 || beginning.has(podUid);
  const owned = [...desired.pods.values()].filter((workload) =>
    captured.has(workload.podUid) || begins(workload) ? !failDirect(workload) : refusesPlaintext(workload),
  );
  return [...owned, ...disputedGuards(desired, failDirect)].filter(({ podUid, uid }) => guarded.get(podUid) !== uid);
}

function foundStep(
  podUid: string,
  { podIdx, known }: UnservedPod,
  plan: {
    readonly desired: DesiredPods;
    /** By UID, the workload under which a disputed pod is guarded. */
    readonly guards: ReadonlyMap<string, Workload>;
    readonly present: PresentPods;
    readonly questions: PlanQuestions;
  },
): readonly EnrollmentStep[] {
  const { desired, guards, present, questions } = plan;
  if (isDisputed(desired, podUid)) {
    const guard = guards.get(podUid);
    const isNeedless = guard === undefined && present.guarded.has(podUid);
    if (present.disowned.get(podUid) === podIdx && !isNeedless) return [];
    return [{ op: "disown-found", podUid, podIdx, guard }];
  }
  const workload = desired.pods.get(podUid);
  const release = { op: "release-found", podUid, podIdx } as const;
  if (workload !== undefined) {
    // The pod cannot be enrolled, and the mesh no longer wants it to refuse plaintext: its guard goes.
    const needless = present.resting.has(podUid) && present.guarded.has(podUid) && questions.failDirect(workload);
    return needless ? [release] : [];
  }
  if (known === undefined) return [{ op: "identify-found", podUid, podIdx }];
  return isRetained({ podUid, ...known }, desired, present, questions) ? [] : [release];
}

/**
 * The mesh does not name this pod of a workload that it still has: it puts the workload on another node, or names another pod
 * for it. It may be wrong, and the pod stays as protected as it was: until the workload leaves the mesh, or the pod that the mesh
 * names is captured, or is there and needs what this pod has.
 */
export function isRetained(
  pod: KnownPod & Pick<HeldPod, "podUid">,
  { pods, outside, rivalries }: DesiredPods,
  { held, contested }: Pick<PresentPods, "held" | "contested">,
  { memberLike }: Pick<PlanQuestions, "memberLike">,
): boolean {
  // Somebody else has the pod, or may have it.
  if (rivalries.has(pod.podUid) || outside.has(pod.podUid)) return false;
  const member = memberLike(pod);
  if (member === undefined) return false;
  const named = [...pods.values()].find(({ uid }) => uid === member.uid)?.podUid;
  if (named === undefined) return true;
  return !contested.has(named) && ![...held].some(({ podUid, state }) => podUid === named && state === "captured");
}

function adjustments(
  pod: HeldPod,
  workload: Workload | undefined,
  { resting, named }: Pick<PresentPods, "resting" | "named">,
  { failDirect, isOfAnother }: Pick<PlanQuestions, "failDirect" | "isOfAnother">,
): readonly EnrollmentStep[] {
  if (pod.state !== "captured" || workload === undefined) return [];
  const isUnnamed = !pod.named && workload.addresses.length === 0;
  if (isUnnamed && isOfAnother(pod, workload)) return [{ op: "yield-addresses", pod, workload }];
  const direct = failDirect(workload);
  // A step changes what is known of the pod, so only the first difference is planned; the next plan finds the others.
  if (pod.workloadUid !== workload.uid) return [{ op: "set-workload", pod, workload }];
  if (named.get(pod.podUid) !== workload.uid) return [{ op: "name", pod, workload }];
  if (direct !== pod.failDirect) return [{ op: "set-fail-mode", pod, failDirect: direct }];
  if (workload.identity.text !== pod.identity.text) return [{ op: "set-identity", pod, identity: workload.identity }];
  if (!sameAddresses(pod, workload) && !resting.has(pod.podUid)) return [{ op: "set-addresses", pod, workload }];
  return [];
}

/** A workload without addresses has those that the keeper found in the pod's namespace. */
export function sameAddresses(pod: Pick<HeldPod, "addresses">, workload: Pick<Workload, "addresses">): boolean {
  if (workload.addresses.length === 0) return true;
  return (
    pod.addresses.length === workload.addresses.length &&
    pod.addresses.every((address) => workload.addresses.includes(address))
  );
}
