// 18 · any thread · copies of a request that its rule asks for: which of them, where each goes, and whether it may. Pure.
import type { RouteEntry } from "../l7/route-table.ts";
import { mayLeadTo } from "../l7/route-view.ts";
import type { RouteMirror } from "../mesh/http-rule.ts";
import { type ForwardPlan, forwarded, type RequestWorld, type RoutedFacts } from "./forwarded-request.ts";

/** `to`: `<namespace>/<name>:<port>`, as its filter names it. */
export type MirrorPlan =
  | { readonly kind: "send"; readonly to: string; readonly plan: ForwardPlan }
  | { readonly kind: "refuse"; readonly to: string; readonly why: MirrorRefusal };

/** Why a copy is not sent. A closed list. */
export const mirrorRefusals = [
  "bad-backend", // its Service does not exist, has no such port, or is of a namespace to which the route may not lead
  "no-endpoint", // nobody answers for it
  "policy", //      both pods are of this node, and the destination's policy or its limits refuse it
  "too-long", //    what the rule would write is longer than an answer to the engine may be
] as const;
export type MirrorRefusal = (typeof mirrorRefusals)[number];

/** Each of a rule's is drawn for itself. */
export const isDrawn = ({ numerator, denominator }: RouteMirror, { random }: Pick<RequestWorld, "random">): boolean =>
  random() * denominator < numerator;

/** As a request of the same pod to its Service would be planned, with what the rule changes; of its health nothing is learned. */
export function planMirror(
  facts: RoutedFacts,
  { entry, mirror: { backend } }: { readonly entry: RouteEntry; readonly mirror: RouteMirror },
  world: Omit<RequestWorld, "health">,
): MirrorPlan {
  const to = `${backend.service ?? "-"}:${backend.port ?? "-"}`;
  const named = backend.service;
  const mayGo = named !== null && mayLeadTo(entry.route, named, facts.source.namespace);
  const service = mayGo ? world.mesh.service(named) : undefined;
  const port = service?.ports.find((each) => each.port === backend.port);
  if (service === undefined || port === undefined) return { kind: "refuse", to, why: "bad-backend" };
  const plan = forwarded(facts, { service, port, entry, backend }, world);
  if (plan.kind === "forward") return { kind: "send", to, plan };
  const why = mirrorRefusals.find((known) => known === plan.why);
  return { kind: "refuse", to, why: why ?? "no-endpoint" };
}
