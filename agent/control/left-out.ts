// any thread · pods of this node that their labels or their namespace put into the mesh, and that stay outside all the same: each kind of
// them, why, and what an operator may do. Pure.
import type { Workload } from "../mesh/workload.ts";

/**
 * - host-network: the pod has no network namespace of its own
 * - sidecar: another mesh's proxy is in the pod and takes its connections
 * - sandbox: its RuntimeClass may keep its sockets in a kernel of their own, where nothing of ours sees them
 */
export const leftOutReasons = ["host-network", "sidecar", "sandbox"] as const;
export type LeftOutReason = (typeof leftOutReasons)[number];

/** `because` names what in the pod shows it. A pod on its node's network has no addresses here: they are the node's. */
export type LeftOutPod = { readonly workload: Workload; readonly reason: LeftOutReason; readonly because: string };

const words: Readonly<Record<LeftOutReason, { readonly why: string; readonly fix: string }>> = {
  "host-network": {
    why: "it shares the node's network, so its connections cannot be told from the node's own",
    fix: "run it without hostNetwork, or label it orlop.dev/dataplane-mode: none",
  },
  sidecar: {
    why: "both would take its connections",
    fix: "take the sidecar out and start the pod anew, or label it orlop.dev/dataplane-mode: none",
  },
  sandbox: {
    why: "its sockets may be in a kernel of their own, where its node cannot capture them and no policy would hold",
    fix: "where the class runs pods in the node's kernel, name it in spec.runtimeClasses of the NodeConfig; else label the pod orlop.dev/dataplane-mode: none",
  },
};

export const leftOutWords = ({ reason }: Pick<LeftOutPod, "reason">): (typeof words)[LeftOutReason] => words[reason];

/** In a few words, for a table. */
export function leftOutNote({ reason, because }: Pick<LeftOutPod, "reason" | "because">): string {
  return `${reason}: ${because}`;
}

/** One line about all of them; empty: there are none. */
export function leftOutSummary(pods: readonly Pick<LeftOutPod, "reason">[]): string {
  const counts = leftOutReasons
    .map((reason) => ({ reason, count: pods.filter((pod) => pod.reason === reason).length }))
    .filter(({ count }) => count > 0)
    .map(({ reason, count }) => `${count} ${reason}`);
  if (counts.length === 0) return "";
  return `pods that their labels put into the mesh are left out of it (${counts.join(", ")}): orlop get pods -o wide`;
}
