// 18 · data thread · copies of a request that goes on: what the engine is asked for, and what of it is refused and only counted.
import type { MirrorCopy } from "../engine/answers.ts";
import { type ForwardPlan, gottenFacts, type RoutedFacts } from "../plan/forwarded-request.ts";
import { planMirrors } from "../plan/plan-mirrors.ts";
import { withLimits } from "../policy/limits.ts";
import type { TrafficContext } from "./context.ts";
import type { OpenRequest } from "./open-request.ts";
import { originOf } from "./origin-route.ts";

/** null: there are none. Their connections are never those of requests, which would wait for them. */
export function copiesOf(
  { entry }: ForwardPlan,
  facts: RoutedFacts,
  { open, podIdx }: { readonly open: OpenRequest; readonly podIdx: number },
  context: TrafficContext,
): readonly MirrorCopy[] | null {
  if (entry?.rule.mirrors === undefined) return null;
  const copies: MirrorCopy[] = [];
  const { health: _, ...world } = context.requests;
  for (const mirror of planMirrors(facts, entry, world)) {
    if (mirror.kind === "refuse") {
      context.recorder.mirrored(mirror.why);
      continue;
    }
    const { plan } = mirror;
    const route = originOf(plan, facts, context);
    if (route === "lost" || withLimitsHere(plan, facts, context)?.verdict === "deny") {
      context.recorder.mirrored(route === "lost" ? "no-endpoint" : "policy");
      continue;
    }
    const { target, authority, removesProxyHeaders, requestEdits: requestHeaders } = plan;
    const origin = context.origins.numberOf(podIdx, route, "copies");
    copies.push({ origin, target, authority, removesProxyHeaders, requestHeaders });
    open.mirrored(mirror.to);
  }
  return copies.length === 0 ? null : copies;
}

/** Between two pods of this node nobody else counts the request for the destination's limits. */
export function withLimitsHere(plan: ForwardPlan, asked: RoutedFacts, context: TrafficContext): ForwardPlan["verdict"] {
  const { facts, verdict } = plan;
  if (facts === null || verdict?.verdict !== "allow") return verdict;
  return withLimits(verdict, context.limits(facts, gottenFacts(plan, asked)));
}
