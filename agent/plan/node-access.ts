// any thread · programs of the node that the keeper lets in to pods: which ports of a pod they reach, and what to say of a call of
// theirs. Pure.
import type { Workload } from "../mesh/workload.ts";

/** What the keeper lets in, in words. */
export type LetInOfNode = {
  readonly node: string;
  readonly mode: "none" | "kubelet" | "node";
  readonly programs: readonly string[];
  /** Why something that the node's configuration allows is not let in; empty: nothing is wrong. */
  readonly problem: string;
};

/** A program of the node that is let in reaches these ports of the pod; null: every port. Without duplicates. */
export function nodePortsOf({ probePorts }: Pick<Workload, "probePorts">): readonly number[] | null {
  return probePorts === null ? null : [...new Set(probePorts)];
}

/** Why a program of that node is judged like anybody else at this port of the pod; null: it is let in. */
export function whyJudged(access: LetInOfNode, pod: Workload | undefined, port: number): string | null {
  if (pod === undefined) return "only a pod's own address is dialled past its policy";
  if (pod.protocol === "none") return "the destination is not in the mesh";
  if (pod.node !== access.node) return "the destination is on another node";
  if (access.programs.length === 0) return access.problem || `nodeAccess is ${access.mode}`;
  const ports = nodePortsOf(pod);
  if (ports === null || ports.includes(port)) return null;
  const known = ports.length === 0 ? "none" : ports.join(", ");
  return `port ${port} is not a port of its probes and hooks: ${known}`;
}
