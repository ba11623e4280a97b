// 18, 20 · any thread · a request that need not exist, to a port that has routes: the rule that takes it, why those before it do not, and
// what becomes of it, by the plan that real requests get. Pure.

import { requestFacts } from "../l7/request-facts.ts";
import type { RouteEntry, RouteTable } from "../l7/route-table.ts";
import { MOST_TRIED, missOf, type RouteMiss } from "../l7/route-table.ts";
import { RouteTables } from "../l7/route-tables.ts";
import { ruleName } from "../mesh/full-name.ts";
import { changesText, matchText, outcomeText } from "../mesh/http-rule-text.ts";
import type { Service } from "../mesh/service.ts";
import { positionText } from "../mesh/source-ref.ts";
import type { Step } from "../policy/decision.ts";
import type { Evaluator } from "../policy/evaluate.ts";
import { drawn } from "./drawn.ts";
import type { EjectedEndpoint } from "./ejection.ts";
import { breakerStep, endpointStep, faultStep, healthOf } from "./explain-resilience.ts";
import { type Chosen, gottenFacts, type RequestPlan, type RoutedFacts } from "./forwarded-request.ts";
import { planRequest } from "./plan-request.ts";
import type { RouteWorld } from "./route.ts";

export type RouteExplanation = {
  /** The rules, and the outcome. */
  readonly steps: readonly Step[];
  readonly plan: RequestPlan;
  /** Of a request that goes on: as the destination's policy reads it. */
  readonly gets: ReturnType<typeof gottenFacts> | null;
};

/** More entries than these are counted. */
const SHOWN = 12;

/** @param service whose address is called, and whose port has routes */
export function explainRoute(
  facts: RoutedFacts,
  service: Service,
  world: RouteWorld & Pick<Evaluator, "judge"> & { readonly ejected?: readonly EjectedEndpoint[] },
): RouteExplanation {
  const routes = new RouteTables(world.mesh);
  const port = service.ports.find((each) => each.port === facts.dialled.port);
  const table = port === undefined ? null : routes.of(service, port, facts.source.namespace);
  // Callers add which agent judges, for pods of one node and of two alike.
  const servedHere = (): boolean => false;
  const { ejected = [] } = world;
  const plan = planRequest(facts, {
    ...{ ...world, servedHere, routes, readsPaths: () => true },
    // So that what hashes is hashed.
    costs: { of: () => 0, turn: () => 0 },
    ...{ health: healthOf(ejected), ages: { warmed: (_service, _port, candidates) => candidates } },
  });
  const caller = facts.source.identity.text;
  const chosen = plan.kind === "reply" && plan.why === "no-endpoint" ? drawnHere(plan.entry, world) : null;
  const steps = [
    ...(table === null ? [] : entrySteps(facts, table, plan.entry)),
    ...(plan.entry === null ? [] : [faultStep(plan.entry)]),
    ...(chosen === null ? [] : [breakerStep({ chosen, isNone: true }, caller, ejected)]),
    outcomeStep(plan),
    ...(plan.kind === "forward" ? [breakerStep(plan, caller, ejected), endpointStep(plan, facts)] : []),
  ];
  return { steps, plan, gets: plan.kind === "forward" ? gottenFacts(plan, facts) : null };
}

/** As the plan of an explanation draws it: the first that has a weight. null: it exists no more. */
function drawnHere(entry: RouteEntry | null, { mesh }: Pick<RouteWorld, "mesh">): Chosen | null {
  const backend = entry === null ? undefined : drawn(entry.rule.backends, () => 0);
  const service = backend?.service == null ? undefined : mesh.service(backend.service);
  const port = service?.ports.find((each) => each.port === backend?.port);
  return backend === undefined || service === undefined || port === undefined
    ? null
    : { service, port, entry, backend };
}

/** In their order: those before the entry that takes the request, each with why it does not, and that entry. */
function entrySteps(facts: RoutedFacts, { entries }: RouteTable, taken: RouteEntry | null): readonly Step[] {
  const request = { ...requestFacts(facts), target: facts.target };
  const before = entries.filter(({ at }) => taken === null || at < taken.at);
  const shown = before.slice(0, SHOWN).map((entry): Step => {
    const miss = missOf(entry.match, request);
    return {
      id: "route",
      status: "skipped",
      summary: `${entryText(entry)}: ${miss === null ? "takes it" : missText(miss)}`,
    };
  });
  const rest = before.length - shown.length;
  const more: Step = { id: "route", status: "skipped", summary: `${rest} more that do not take it` };
  const behind = taken === null ? 0 : entries.length - taken.at - 1;
  const words = behind === 0 ? "" : `; ${behind} behind it ${behind === 1 ? "is" : "are"} not asked`;
  return [
    ...shown,
    ...(rest > 0 ? [more] : []),
    ...(taken === null
      ? []
      : [{ id: "route", status: "decides", summary: `${entryText(taken)}: takes it${words}` } as const]),
  ];
}

function entryText({ match, route, rule, index }: RouteEntry): string {
  const name = rule.name === "" ? "" : ` "${rule.name}"`;
  return `${route.kind} ${ruleName({ ...route, rule: index })}${name} at ${positionText(rule.from)}: ${matchText(match)}`;
}

function missText({ field, name }: RouteMiss): string {
  switch (field) {
    case "path":
      return "another path";
    case "method":
      return "another method";
    case "header":
      return `another ${name}, or none`;
    case "query":
      return `another ?${name}=, or none`;
  }
}

const answers: Readonly<Record<Extract<RequestPlan, { readonly kind: "reply" }>["why"], string>> = {
  "no-route": "no rule takes it",
  "too-many-matches": `no rule was found among ${MOST_TRIED} matches and their conditions, or within what is read of a request for them; no more is`,
  redirect: "redirected",
  preflight: "a preflight of cross-origin sharing, which the rule answers",
  "no-backend": "its rule has no backend with a weight",
  "bad-backend": "the backend does not exist, or has no such port",
  overflow: "as many requests as may be are under way to the backend",
  "no-endpoint": "nobody answers for the backend",
  injected: "a fault that its rule injects",
  "too-long": "the target that the rule would write is too long",
  "no-service": "the Service has gone, or its port has",
  policy: "policy",
};

function outcomeStep(plan: RequestPlan): Step {
  if (plan.kind === "reply") {
    const location = plan.responseEdits.find(({ name }) => name === "location");
    const where = location === undefined || location.op === "remove" ? "" : ` to ${location.value}`;
    const summary = `answered ${plan.status}${where}: ${answers[plan.why]}`;
    return { id: "answer", status: plan.why === "redirect" || plan.status === 204 ? "ok" : "failed", summary };
  }
  if (plan.entry === null) return { id: "backend", status: "ok", summary: "no route is for this caller" };
  // Its fault has a step of its own.
  const { fault: _, ...rule } = plan.entry.rule;
  const changes = changesText(rule);
  const summary = `${outcomeText(plan.entry.rule)}${changes === "" ? "" : `; ${changes}`}`;
  return { id: "backend", status: "ok", summary };
}
