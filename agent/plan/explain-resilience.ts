// 18 · any thread · of a request that need not exist: what is to go wrong with it, which endpoints of its backend are left out, how another is
// chosen, how many requests may be under way, when it is tried again. Pure.
import type { RouteEntry } from "../l7/route-table.ts";
import type { RequestFacts } from "../mesh/facts.ts";
import { fullName } from "../mesh/full-name.ts";
import { faultText } from "../mesh/http-fault.ts";
import type { Service } from "../mesh/service.ts";
import { positionText } from "../mesh/source-ref.ts";
import { connectionTexts, hashKeyText, outlierText } from "../mesh/traffic-policy-text.ts";
import type { Step } from "../policy/decision.ts";
import { callerOrderText, judgementOrderText } from "../policy/judgement-order.ts";
import { blank, type EjectedEndpoint, type EjectionState, inUse, isOut } from "./ejection.ts";
import type { Candidate } from "./endpoints.ts";
import { type Chosen, type ForwardPlan, type RequestHealth, type RequestsTo, requestsTo } from "./forwarded-request.ts";
import { hashKeyOf } from "./hash-key.ts";
import { retryRuleOf, retryText } from "./retry.ts";

type AskedToGo = {
  readonly source: { readonly identity: { readonly text: string } };
  readonly client: { readonly address: string };
  readonly method: string;
  readonly target: string;
  readonly header: RequestFacts["header"];
};

/** By what the agent's threads have reported: as they would choose, but that nothing is probed for an explanation. */
export function healthOf(ejected: readonly EjectedEndpoint[]): RequestHealth {
  return {
    narrow: (to, candidates) => {
      const policy = to.service.traffic?.outliers;
      if (policy == null) return candidates;
      const stateOf = (candidate: Candidate): EjectionState => {
        const found = ejectedAt(ejected, to, candidate);
        return found === undefined ? blank : stateAsReported(found);
      };
      return inUse(candidates, stateOf, policy, 0, () => false).used;
    },
  };
}

function ejectedAt(
  ejected: readonly EjectedEndpoint[],
  { caller, service, port, rule }: RequestsTo,
  { address, port: at }: Pick<Candidate, "address" | "port">,
): EjectedEndpoint | undefined {
  const name = `${fullName(service)}:${port.port}`;
  return ejected.find((each) => {
    if (each.service !== name || each.address !== address || each.port !== at) return false;
    return each.caller === "" || (each.caller === caller && each.rule === rule);
  });
}

const stateAsReported = ({ reason: phase, times, leftMs }: EjectedEndpoint): EjectionState => ({
  ...{ phase, failures: 0, gatewayFailures: 0, times, atMs: leftMs },
});

/** Behind the rule and before its backend; null: no rule has taken the request. By the clock of the caller's node, which nobody asks here. */
export function faultStep(entry: RouteEntry | null): Step {
  const fault = entry?.rule.fault;
  return { id: "fault", status: "ok", summary: fault === undefined ? "none is injected" : faultText(fault) };
}

/** Which endpoints are left out, and what leaves them out. `isNone`: none is left over. */
export function breakerStep(
  { chosen, isNone = false }: { readonly chosen: Chosen; readonly isNone?: boolean },
  caller: string,
  ejected: readonly EjectedEndpoint[],
): Step {
  const { traffic } = chosen.service;
  const outliers = traffic?.outliers ?? null;
  if (outliers === null || traffic === undefined)
    return { id: "breaker", status: "ok", summary: "no DestinationRule leaves endpoints out that fail" };
  const to = requestsTo(caller, chosen);
  const out = ejected.filter((each) => ejectedAt([each], to, each) !== undefined && isOut(stateAsReported(each)));
  const when = outlierText(outliers);
  const said = when === null ? "nothing leaves an endpoint out" : `${when},`;
  const summary = `${said} at ${positionText(traffic.from)}; ${outText(out)}`;
  return { id: "breaker", status: isNone && out.length > 0 ? "failed" : "ok", summary };
}

/** Of those that are not left out. */
export function endpointStep({ chosen, route }: Pick<ForwardPlan, "chosen" | "route">, asked: AskedToGo): Step {
  const { traffic, loadBalancing } = chosen.service;
  const { hash = null, balance = null } = traffic ?? {};
  const way = balance ?? loadBalancing.requests ?? "cost";
  const key = hash === null ? null : hashKeyOf(hash.key, asked);
  const unhashed = hash === null ? "" : `no ${hashKeyText(hash.key)}, so that nothing is hashed: `;
  const chosenBy =
    hash !== null && key !== null
      ? `${hashKeyText(hash.key)} ${JSON.stringify(key.slice(0, SHOWN))} by ${hash.table.kind} of ${hash.table.size} places`
      : `${unhashed}${ways[way]}`;
  const { address, port } = route.target;
  const is = hash !== null && key !== null ? "" : ", here the first of them";
  const at = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return {
    id: "endpoint",
    status: "ok",
    summary: `${chosenBy}${is}: ${at}${poolText(connectionTexts(traffic?.pool))}`,
  };
}

function poolText(texts: readonly string[]): string {
  return texts.length === 0 ? "" : `, over a connection that is ${texts.join(", ")}`;
}

/** Of a key that an operator reads. */
const SHOWN = 64;

const ways: Readonly<Record<string, string>> = {
  cost: "the cheaper of two that are drawn",
  "least-request": "the less loaded of two that are drawn",
  "round-robin": "each in its turn",
  random: "drawn by weight",
};

function outText(out: readonly EjectedEndpoint[]): string {
  if (out.length === 0) return "none is left out for this caller and rule by now";
  const named = out.map(({ address, port, reason, leftMs }) =>
    leftMs <= 0 && reason !== "probed"
      ? `${address} ${port} (${reason}: the next request finds out whether it serves)`
      : `${address} ${port} (${reason}, ${Math.ceil(Math.max(0, leftMs) / 1_000)} s left)`,
  );
  return `left out by now: ${named.slice(0, MOST_NAMED).join(", ")}${named.length > MOST_NAMED ? `, and ${named.length - MOST_NAMED} more` : ""}`;
}
const MOST_NAMED = 5;

/** What may still keep the request from its endpoint: before it leaves for another node, and behind the verdict between two pods of a node. */
export function capsStep({ chosen: { service, port } }: Pick<ForwardPlan, "chosen">): Step {
  const most = service.traffic?.maxRequests ?? null;
  const of = `of this caller to ${fullName(service)}:${port.port}`;
  const caps =
    most === null
      ? `as many as come ${of}`
      : `at most ${most} under way ${of}, over all threads of its node; more are answered 503`;
  const open = service.traffic?.maxConnections;
  const waits = "a request without a place waits as long as a connection may take to open, then it is answered 503";
  const pending = service.traffic?.maxPending;
  const room = pending === undefined ? "" : `; at most ${pending} wait at once for a connection or a stream`;
  const connections = open === undefined ? "" : `; over ${open} connections at once at most: ${waits}`;
  return { id: "caps", status: "ok", summary: `${caps}${connections}${room}` };
}

/** The same of connections that nobody reads. null: nobody counts them. */
export function connectionCapStep(service: Service | null): Step | null {
  const most = service?.traffic?.maxConnections;
  if (service === null || most === undefined) return null;
  const of = `of this caller to a port of ${fullName(service)}`;
  return {
    id: "caps",
    status: "ok",
    summary: `at most ${most} connections ${of} are open, over all threads of its node; more are refused (overflow)`,
  };
}

/** Behind the verdict: what becomes of the request where its endpoint fails it, and the order in which all of it holds. */
export function afterVerdictSteps({ entry }: { readonly entry: RouteEntry | null }, method: string): readonly Step[] {
  const retry = entry?.rule.retry ?? null;
  const unsent = "what no endpoint has got goes to another";
  const tries = retry === null ? unsent : `${unsent}; ${retryText(retry, retryRuleOf(entry, method) !== null)}`;
  return [
    { id: "retry", status: "ok", summary: tries },
    {
      id: "order",
      status: "ok",
      summary: `at the caller's node ${callerOrderText}; at the callee's ${judgementOrderText}, for each try`,
    },
  ];
}
