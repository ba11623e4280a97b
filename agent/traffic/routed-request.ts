// 18 · data thread · a request at the caller's end → plan → answer: where it goes, with what changes of it, or what its caller is
// answered. The connection was accepted for a Service's address and belongs to nobody but its pod.
import type { Answer, Forward, HttpReply } from "../engine/answers.ts";
import type { RequestEvent, TryFailed } from "../engine/events.ts";
import { grpcTimeoutMs, soonerOf } from "../l7/grpc-timeout.ts";
import { fullName } from "../mesh/full-name.ts";
import { withAddresses } from "../mesh/workload.ts";
import type { AfterTry, RouteAnswer } from "../observe/request-record.ts";
import {
  type ForwardPlan,
  judgeAgain,
  type RequestPlan,
  type RoutedFacts,
  requestsTo,
} from "../plan/forwarded-request.ts";
import { permissionOf } from "../plan/permission.ts";
import { planAgain, planRequest, sharedEdits } from "../plan/plan-request.ts";
import {
  isRetried,
  MOST_UNSENT_TRIES,
  mayGoElsewhere,
  nobodyProvokes,
  pauseMs,
  retryRuleOf,
  shownByTry,
} from "../plan/retry.ts";
import type { Connection } from "./connection.ts";
import type { TrafficContext } from "./context.ts";
import type { EndpointHold } from "./endpoint-health.ts";
import { copiesOf, withLimitsHere } from "./mirrored-request.ts";
import type { OpenRequest } from "./open-request.ts";
import { originOf, poolOf } from "./origin-route.ts";
import type { OriginRoute } from "./origins.ts";
import type { RequestPlace } from "./request-caps.ts";

/** @returns undefined: the answer comes later, since the rule's fault delays the request */
export function answerRoutedRequest(
  event: RequestEvent,
  connection: Connection,
  context: TrafficContext,
): Answer | undefined {
  const { conn, generation, request } = event;
  if (connection.openRequestOf(request) !== null) return againJudged(event, connection, context);
  const delay = context.delays.of(connection, request);
  if (delay === "waiting") return undefined;
  const known = routedFacts(event, connection, context);
  if (known === null) {
    connection.requested(event, null, "");
    return { type: "reply", conn, generation, request, status: 503, body: "no such pod" };
  }
  const taken: TakenSoFar = { hold: null, place: null };
  try {
    return planAnswered(event, delay === "over" ? { ...known, isDelayed: true } : known, taken, connection, context);
  } catch (fault) {
    giveBack(taken);
    throw fault;
  }
}

/** What a request has taken and its `OpenRequest` does not know of yet. What the request has taken over is taken out of here. */
type TakenSoFar = { hold: EndpointHold | null; place: RequestPlace | null };

/** Nobody else would: a cap would be smaller by one for as long as the agent lives. */
function giveBack({ hold, place }: TakenSoFar): void {
  place?.release();
  hold?.end(null);
}

function planAnswered(
  event: RequestEvent,
  facts: RoutedFacts,
  taken: TakenSoFar,
  connection: Connection,
  context: TrafficContext,
): Answer | undefined {
  const { conn, generation, request } = event;
  const { plan, hold } = planned(facts, context);
  taken.hold = hold;
  if (plan.kind === "reply" && plan.instead?.kind === "delay") {
    context.delays.begin(connection, request, plan.instead.ms);
    return undefined;
  }
  const origin = plan.kind === "forward" ? originOf(plan, facts, context) : undefined;
  const isLost = plan.kind === "forward" && typeof origin !== "object";
  const verdict = plan.kind === "forward" && !isLost ? withLimitsHere(plan, facts, context) : plan.verdict;
  const isOver = plan.kind === "forward" && verdict?.verdict === "deny";
  const place = plan.kind === "forward" && !isLost && !isOver ? placeOf(plan, facts, context) : null;
  if (place !== "full") taken.place = place;
  const why = plan.kind === "reply" ? plan.why : unsent(isLost, isOver, place);
  const open = connection.requested(event, verdict, plan.kind === "forward" ? plan.target : "");
  open.routed({ name: plan.entry?.name ?? "", answer: why }, plan);
  if (facts.isDelayed === true) open.delayed();
  // Of a probe that does not go on nobody learns anything.
  if (typeof origin !== "object" || isOver || place === "full") {
    taken.hold = null;
    hold?.end(null);
  }
  if (plan.kind === "reply" && plan.instead !== undefined) return { type: "reset", conn, generation, request };
  if (plan.kind === "reply") {
    const { status, body, responseEdits: headers } = plan;
    return { type: "reply", conn, generation, request, status, body, headers };
  }
  if (typeof origin !== "object")
    return {
      type: "reply",
      conn,
      generation,
      request,
      status: 503,
      body: "no healthy upstream",
      headers: sharedEdits(plan.entry, facts),
    };
  if (isOver)
    return { type: "reply", conn, generation, request, ...withShared(verdict.answer, sharedEdits(plan.entry, facts)) };
  if (place === "full")
    return { type: "reply", conn, generation, request, ...withShared(overflow, sharedEdits(plan.entry, facts)) };
  open.takes(place);
  taken.place = null;
  const mirrors = copiesOf(plan, facts, { open, podIdx: connection.podIdx }, context);
  const answer = sent(event, { open, plan, facts, origin, taken }, connection, context);
  return mirrors === null ? answer : { ...answer, mirrors };
}

/** Why a request whose rule sends it on does not go; null: it goes. */
function unsent(isLost: boolean, isOver: boolean, place: RequestPlace | "full" | null): RouteAnswer | null {
  if (isLost) return "no-endpoint";
  if (isOver) return "policy";
  return place === "full" ? "overflow" : null;
}

type OwnAnswer = Pick<HttpReply, "status" | "body" | "headers">;

/** Readable for pages of other origins, as the rule's responses are. */
const withShared = (answer: OwnAnswer, shared: OwnAnswer["headers"] & object): OwnAnswer => ({
  ...answer,
  headers: [...(answer.headers ?? []), ...shared],
});

/** Envoy's header for the same (envoy:docs/root/configuration/http/http_filters/router_filter.rst). */
const overloaded = [{ op: "set", name: "x-envoy-overloaded", value: "true" }] as const;
const overflow = { status: 503, body: "too many requests under way", headers: overloaded } as const;
const noConnection = { status: 503, body: "too many connections", headers: overloaded } as const;

const placeOf = (plan: ForwardPlan, { source }: RoutedFacts, { caps }: TrafficContext): RequestPlace | "full" | null =>
  plan.chosen.service.traffic === undefined ? null : caps.take({ ...plan.chosen, caller: source.identity.text });

/** Where other threads have taken so many probes before it, the request goes there all the same. */
const MOST_LOST = 8;

type PlannedRequest = { readonly plan: RequestPlan; readonly hold: EndpointHold | null };

/** With its place at its endpoint. An endpoint that is to be probed goes to a single request: the others are planned without it. */
function planned(facts: RoutedFacts, context: TrafficContext): PlannedRequest {
  for (let lost = 0; ; lost += 1) {
    const plan = planRequest(facts, context.requests);
    const hold = plan.kind === "forward" ? holdOf(plan, facts, context) : null;
    if (hold !== "taken") return { plan, hold };
    if (lost === MOST_LOST) return { plan, hold: null };
  }
}

const holdOf = (
  plan: ForwardPlan,
  { source }: RoutedFacts,
  { health }: TrafficContext,
): EndpointHold | "taken" | null =>
  plan.chosen.service.traffic === undefined
    ? null
    : health.hold(requestsTo(source.identity.text, plan.chosen), plan.route.target);

/**
 * A try has failed, and the caller has got nothing: to another endpoint, if nobody has processed anything of it; else again as its rule says,
 * behind a pause, after which this is asked once more. Each endpoint is chosen, judged and proved as the first was.
 */
export function answerFailedTry(event: TryFailed, connection: Connection, context: TrafficContext): Answer {
  const { conn, generation, request, failure } = event;
  const { costs, recorder, retries, random } = context;
  const passed = (then: AfterTry): Answer => {
    recorder.retried(failure, then);
    return { type: "pass", conn, generation, request };
  };
  const open = connection.openRequestOf(request);
  const plan = open?.plan;
  if (open === null || plan?.kind !== "forward") return passed("final");
  const rule = retryRuleOf(plan.entry, event.method);
  const failed = { event, open, plan } as const;
  // Every endpoint of the Service shares the cap.
  if (event.cause === "overflow") {
    context.connections.refused();
    recorder.retried(failure, "final");
    open.hasNoPlace();
    const facts = routedFacts(event, connection, context);
    const shared = facts === null ? [] : sharedEdits(plan.entry, facts);
    return { type: "reply", conn, generation, request, ...withShared(noConnection, shared) };
  }
  if (open.takePause()) return tryAgain(failed, "any", connection, context) ?? passed("final");
  const { address, port } = plan.route.target;
  if (nobodyProvokes(event, plan.route.kind)) {
    costs.unreached(address, port);
    open.unreached();
  }
  const isUnsent = mayGoElsewhere(event);
  if (isUnsent && open.attempts < MOST_UNSENT_TRIES) {
    const elsewhere = tryAgain(failed, "untried", connection, context);
    if (elsewhere !== undefined) {
      recorder.retried(failure, "elsewhere");
      return elsewhere;
    }
  }
  if (rule === null || !isRetried(event, rule)) return passed(isUnsent ? "spent" : "final");
  if (open.retries >= rule.attempts) return passed("spent");
  if (!retries.take(budgetKey(plan, connection))) {
    open.hasNoBudget();
    return passed("budget");
  }
  recorder.retried(failure, "again");
  open.tryEnded({ elapsedMs: event.durationUs / 1_000, isFailed: true }, shownByTry(event));
  open.pausesBeforeTry();
  return { type: "hold", conn, generation, request, ms: pauseMs(rule, open.retries, random()) };
}

type Failed = { readonly event: TryFailed; readonly open: OpenRequest; readonly plan: ForwardPlan };

/** undefined: there is no endpoint, or it may not be asked. */
function tryAgain(
  { event, open, plan }: Failed,
  which: "untried" | "any",
  connection: Connection,
  context: TrafficContext,
): Answer | undefined {
  const facts = routedFacts(event, connection, context);
  if (facts === null) return undefined;
  const before = [...open.tried, plan.route.target];
  const isTried = (address: string, port: number): boolean =>
    before.some((each) => each.address === address && each.port === port);
  const untried = planAgain(plan, facts, context.requests, isTried);
  // Where all of them have had it, any may be better by now.
  const isAny = which === "any" && untried.kind === "reply" && untried.why === "no-endpoint";
  const next = isAny ? planAgain(plan, facts, context.requests, () => false) : untried;
  const origin = next.kind === "forward" ? originOf(next, facts, context) : "lost";
  if (next.kind !== "forward" || origin === "lost") return undefined;
  const verdict = withLimitsHere(next, facts, context);
  if (verdict?.verdict === "deny") return undefined;
  const hold = holdOf(next, facts, context);
  // Another thread has just begun to probe it: what there is goes to the caller.
  if (hold === "taken") return undefined;
  const taken: TakenSoFar = { hold, place: null };
  try {
    // Of a pause it has ended already.
    open.tryEnded({ elapsedMs: event.durationUs / 1_000, isFailed: true }, shownByTry(event));
    open.triedAgain(verdict, next);
    return sent(event, { open, plan: next, facts, origin, taken }, connection, context);
  } catch (fault) {
    giveBack(taken);
    throw fault;
  }
}

/** Of a caller's identity and a rule: nobody spends another's. */
function budgetKey({ entry, chosen }: ForwardPlan, { record }: Connection): string {
  return `${record.source.identity?.text ?? ""} ${fullName(chosen.service)}:${chosen.port.port} ${entry?.name ?? ""}`;
}

/** What the plan of a request is made of; null: its pod has gone. `header` is valid while its event is. */
function routedFacts(
  {
    method,
    target,
    authority,
    words,
    fields,
  }: Pick<RequestEvent, "method" | "target" | "authority" | "words" | "fields">,
  connection: Connection,
  context: TrafficContext,
): RoutedFacts | null {
  const { source: client, dialled } = connection.ends;
  const pod = context.pods.byIdx(connection.podIdx);
  const known = pod === undefined ? undefined : context.world.mesh.workload(pod.workloadUid);
  if (pod === undefined || known === undefined) return null;
  const source = withAddresses(known, pod.addresses);
  return { source, client, dialled, method, target, authority, words, header: fields.values };
}

type Sent = {
  readonly open: OpenRequest;
  readonly plan: ForwardPlan;
  readonly facts: RoutedFacts;
  readonly origin: OriginRoute;
  readonly taken: TakenSoFar;
};

function sent(
  { conn, generation, request, protocol, method, fields }: Omit<RequestEvent, "type">,
  { open, plan, facts, origin, taken }: Sent,
  connection: Connection,
  context: TrafficContext,
): Forward {
  const { live } = context;
  // What is judged here is judged again when something changes.
  if (connection.isMultiplexed) {
    if (plan.facts !== null) live.asksAlways(connection);
  } else if (plan.facts !== null) {
    live.add(connection, permissionOf(facts.source, plan.facts, "or-end"));
  } else {
    // Another endpoint may have had it, and it was judged for that.
    const permission = live.permissionOf(connection);
    if (permission !== undefined && permission.judged !== null) live.add(connection, { ...permission, judged: null });
  }
  const rule = retryRuleOf(plan.entry, method);
  const { target } = plan.route;
  if (rule !== null && open.attempts === 0) context.retries.requested(budgetKey(plan, connection));
  const { address, port } = target;
  const { load, costs } = context;
  const cost = costs.begin(facts.source.identity.text, address, port);
  open.goes({ target, openTo: load.take(address, port), cost, costs, hold: taken.hold });
  taken.hold = null;
  return {
    type: "forward",
    conn,
    generation,
    request,
    target: plan.target,
    authority: plan.authority,
    origin: context.origins.numberOf(connection.podIdx, origin, poolOf(plan, facts, "requests", context)),
    removesProxyHeaders: plan.removesProxyHeaders,
    requestHeaders: plan.requestEdits,
    responseHeaders: plan.responseEdits,
    timeoutMs:
      protocol === "http2" ? soonerOf(plan.timeoutMs, grpcTimeoutMs(fields.first("grpc-timeout", 9))) : plan.timeoutMs,
    tryTimeoutMs: plan.tryTimeoutMs,
    asks: rule !== null && open.retries < rule.attempts ? "any" : "unsent",
  };
}

/** It went on before something changed. What the application has begun to answer cannot be taken back: the connection ends, or of HTTP/2 the request. */
function againJudged(event: RequestEvent, connection: Connection, context: TrafficContext): Answer | undefined {
  const { request, method, target, authority, fields } = event;
  const plan = connection.openRequestOf(request)?.plan;
  if (plan?.kind !== "forward" || plan.facts === null) return undefined;
  const destination = context.world.mesh.workload(plan.facts.destination.uid);
  const verdict =
    destination === undefined
      ? null
      : judgeAgain(plan, { method, target, authority, header: fields.values }, destination, context.requests);
  return verdict?.verdict === "allow" ? undefined : connection.requestFell(request, verdict);
}
