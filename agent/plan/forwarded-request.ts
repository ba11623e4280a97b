// 18 · any thread · a request whose Service is chosen, as a value → its endpoint there, what of it changes, and between two pods of a node
// whether it may. Pure.

import { canonicalPath } from "../l7/canonical.ts";
import { sharedBy } from "../l7/cors.ts";
import { canonicalTarget, requestFacts, withoutProxyHeaders } from "../l7/request-facts.ts";
import { replacedTarget } from "../l7/rewrite.ts";
import type { RouteEntry } from "../l7/route-table.ts";
import type { RouteTables } from "../l7/route-tables.ts";
import { pathOf } from "../l7/words-meaning.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { ConnectionFacts, RequestFacts } from "../mesh/facts.ts";
import { ruleName } from "../mesh/full-name.ts";
import type { HeadWords } from "../mesh/head-words.ts";
import type { FieldEdits, PathReplacement, RouteBackend } from "../mesh/http-rule.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { WarmUp } from "../mesh/traffic-policy.ts";
import type { Workload } from "../mesh/workload.ts";
import type { RouteAnswer } from "../observe/request-record.ts";
import type { Evaluator } from "../policy/evaluate.ts";
import { judgeRequest, type RequestVerdict } from "../policy/judge-request.ts";
import { sameNodeFacts } from "./connection-facts.ts";
import type { Candidate } from "./endpoints.ts";
import type { DrawnFault } from "./fault.ts";
import { editedHeader, editsOf, type FieldEdit, noEdits } from "./field-edits.ts";
import { hashKeyOf } from "./hash-key.ts";
import { type PlanWorld, sourceAddressFor } from "./plan.ts";
import { addressOfFamily, ledBy, type Route, toService } from "./route.ts";
import { type SessionToken, sessionEdits, tokenOf } from "./session.ts";

/** A request on a connection to a Service's virtual address. */
export type RoutedFacts = {
  readonly source: Workload;
  readonly client: Endpoint;
  /** What the application dialled. */
  readonly dialled: Endpoint;
  readonly method: string;
  /** Path and query as they came. */
  readonly target: string;
  readonly authority: string;
  /** Of these words; absent: nobody has read them before. */
  readonly words?: HeadWords | undefined;
  readonly header: RequestFacts["header"];
  /** Its rule's fault has delayed it already; absent: it has not. */
  readonly isDelayed?: boolean;
};

export type RequestWorld = PlanWorld & {
  readonly routes: Pick<RouteTables, "of">;
  readonly readsPaths: Evaluator["readsPaths"];
  /** Milliseconds since 1970; absent: no fault is injected. */
  readonly wallMs?: () => number;
  /** Which endpoints fail; absent: nobody knows, and all are used. */
  readonly health?: RequestHealth;
  /** Since when they could serve; absent: all are old. */
  readonly ages?: RequestAges;
};

/** Whose requests, to what, by which rule: `<namespace>/<route>[<index>]`, or empty. */
export type RequestsTo = {
  readonly caller: string;
  readonly service: Service;
  readonly port: ServicePort;
  readonly rule: string;
};

export type RequestAges = {
  /** The candidates, all that could serve, with the weights that they have by now. */
  readonly warmed: (
    service: Service,
    port: ServicePort,
    candidates: readonly Candidate[],
    warmUp: WarmUp,
  ) => readonly Candidate[];
};

export type RequestHealth = {
  /** The candidates to which a request may go. @param mayProbe false: the request has been there already */
  readonly narrow: (
    to: RequestsTo,
    candidates: readonly Candidate[],
    mayProbe: (candidate: Candidate) => boolean,
  ) => readonly Candidate[];
};

type Planned = {
  /** The rule that took it; null: none did, or there is no route. */
  readonly entry: RouteEntry | null;
  /** Of the destination's policy; null: another agent judges, or nobody does. */
  readonly verdict: RequestVerdict | null;
  readonly responseEdits: readonly FieldEdit[];
};

export type RequestPlan =
  | (Planned & {
      readonly kind: "reply";
      readonly why: RouteAnswer;
      readonly status: number;
      /** Text for the caller. It names no rule: the caller is not who may know them. */
      readonly body: string;
      /** In the place of the answer: it is planned again after so many milliseconds, or its connection is reset. Absent: it is answered. */
      readonly instead?: Extract<DrawnFault, { readonly kind: "delay" | "reset" }>;
    })
  | (Planned & {
      readonly kind: "forward";
      /** By which it is planned again when its endpoint fails. */
      readonly chosen: Chosen;
      readonly route: Exclude<Route, { readonly kind: "refuse" }>;
      /** What was judged here; null: nothing was. */
      readonly facts: ConnectionFacts | null;
      /** In the place of what was sent; empty: as it was sent. */
      readonly target: string;
      readonly authority: string;
      readonly requestEdits: readonly FieldEdit[];
      readonly removesProxyHeaders: boolean;
      /** Milliseconds; 0: no limit. */
      readonly timeoutMs: number;
      readonly tryTimeoutMs: number;
    });

/** Characters of a target that is written anew: an answer to the engine has room for it and for edits of fields. */
export const LONGEST_WRITTEN = 8_192;

/** A prefix is replaced in the path in which it was found. */
export function replaced(target: string, path: PathReplacement | null, entry: RouteEntry | null): string {
  if (path === null) return target;
  const { kind, value } = entry?.match.path ?? { kind: "exact", value: "" };
  const canonical = canonicalTarget(target, { path: canonicalPath(pathOf(target)) });
  return replacedTarget(canonical === "" ? target : canonical, path, kind === "prefix" ? value : "");
}

export type Chosen = {
  readonly service: Service;
  readonly port: ServicePort;
  readonly entry: RouteEntry | null;
  readonly backend: RouteBackend | null;
  /** Of the endpoint that has the request's session; absent: none has. */
  readonly session?: SessionToken;
};

/** null: the request has no session, or its endpoint is none of these, or has failed it. */
export function routeOfSession(facts: RoutedFacts, chosen: Chosen, world: RequestWorld): ForwardPlan["route"] | null {
  const { service, session } = chosen;
  if (session === undefined) return null;
  const { without } = world;
  const isOther = (address: string, port: number): boolean =>
    tokenOf(service, { address, port }) !== session || without?.(address, port) === true;
  return routeToBackend(facts, chosen, { ...world, without: isOther });
}

function routeToBackend(facts: RoutedFacts, chosen: Chosen, world: RequestWorld): ForwardPlan["route"] | null {
  const { service, port, entry } = chosen;
  const { source } = facts;
  const address = addressOfFamily(facts.dialled.address, service);
  if (address === null) return null;
  const to = { address, port: port.port };
  const led = entry === null ? world : ledBy(entry.route, source, service, world);
  const route = toService(source, to, service, port, within(facts, chosen, led));
  return route.kind === "refuse" ? null : route;
}

/** What the response gets where the session begins, or goes on elsewhere. */
function sessionEditsOf(chosen: Chosen, target: Endpoint, world: RequestWorld): FieldEdits | undefined {
  const { service, entry } = chosen;
  const session = entry?.rule.session;
  if (entry === null || session === undefined) return undefined;
  const token = tokenOf(service, target);
  if (token === chosen.session) return undefined;
  return sessionEdits(session, {
    ...{ rule: entry.name, path: entry.match.path, token },
    nowMs: world.wallMs?.() ?? 0,
  });
}

export function forwarded(facts: RoutedFacts, chosen: Chosen, world: RequestWorld): RequestPlan {
  const { source } = facts;
  const { entry, backend } = chosen;
  const route = routeOfSession(facts, chosen, world) ?? routeToBackend(facts, chosen, world);
  if (route === null) return reply("no-endpoint", 503, "no healthy upstream", entry);
  const rule = entry?.rule;
  const rewrite = rule?.rewrite ?? null;
  const target = replaced(facts.target, rewrite?.path ?? null, entry);
  if (target !== facts.target && target.length > LONGEST_WRITTEN) return tooLong(entry);
  const authority = rewrite?.hostname ?? "";
  const requestEdits = editsOf(rule?.requestEdits, backend?.requestEdits);
  const ofRule = editsOf(rule?.responseEdits, backend?.responseEdits, sharing(entry, facts));
  const begun = rule?.session === undefined ? undefined : sessionEditsOf(chosen, route.target, world);
  const responseEdits = begun === undefined ? ofRule : [...ofRule, ...editsOf(begun)];
  // Written out, since a request each comes by here and a spread costs several times as much.
  const unjudged: ForwardPlan = {
    kind: "forward",
    chosen,
    entry,
    route,
    requestEdits,
    responseEdits,
    target: target === facts.target ? "" : target,
    authority,
    timeoutMs: rule?.timeoutMs ?? 0,
    tryTimeoutMs: rule?.tryTimeoutMs ?? 0,
    facts: null,
    verdict: null,
    removesProxyHeaders: false,
  };
  // The kernel lets a pod's calls to itself go, and they are not judged.
  if (route.kind !== "local" || route.destination.uid === source.uid) return unjudged;
  return judgedHere(unjudged, route.destination, facts, world);
}

/** Between two pods of this node nobody else judges it. */
function judgedHere(
  plan: ForwardPlan,
  destination: Workload,
  facts: RoutedFacts,
  world: Pick<RequestWorld, "judge" | "readsPaths">,
): RequestPlan {
  const { source, client } = facts;
  const { entry, route, requestEdits, authority } = plan;
  const target = plan.target === "" ? facts.target : plan.target;
  const sent = { target, authority: authority === "" ? facts.authority : authority };
  // Rules judge what the application gets.
  const seen = { address: sourceAddressFor(source, client.address, route.target.address), port: client.port };
  const judged = sameNodeFacts({ client: seen, target: route.target }, destination, source);
  const removesProxyHeaders = destination.removesProxyHeaders === true;
  const asked = gotten({ ...facts, ...sent }, { requestEdits, authority, removesProxyHeaders });
  const verdict = judgeRequest(judged, asked, world);
  if (verdict.verdict === "deny") {
    const { status, body } = verdict.answer;
    return { kind: "reply", why: "policy", status, body, entry, verdict, responseEdits: noEdits };
  }
  const canonical = verdict.path === "canonical" ? canonicalTarget(target, asked) : "";
  const goesOn = canonical === "" ? plan.target : canonical;
  if (goesOn.length > LONGEST_WRITTEN) return tooLong(entry);
  return { ...plan, facts: judged, verdict, target: goesOn, removesProxyHeaders };
}

/** Where a DestinationRule says anything of the Service: the world without endpoints that are left out, with the request's key. */
function within(facts: RoutedFacts, chosen: Chosen, world: RequestWorld): RequestWorld {
  const { traffic } = chosen.service;
  if (traffic === undefined) return world;
  const { health, ages } = world;
  const hashKey = traffic.hash === null ? null : hashKeyOf(traffic.hash.key, facts);
  const { outliers } = traffic;
  // Who hashes has no shares that could grow.
  const warmUp = hashKey === null ? traffic.warmUp : null;
  if (health === undefined || ages === undefined || (outliers === null && warmUp === null))
    return { ...world, hashKey };
  const { service, port } = chosen;
  const to = requestsTo(facts.source.identity.text, chosen);
  const inUse: RequestWorld["inUse"] = (candidates, mayProbe) => {
    const warmed = warmUp === null ? candidates : ages.warmed(service, port, candidates, warmUp);
    return outliers === null ? warmed : health.narrow(to, warmed, mayProbe);
  };
  return { ...world, hashKey, inUse };
}

export function requestsTo(caller: string, { service, port, entry }: Chosen): RequestsTo {
  return {
    caller,
    service,
    port,
    rule: entry === null ? "" : ruleName({ ...entry.route, rule: entry.index }),
  };
}

export const tooLong = (entry: RouteEntry | null): RequestPlan =>
  reply("too-long", 414, "request target too long", entry);

/** An answer of our own in the backend's place. @param body text/plain */
export function reply(why: RouteAnswer, status: number, body: string, entry: RouteEntry | null): ReplyPlan {
  return { kind: "reply", why, status, body, entry, verdict: null, responseEdits: noEdits };
}

/** What the response gets for pages of other origins. */
export const sharing = (entry: RouteEntry | null, facts: RoutedFacts): FieldEdits | undefined =>
  entry === null || entry.rule.cors === null ? undefined : sharedBy(entry.rule.cors, facts).edits;

type AskedHead = Pick<RoutedFacts, "method" | "target" | "authority" | "header">;

type Edited = Pick<ForwardPlan, "requestEdits" | "authority" | "removesProxyHeaders">;

/** The request as the application gets it. */
function gotten(head: AskedHead, { requestEdits, authority, removesProxyHeaders }: Edited): RequestFacts {
  const host: readonly FieldEdit[] = authority === "" ? noEdits : [{ op: "set", name: "host", value: authority }];
  const edited = editedHeader(head.header, host.length === 0 ? requestEdits : [...requestEdits, ...host]);
  return requestFacts({ ...head, header: removesProxyHeaders ? withoutProxyHeaders(edited) : edited });
}

type ReplyPlan = Extract<RequestPlan, { readonly kind: "reply" }>;

export type ForwardPlan = Extract<RequestPlan, { readonly kind: "forward" }>;

/** The request as the application gets it, before rules have made its path canonical. */
export function gottenFacts(plan: Pick<ForwardPlan, "target" | keyof Edited>, asked: AskedHead): RequestFacts {
  const target = plan.target === "" ? asked.target : plan.target;
  const authority = plan.authority === "" ? asked.authority : plan.authority;
  return gotten({ ...asked, target, authority }, plan);
}

/**
 * Of a request that went on: what the destination's policy says of it by now. null: the application has read another path than rules read
 * now, so that nobody can say.
 */
export function judgeAgain(
  plan: ForwardPlan,
  asked: AskedHead,
  destination: Workload,
  world: Pick<RequestWorld, "judge" | "readsPaths">,
): RequestVerdict | null {
  if (plan.facts === null) return null;
  const facts = gottenFacts(plan, asked);
  const verdict = judgeRequest({ ...plan.facts, destination }, facts, world);
  const isRead = verdict.verdict === "allow" && verdict.path === "canonical";
  return isRead && canonicalTarget(plan.target === "" ? asked.target : plan.target, facts) !== "" ? null : verdict;
}
