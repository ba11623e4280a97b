// 18 · any thread · a request at the caller's end as a value → where it goes and what of it changes, or what it is answered. Pure.

import { sharedBy } from "../l7/cors.ts";
import { locationOf } from "../l7/rewrite.ts";
import type { RouteEntry } from "../l7/route-table.ts";
import { mayLeadTo } from "../l7/route-view.ts";
import { pathOfWords, wordsOf } from "../l7/words-meaning.ts";
import { fullName } from "../mesh/full-name.ts";
import type { RouteBackend, SessionPersistence } from "../mesh/http-rule.ts";
import type { Service } from "../mesh/service.ts";
import { drawn } from "./drawn.ts";
import { type DrawnFault, drawnFault } from "./fault.ts";
import { editsOf, type FieldEdit } from "./field-edits.ts";
import {
  type Chosen,
  type ForwardPlan,
  forwarded,
  LONGEST_WRITTEN,
  type RequestPlan,
  type RequestWorld,
  type RoutedFacts,
  replaced,
  reply,
  routeOfSession,
  sharing,
  tooLong,
} from "./forwarded-request.ts";
import { broughtToken } from "./session.ts";

export function planRequest(facts: RoutedFacts, world: RequestWorld): RequestPlan {
  const plan = plannedRequest(facts, world);
  if (plan.kind === "forward" || plan.why === "preflight" || plan.why === "redirect") return plan;
  return { ...plan, responseEdits: sharedEdits(plan.entry, facts) };
}

/** Of an answer of our own: what pages of other origins need to read it. */
export const sharedEdits = (entry: RouteEntry | null, facts: RoutedFacts): readonly FieldEdit[] =>
  editsOf(sharing(entry, facts));

function plannedRequest(facts: RoutedFacts, world: RequestWorld): RequestPlan {
  const { source, dialled } = facts;
  const service = world.mesh.serviceAt(dialled.address, source.namespace);
  const port = service?.ports.find((each) => each.port === dialled.port);
  if (service === undefined || port === undefined) return reply("no-service", 503, "no such service", null);
  const table = world.routes.of(service, port, source.namespace);
  // The last route has gone while the connection was open.
  if (table === null) return forwarded(facts, { service, port, entry: null, backend: null }, world);
  const { method, target, header } = facts;
  const words = wordsOf(facts);
  const entry = table.find({ method, path: pathOfWords(words), header, target, words });
  if (entry === undefined) return reply("no-route", 404, "no route", null);
  if (entry === "too-many") return reply("too-many-matches", 500, "no route", null);
  const { rule } = entry;
  const shared = rule.cors === null ? null : sharedBy(rule.cors, facts);
  if (shared?.kind === "preflight") {
    const { status, edits } = shared;
    const answered = reply("preflight", status, status === 204 ? "" : "origin not allowed", entry);
    return { ...answered, responseEdits: editsOf(edits) };
  }
  const fault = rule.fault === undefined ? null : drawnFault(rule.fault, facts.isDelayed === true, world);
  if (fault !== null) return injected(fault, entry);
  if (rule.redirect !== null) return redirected(facts, entry, dialled.port);
  const held = rule.session === undefined ? null : heldSession(facts, { entry, session: rule.session }, world);
  if (held !== null) return forwarded(facts, held, world);
  const backend = drawn(rule.backends, world.random);
  if (backend === undefined) return reply("no-backend", 500, "no backend", entry);
  const to = backendOf(backend, entry, facts, world);
  const toPort = to?.ports.find((each) => each.port === backend.port);
  if (to === undefined || toPort === undefined) return reply("bad-backend", 500, "no such backend", entry);
  return forwarded(facts, { service: to, port: toPort, entry, backend }, world);
}

/**
 * The request's endpoint has failed it, and its caller has got nothing: the same for another endpoint of the backend that was drawn.
 * @param tried endpoints that are not chosen
 */
export function planAgain(
  plan: ForwardPlan,
  facts: RoutedFacts,
  world: RequestWorld,
  tried: (address: string, port: number) => boolean,
): RequestPlan {
  const { service: before, port: portBefore, entry } = plan.chosen;
  const service = world.mesh.service(fullName(before));
  const port = service?.ports.find((each) => each.port === portBefore.port);
  if (service === undefined || port === undefined) return reply("no-service", 503, "no such service", entry);
  const next = forwarded(facts, { ...plan.chosen, service, port }, { ...world, without: tried });
  // A Service that leaves connections where they were dialled has no other endpoint.
  const isNew = next.kind === "reply" || !tried(next.route.target.address, next.route.target.port);
  return isNew ? next : reply("no-endpoint", 503, "no healthy upstream", entry);
}

/** undefined: there is none, or the route may not send this caller there. */
function backendOf(
  { service }: RouteBackend,
  { route }: RouteEntry,
  { source }: RoutedFacts,
  { mesh }: RequestWorld,
): Service | undefined {
  return service !== null && mayLeadTo(route, service, source.namespace) ? mesh.service(service) : undefined;
}

/** The backend and endpoint that the request's session is at; null: nobody has it, or its endpoint takes no requests. */
function heldSession(
  facts: RoutedFacts,
  { entry, session }: { readonly entry: RouteEntry; readonly session: SessionPersistence },
  world: RequestWorld,
): Chosen | null {
  const token = broughtToken(session, entry.name, facts.header, world.wallMs?.() ?? 0);
  if (token === null) return null;
  for (const backend of entry.rule.backends) {
    const service = backend.weight === 0 ? undefined : backendOf(backend, entry, facts, world);
    const port = service?.ports.find((each) => each.port === backend.port);
    if (service === undefined || port === undefined) continue;
    const chosen: Chosen = { service, port, entry, backend, session: token };
    if (routeOfSession(facts, chosen, world) !== null) return chosen;
  }
  return null;
}

function redirected(facts: RoutedFacts, entry: RouteEntry, port: number): RequestPlan {
  const { redirect, responseEdits } = entry.rule;
  if (redirect === null) return reply("no-backend", 500, "no backend", entry);
  const { target, authority } = facts;
  const to = replaced(target, redirect.path, entry);
  const value = locationOf(redirect, { target: to, authority, port });
  if (value.length > LONGEST_WRITTEN) return tooLong(entry);
  const location: FieldEdit = { op: "set", name: "location", value };
  const edits = [location, ...editsOf(responseEdits, sharing(entry, facts))];
  return {
    kind: "reply",
    why: "redirect",
    status: redirect.status,
    body: "",
    entry,
    verdict: null,
    responseEdits: edits,
  };
}

function injected(fault: DrawnFault, entry: RouteEntry): RequestPlan {
  if (fault.kind === "abort") return reply("injected", fault.status, "fault injected", entry);
  return { ...reply("injected", 0, "", entry), instead: fault };
}
