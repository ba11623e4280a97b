// 18 · data thread · a request at the caller's end → plan → answer: where it goes, with what changes of it, or what its caller is
// answered. The connection was accepted for a Service's address and belongs to nobody but its pod.
import type { Answer } from "../engine/answers.ts";
import type { RequestEvent } from "../engine/events.ts";
import { ruleName } from "../mesh/full-name.ts";
import type { Workload } from "../mesh/workload.ts";
import { withAddresses } from "../mesh/workload.ts";
import type { ConnectionRecord } from "../observe/record.ts";
import { recordService } from "../observe/record.ts";
import { baggageOf, forwardedOf } from "../plan/connect-headers.ts";
import { permissionOf } from "../plan/permission.ts";
import { sourceAddressFor } from "../plan/plan.ts";
import { type ForwardPlan, gottenFacts, judgeAgain, planRequest, type RoutedFacts } from "../plan/plan-request.ts";
import { withLimits } from "../policy/limits.ts";
import type { Connection } from "./connection.ts";
import type { TrafficContext } from "./context.ts";
import type { OriginRoute } from "./origins.ts";

export function answerRoutedRequest(
  event: RequestEvent,
  connection: Connection,
  context: TrafficContext,
): Answer | undefined {
  const { conn, generation, request, fields } = event;
  const { source: client, destination: dialled, podIdx } = connection.accepted;
  const pod = context.pods.byIdx(podIdx);
  const known = pod === undefined ? undefined : context.world.mesh.workload(pod.workloadUid);
  const open = connection.openRequest;
  if (open?.request === request) return againJudged(event, connection, context);
  if (pod === undefined || known === undefined || dialled === null) {
    connection.requested(event, null, "");
    return { type: "reply", conn, generation, request, status: 503, body: "no such pod" };
  }
  const source = withAddresses(known, pod.addresses);
  const { method, target, authority } = event;
  const facts: RoutedFacts = { source, client, dialled, method, target, authority, header: fields.values };
  const plan = planRequest(facts, context.requests);
  const origin = plan.kind === "forward" ? originOf(plan, facts, context) : undefined;
  const isLost = plan.kind === "forward" && typeof origin !== "object";
  const verdict = plan.kind === "forward" && !isLost ? withLimitsHere(plan, facts, context) : plan.verdict;
  const isOver = plan.kind === "forward" && verdict?.verdict === "deny";
  const way = plan.kind === "forward" ? wayOf(plan) : null;
  const entry = plan.entry;
  const name = entry === null ? "" : ruleName({ ...entry.route, rule: entry.index });
  const routed = {
    name,
    answer: plan.kind === "reply" ? plan.why : isLost ? "no-endpoint" : isOver ? "policy" : null,
    way,
  } as const;
  connection.requested(event, verdict, plan.kind === "forward" ? plan.target : "", { ...routed, plan });
  if (plan.kind === "reply") {
    const { status, body, responseEdits: headers } = plan;
    return { type: "reply", conn, generation, request, status, body, headers };
  }
  if (typeof origin !== "object")
    return { type: "reply", conn, generation, request, status: 503, body: "no healthy upstream" };
  if (isOver) return { type: "reply", conn, generation, request, ...verdict.answer };
  // What is judged here is judged again when something changes.
  if (plan.facts !== null) context.live.add(connection, permissionOf(source, plan.facts, "or-end"));
  const { address, port } = plan.route.target;
  connection.requestGoesTo(context.load.take(address, port));
  return {
    ...{ type: "forward", conn, generation, request, target: plan.target, authority: plan.authority },
    origin: context.origins.numberOf(podIdx, origin),
    removesProxyHeaders: plan.removesProxyHeaders,
    requestHeaders: plan.requestEdits,
    responseHeaders: plan.responseEdits,
    timeoutMs: plan.timeoutMs,
    tryTimeoutMs: plan.tryTimeoutMs,
  };
}

/** Between two pods of this node nobody else counts the request for the destination's limits. */
function withLimitsHere(plan: ForwardPlan, asked: RoutedFacts, context: TrafficContext): ForwardPlan["verdict"] {
  const { facts, verdict } = plan;
  if (facts === null || verdict?.verdict !== "allow") return verdict;
  return withLimits(verdict, context.limits(facts, gottenFacts(plan, asked)));
}

/** It went on before something changed. What the application has begun to answer cannot be taken back: the connection ends. */
function againJudged(event: RequestEvent, connection: Connection, context: TrafficContext): Answer | undefined {
  const plan = connection.openPlan;
  if (plan?.kind !== "forward" || plan.facts === null) return undefined;
  const { request, method, target, authority, fields } = event;
  const destination = context.world.mesh.workload(plan.facts.destination.uid);
  const verdict =
    destination === undefined
      ? null
      : judgeAgain(plan, { method, target, authority, header: fields.values }, destination, context.requests);
  return verdict?.verdict === "allow" ? undefined : connection.requestFell(request, verdict);
}

/** "lost": between the plan and now the pod, or our own certificate, has gone. */
function originOf(
  { route }: ForwardPlan,
  { source, client }: RoutedFacts,
  context: TrafficContext,
): OriginRoute | "lost" {
  switch (route.kind) {
    case "direct":
      return { type: "relay", to: route.target };
    case "local": {
      const pod = context.pods.byWorkload(route.destination.uid);
      if (pod === undefined) return "lost";
      const address = sourceAddressFor(source, client.address, route.target.address);
      // A connection serves many of the caller's: the port of none of them is its own.
      return {
        type: "dial",
        podIdx: pod.podIdx,
        to: route.target,
        from: pod.preservesSource ? { address, port: 0 } : null,
      };
    }
    case "tunnel": {
      const identity = context.ownIdentity(source.identity.text);
      if (identity === undefined) return "lost";
      return {
        type: "tunnel",
        to: route.to,
        identity,
        expect: context.expected.intern(route.expected),
        authority: route.authority,
        baggage: baggageOf(source),
        forwarded: forwardedOf({ address: client.address, port: 0 }, route.service?.hostname ?? null),
      };
    }
  }
}

/** The far end, for the request's line. */
function wayOf({ route }: ForwardPlan): Partial<ConnectionRecord> {
  const { target, destination, service } = route;
  const workload: Workload | null = destination;
  const reached = route.kind === "tunnel" ? route.to : target;
  return {
    service: recordService(service),
    destination: { ...reached, workload, identity: route.kind === "direct" ? null : (destination?.identity ?? null) },
    hbone: route.kind === "tunnel" ? target : null,
    security: route.kind === "tunnel" ? "mtls" : route.kind === "local" ? "socket" : "none",
  };
}
