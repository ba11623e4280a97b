// main thread · policies as an operator sees them, each with how many workloads it selects. Pure.
import type { AuthorizationPolicy, PeerAuthentication } from "../mesh/policies.ts";
import { lineText } from "../mesh/source-ref.ts";
import type { PolicyView } from "./api.ts";
import { byName } from "./order.ts";
import type { AdminSource } from "./source.ts";

export function policyViews({ mesh }: Pick<AdminSource, "mesh">): readonly PolicyView[] {
  // Counted from the workloads, which the store's indexes lead to their policies: never policies times workloads.
  const selected = new Map<AuthorizationPolicy | PeerAuthentication, number>();
  for (const workload of mesh.workloads()) {
    for (const policy of [...mesh.authorizationPoliciesFor(workload), ...mesh.peerAuthenticationsFor(workload)]) {
      selected.set(policy, (selected.get(policy) ?? 0) + 1);
    }
  }
  const common = (
    policy: AuthorizationPolicy | PeerAuthentication,
  ): Pick<PolicyView, "name" | "namespace" | "scope" | "selects" | "from"> => {
    // A selector without labels selects everything, as none does.
    const text = Object.entries(policy.selector ?? {}).map(([key, value]) => `${key}=${value}`);
    const everything = policy.namespace === mesh.rootNamespace ? "mesh" : "namespace";
    return {
      name: policy.name,
      namespace: policy.namespace,
      scope: text.length === 0 ? everything : text.join(","),
      selects: selected.get(policy) ?? 0,
      from: lineText(policy.from),
    };
  };
  const views: PolicyView[] = [];
  for (const policy of mesh.authorizationPolicies()) {
    views.push({
      kind: "AuthorizationPolicy",
      ...common(policy),
      action: policy.action,
      enforcement: policy.dryRun ? "dry-run" : "enforce",
      rules: policy.rules.length,
    });
  }
  for (const policy of mesh.peerAuthentications()) {
    views.push({
      kind: "PeerAuthentication",
      ...common(policy),
      action: policy.mode,
      enforcement: "enforce",
      rules: 0,
    });
  }
  return views.toSorted(byName);
}
