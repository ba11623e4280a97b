// 18 · data thread · copies of a request that goes on: what the engine is asked for, and what of it is refused and only counted.
import type { MirrorCopy } from "../engine/answers.ts";
import type { RouteEntry } from "../l7/route-table.ts";
import type { RouteMirror } from "../mesh/http-rule.ts";
import { type ForwardPlan, gottenFacts, type RoutedFacts } from "../plan/forwarded-request.ts";
import { isDrawn, type MirrorRefusal, planMirror } from "../plan/plan-mirrors.ts";
import { withLimits } from "../policy/limits.ts";
import type { TrafficContext } from "./context.ts";
import type { OpenRequest } from "./open-request.ts";
import { originOf, poolOf } from "./origin-route.ts";

type AskedToCopy = { readonly entry: RouteEntry; readonly open: OpenRequest; readonly podIdx: number };

/**
 * null: there are none. Their connections are never those of requests, which would wait for them. An exception costs the copy that it
 * happened to, and neither its request nor another copy: it is counted and reported.
 */
export function copiesOf(
  { entry }: Pick<ForwardPlan, "entry">,
  facts: RoutedFacts,
  { open, podIdx }: Omit<AskedToCopy, "entry">,
  context: TrafficContext,
): readonly MirrorCopy[] | null {
  if (entry?.rule.mirrors === undefined) return null;
  const copies: MirrorCopy[] = [];
  for (const mirror of entry.rule.mirrors) {
    try {
      if (!isDrawn(mirror, context)) continue;
      const copy = copyOf(mirror, facts, { entry, open, podIdx }, context);
      if (typeof copy === "object") copies.push(copy);
      else context.recorder.mirrored(copy);
    } catch (fault) {
      context.copyFault(fault);
    }
  }
  return copies.length === 0 ? null : copies;
}

function copyOf(
  mirror: RouteMirror,
  facts: RoutedFacts,
  { entry, open, podIdx }: AskedToCopy,
  context: TrafficContext,
): MirrorCopy | MirrorRefusal {
  const { health: _, ...world } = context.requests;
  const planned = planMirror(facts, { entry, mirror }, world);
  if (planned.kind === "refuse") return planned.why;
  const { to, plan } = planned;
  const route = originOf(plan, facts, context);
  if (route === "lost") return "no-endpoint";
  if (withLimitsHere(plan, facts, context)?.verdict === "deny") return "policy";
  const { target, authority, removesProxyHeaders, requestEdits: requestHeaders } = plan;
  const origin = context.origins.numberOf(podIdx, route, poolOf(plan, facts, "copies", context), "copies");
  open.mirrored(to);
  return { origin, target, authority, removesProxyHeaders, requestHeaders };
}

/** Between two pods of this node nobody else counts the request for the destination's limits. */
export function withLimitsHere(plan: ForwardPlan, asked: RoutedFacts, context: TrafficContext): ForwardPlan["verdict"] {
  const { facts, verdict } = plan;
  if (facts === null || verdict?.verdict !== "allow") return verdict;
  return withLimits(verdict, context.limits(facts, gottenFacts(plan, asked)));
}
