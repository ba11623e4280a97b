// main thread · LimitPolicies as `orlop get limits` and `orlop check` show them: what each says, for how many pods, and what the data threads
// of this agent have counted, all together.
import { fullName } from "../mesh/full-name.ts";
import { keyPartsText, type LimitPolicy, limitText } from "../mesh/limit-policy.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { lineText } from "../mesh/source-ref.ts";
import type { Finding, LimitView } from "./api.ts";
import type { AdminSource } from "./source.ts";

const CODE = "ORL4114";
/** So many are named; the rest is counted. */
const NAMED = 20;

export function limitViews({ mesh, node, limitState }: Pick<AdminSource, "mesh" | "node" | "limitState">): LimitView[] {
  const selected = selectedBy(mesh, node);
  return [...mesh.limitPolicies()].map((policy) => {
    const { everywhere = 0, here = 0 } = selected.get(policy) ?? {};
    const { admitted = 0, limited = 0, overflowed = 0, keys = 0 } = limitState(fullName(policy)) ?? {};
    const labels = Object.entries(policy.selector ?? {}).map(([key, value]) => `${key}=${value}`);
    const everything = policy.namespace === mesh.rootNamespace ? "mesh" : "namespace";
    return {
      ...{ name: policy.name, namespace: policy.namespace, mode: policy.mode, priority: policy.priority },
      limit: limitText(policy),
      burst: policy.burst,
      per: keyPartsText(policy.per),
      scope: labels.length === 0 ? everything : labels.join(","),
      ...{ selects: everywhere, here },
      nodeLimit: limitText({ ...policy, requests: policy.requests * here }),
      meshLimit: limitText({ ...policy, requests: policy.requests * everywhere }),
      ...{ admitted, limited, overflowed, keys },
      from: lineText(policy.from),
    };
  });
}

type SelectedCount = { everywhere: number; here: number };

/** Counted from the workloads, which the store's indexes lead to their limits: never limits times workloads. */
function selectedBy(mesh: Snapshot, node: string): ReadonlyMap<LimitPolicy, SelectedCount> {
  const selected = new Map<LimitPolicy, SelectedCount>();
  for (const workload of mesh.workloads())
    for (const policy of mesh.limitPoliciesFor(workload)) {
      const counted = selected.get(policy) ?? { everywhere: 0, here: 0 };
      counted.everywhere += 1;
      if (workload.node === node) counted.here += 1;
      selected.set(policy, counted);
    }
  return selected;
}

/** Limits that select no workload. A pod may come later, so nothing is refused for it. */
export function limitFindings({ mesh, node }: Pick<AdminSource, "mesh" | "node">): readonly Finding[] {
  const selected = selectedBy(mesh, node);
  const idle = [...mesh.limitPolicies()].filter((policy) => !selected.has(policy));
  const named = idle.slice(0, NAMED).map((policy) => {
    const line = lineText(policy.from);
    return finding(`${line === "" ? "" : `${line}: `}LimitPolicy ${fullName(policy)} selects no workload`);
  });
  const rest = idle.length - named.length;
  return rest > 0 ? [...named, finding(`${rest} more LimitPolicies select no workload`)] : named;
}

const finding = (what: string): Finding => ({
  ...{ code: CODE, status: "warn", what, why: "it limits nothing" },
  fix: "correct spec.selector.matchLabels or the namespace: orlop get workloads -o wide shows labels",
});
