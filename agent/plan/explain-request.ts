// 7, 8, 9, 12 · any thread · a request that need not exist: out of words to facts, and what the rules say of it. Pure.

import { hostAsSent } from "../l7/host-as-sent.ts";
import { requestFacts } from "../l7/request-facts.ts";
import { headerOf } from "../mesh/alike-names.ts";
import type { RequestFacts } from "../mesh/facts.ts";
import { refusalAnswers } from "../policy/judge-request.ts";
import { type ExplainWorld, type Explanation, explain, explainWay, type RoutedCall, routedCall } from "./explain.ts";
import { afterVerdictSteps, capsStep } from "./explain-resilience.ts";
import { explainRoute } from "./explain-route.ts";

export type AskedRequest = {
  readonly method?: string | undefined;
  /** With its query, if any. */
  readonly path?: string | undefined;
  readonly host?: string | undefined;
  /** Each `name=value`. */
  readonly header?: readonly string[] | undefined;
};

/** With path and query, and the host, as the caller would send them. */
export type DescribedRequest = RequestFacts & {
  readonly target: string;
  readonly authority: string;
  /** The host in the operator's words; absent: these are the caller's, too. */
  readonly saidHost?: string;
};

/** RFC 9110 section 5.6.2: a name of a header, or a method. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * The request that the operator describes. Returns null when the operator gives no part of a request: then the question is about the
 * connection. Defaults: method GET, path `/`, and the host that `dst` names. A host above ASCII is taken as callers send it, with xn-- labels. Returns an
 * error for what no request can contain.
 */
export function requestOf(
  dst: string,
  { method, path, host, header = [] }: AskedRequest,
): DescribedRequest | null | { readonly error: string } {
  if (method === undefined && path === undefined && host === undefined && header.length === 0) return null;
  if (method !== undefined && !token.test(method)) return { error: `"${method}" is no method of a request` };
  const fields: (readonly [string, string])[] = [];
  for (const field of header) {
    const [, name = "", value = ""] = /^([^=]*)=(.*)$/s.exec(field) ?? [];
    if (!token.test(name)) return { error: `"${field}" is no header: it is written name=value` };
    fields.push([name.toLowerCase(), value.trim()]);
  }
  // Callers write a host without the namespace that `dst` has before its name.
  const saidHost = host ?? dst.slice(dst.indexOf("/") + 1);
  const authority = hostAsSent(saidHost);
  if (authority === undefined)
    return { error: `"${saidHost}" is no host of a request: callers send xn-- labels in place of letters above ASCII` };
  const head = {
    method: method ?? "GET",
    target: path ?? "/",
    authority,
    header: headerOf(fields),
  };
  const described = { ...requestFacts(head), target: head.target, authority };
  return authority === saidHost ? described : { ...described, saidHost };
}

/** As `explain`. With a request it is the request's verdict, and a step says what a connection gets that is no HTTP/1.1. */
export function explainRequest(
  src: string,
  dst: string,
  world: ExplainWorld,
  request: DescribedRequest | null,
): Explanation | { readonly error: string } {
  const serverName = request === null ? null : request.authority.replace(/:[0-9]*$/, "").toLowerCase();
  const connection = explain(src, dst, world, serverName);
  if ("error" in connection) return connection;
  const routed = routedCall(src, dst, world.mesh);
  if (routed !== null && request !== null) return explainRouted(routed, connection, world, request);
  // Limits count requests, so for a connection alone the answer is that of a GET.
  const first = request === null && connection.reason === "limited" ? requestOf(dst, { method: "GET" }) : null;
  if (first !== null && !("error" in first)) return explainRequest(src, dst, world, first);
  if (request === null) return routed === null ? connection : { ...connection, steps: unreadStep(connection.steps) };
  const judge: ExplainWorld["judge"] = (facts, options) => world.judge({ ...facts, request }, options);
  const read = explain(src, dst, { ...world, judge }, serverName);
  return "error" in read ? read : { ...read, steps: stepsOf(read, connection, request) };
}

/** Of a connection to a port with routes there is no more to say. */
function unreadStep(steps: Explanation["steps"]): Explanation["steps"] {
  const summary =
    "the port has routes: each request is planned for itself (--method, --path, --header); what is no HTTP/1 ends";
  const at = steps.findIndex(({ id }) => id === "resolve");
  return steps.toSpliced(Math.max(at, 0), 0, { id: "route", status: "ok", summary });
}

function explainRouted(
  { facts, service, world: within }: RoutedCall,
  connection: Explanation,
  world: ExplainWorld,
  request: DescribedRequest,
): Explanation {
  const { method, target, authority, header } = request;
  const asked = { ...facts, method, target, authority, header };
  const { ejected = [] } = world;
  const { steps, plan, gets } = explainRoute(asked, service, { ...within, judge: world.judge, ejected });
  const [source] = connection.steps;
  const before = [
    { id: "request", status: "ok", summary: requestText(request) } as const,
    ...(source ? [source] : []),
    ...steps,
  ];
  if (plan.kind === "reply" || gets === null) {
    const why = plan.kind === "reply" ? plan.why : "";
    const verdict = why === "redirect" ? "allow" : "deny";
    return { ...connection, verdict, layer: "L7", reason: why, decidedBy: null, nearestMiss: [], steps: before };
  }
  const judged = explainWay(facts.source, facts.client, plan.route, {
    ...world,
    judge: (each, options) => world.judge({ ...each, request: gets }, options),
  });
  const caps = capsStep(plan);
  const isHere = plan.route.destination?.node === facts.source.node;
  const arrived = [...judged.steps, ...answerStep(judged)];
  const both = isHere ? [...arrived, caps] : [caps, ...arrived];
  const whole = [...before, ...both, ...afterVerdictSteps(plan, method)];
  return { ...judged, src: connection.src, dst: connection.dst, steps: whole };
}

function stepsOf(read: Explanation, connection: Explanation, request: DescribedRequest): Explanation["steps"] {
  const why = connection.reason === "" ? "" : ` (${connection.reason})`;
  const other = `a connection that is no HTTP/1.1: ${connection.verdict}${why}`;
  return [
    { id: "request", status: "ok", summary: requestText(request) },
    ...read.steps,
    ...answerStep(read),
    { id: "not-http", status: "ok", summary: other },
  ];
}

/** What the caller of a refused request would get. Who is refused as a connection gets no answer. */
function answerStep({ layer, reason }: Pick<Explanation, "layer" | "reason">): Explanation["steps"] {
  if (layer !== "L7") return [];
  const answer = Object.entries(refusalAnswers).find(([known]) => known === reason)?.[1];
  if (answer === undefined) return [];
  return [{ id: "answer", status: "ok", summary: `the request would be answered ${answer.status}: ${answer.body}` }];
}

function requestText({ method, path, host, saidHost }: DescribedRequest): string {
  const at = path.ambiguity === null ? path.text : `${path.text}, an ambiguous path (${path.ambiguity})`;
  const named = host.ambiguity === null ? host.text : "unreadable";
  return `${method} ${at}, host ${named}${saidHost === undefined ? "" : `, as callers send ${saidHost}`}`;
}
