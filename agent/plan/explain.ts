// 7, 8, 9, 12 · any thread · a connection that need not exist, through plan.ts, with every step kept. Pure.
import { type Endpoint, endpointText } from "../mesh/endpoint.ts";
import { fullName } from "../mesh/full-name.ts";
import { sharesText } from "../mesh/http-rule-text.ts";
import { canonicalIp } from "../mesh/ip.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { lineText } from "../mesh/source-ref.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Miss, RuleRef, Step } from "../policy/decision.ts";
import type { Judge } from "../policy/evaluate.ts";
import { needAt, servedServiceOf } from "./client-need.ts";
import type { EjectedEndpoint } from "./ejection.ts";
import { connectionCapStep } from "./explain-resilience.ts";
import { type LetInOfNode, whyJudged } from "./node-access.ts";
import { type Refusal, wordsOf } from "./outcome.ts";
import { strangerAt } from "./outside-mesh.ts";
import { type GoPlan, type OutboundFacts, type Plan, planInbound, planOutbound } from "./plan.ts";
import { claimantsOf, type Route, type RouteWorld, routeOf } from "./route.ts";

export type Explanation = {
  readonly verdict: "allow" | "deny";
  readonly layer: "L4" | "L7";
  /** A deny reason of the evaluator, or the router's refusal; when allowed empty, or "node-access". */
  readonly reason: string;
  readonly decidedBy: RuleRef | null;
  readonly nearestMiss: readonly Miss[];
  /** Who calls and what is called, as they were understood. */
  readonly src: string;
  readonly dst: string;
  readonly steps: readonly Step[];
};

export type ExplainWorld = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  /** Undefined: nobody knows, since no agent was asked. */
  readonly nodeAccess?: LetInOfNode;
  /** What the agent's data threads know of endpoints that fail; absent: nobody was asked. */
  readonly ejected?: readonly EjectedEndpoint[];
};

/** As `src`: a program of the node that the keeper lets in. */
const NODE = "node";

/**
 * What would happen if `src` connected to `dst` now. src: `<namespace>/<name>` of a pod or its deployment, an address, or
 * "node" for a program of this node that is let in past policy.
 * dst: the same or a Service's name or host name, with `:<port>`; the port may be left out where there is no other.
 * serverName: as the caller names it in TLS, where a TLSRoute has the agent look; null: it names none.
 */
export function explain(
  src: string,
  dst: string,
  world: ExplainWorld,
  serverName: string | null = null,
): Explanation | { readonly error: string } {
  if (src === NODE) return fromNode(dst, world);
  const caller = callerOf(src, world.mesh);
  if ("error" in caller) return caller;
  const dialled = dialledOf(dst, caller.workload?.namespace ?? "default", world.mesh);
  if ("error" in dialled) return dialled;
  const before: Step[] = [sourceStep(caller)];
  const seen = { src: nameOf(caller.workload) ?? caller.address, dst: dialled.name };
  // Not in the mesh, so not captured: what it dials, it dials itself, in plaintext.
  if (caller.workload === null || caller.workload.protocol === "none")
    return uncaptured(caller, dialled.to, world, before, seen);

  const facts = { source: caller.workload, client: { address: caller.address, port: 0 }, dialled: dialled.to };
  const plan = planOutbound(
    { ...facts, serverName },
    { ...routeWorld(caller.workload, world.mesh), judge: (facts) => world.judge(facts, { trace: true }) },
  );
  const need = needAt(facts, world.mesh)?.need;
  if (need === "tls-route" || need === "tcp-route") before.push(streamStep(need, plan.route, serverName));
  before.push(resolveStep(plan.route, dialled.to));
  if (plan.route === null || plan.route.kind === "refuse") return concluded(plan, before, seen);
  before.push(transportStep(plan.route, caller.workload));
  const cap = connectionCapStep(plan.route.service);
  if (cap !== null) before.push(cap);
  if (plan.route.kind !== "tunnel") return concluded(plan, before, seen);
  const { destination, target } = plan.route;
  const client = { address: caller.address, port: 0 };
  return concluded(inbound({ destination, target, client, identity: caller.workload.identity }, world), before, seen);
}

/** A call to a port that has routes, but for the request. */
export type RoutedCall = {
  readonly facts: OutboundFacts;
  readonly service: Service;
  readonly world: RouteWorld;
};

/** null: nothing is read at the caller's end. */
export function routedCall(src: string, dst: string, mesh: Snapshot): RoutedCall | null {
  const caller = src === NODE ? { error: NODE } : callerOf(src, mesh);
  if ("error" in caller || caller.workload === null || caller.workload.protocol === "none") return null;
  const dialled = dialledOf(dst, caller.workload.namespace, mesh);
  if ("error" in dialled) return null;
  const facts = { source: caller.workload, client: { address: caller.address, port: 0 }, dialled: dialled.to };
  const service = servedServiceOf(facts, mesh);
  return service === null ? null : { facts, service, world: routeWorld(caller.workload, mesh) };
}

/** From where it is known who answers: the way to there, and the verdict of that end. */
export function explainWay(
  source: Workload,
  client: Endpoint,
  chosen: GoPlan["route"],
  world: ExplainWorld,
): Omit<Explanation, "src" | "dst"> {
  const { destination, target } = chosen;
  const isHere = destination !== null && chosen.kind === "tunnel" && destination.node === source.node;
  const route: GoPlan["route"] = isHere ? { kind: "local", target, destination, service: chosen.service } : chosen;
  const before = [resolveStep(route, target), transportStep(route, source)];
  const seen = { src: "", dst: "" };
  // A pod's calls to itself are not judged.
  if (destination === null || route.kind === "direct" || destination.uid === source.uid) {
    const plan: Plan = { verdict: "go", route, facts: null, decision: null, reading: "unread" };
    return concluded(plan, before, seen);
  }
  return concluded(inbound({ destination, target, client, identity: source.identity }, world), before, seen);
}

type Caller = { readonly workload: Workload | null; readonly address: string };
type Seen = { readonly src: string; readonly dst: string };

/** Judged by nobody when it is let in, else as plaintext of somebody whose address is not known here. */
function fromNode(dst: string, world: ExplainWorld): Explanation | { readonly error: string } {
  const dialled = dialledOf(dst, "default", world.mesh);
  if ("error" in dialled) return dialled;
  const { to } = dialled;
  const { nodeAccess } = world;
  const pod = world.mesh.workloadAt(to.address);
  const why = nodeAccess === undefined ? "no agent was asked" : whyJudged(nodeAccess, pod, to.port);
  const seen = { src: NODE, dst: dialled.name };
  const names = nodeAccess?.programs.join(", ") || "a program of the node";
  const source: Step = { id: "source", status: "ok", summary: names };
  if (why !== null) {
    const judged: Step = { id: "node-access", status: "skipped", summary: `judged as anybody else: ${why}` };
    const unknown = { workload: null, address: "0.0.0.0" };
    return uncaptured(unknown, to, world, [source, judged], seen);
  }
  const summary = `nodeAccess ${nodeAccess?.mode}: the exact connection is let in, once, and judged by nobody`;
  const steps: Step[] = [
    source,
    { id: "resolve", status: "ok", summary: `${endpointText(to)} (${nameOf(pod)} on ${pod?.node})` },
    { id: "node-access", status: "decides", summary },
    { id: "verdict", status: "ok", summary: "allowed: neither judged nor read" },
  ];
  return { verdict: "allow", layer: "L4", reason: "node-access", decidedBy: null, nearestMiss: [], ...seen, steps };
}

function uncaptured(caller: Caller, to: Endpoint, world: ExplainWorld, before: Step[], seen: Seen): Explanation {
  const { mesh } = world;
  const stranger = caller.workload ?? strangerAt(caller.address);
  const route = routeOf(stranger, to, routeWorld(stranger, mesh));
  before.push(resolveStep(route, to));
  if (route.kind === "refuse") {
    return concluded({ verdict: "refuse", refusal: route.reason, route, facts: null, decision: null }, before, seen);
  }
  before.push({
    id: "transport",
    status: "ok",
    summary: "plaintext: the caller is not captured, so it proves nothing",
  });
  const { destination, target } = route;
  if (destination === null || destination.protocol === "none") {
    return concluded(
      {
        verdict: "go",
        route: { ...route, kind: "direct", why: "not-in-mesh" },
        facts: null,
        decision: null,
        reading: "unread",
      },
      before,
      seen,
    );
  }
  const client = { address: caller.address, port: 0 };
  return concluded(inbound({ destination, target, client, identity: null }, world), before, seen);
}

function inbound(facts: Parameters<typeof planInbound>[0], { mesh, judge }: ExplainWorld): Plan {
  return planInbound(facts, { mesh, judge: (asked) => judge(asked, { trace: true }) });
}

/** Which of several endpoints a connection meets is chance; the explanation takes the first of the best. */
function routeWorld(source: Workload, mesh: Snapshot) {
  return {
    mesh,
    servedHere: (uid: string): boolean => mesh.workload(uid)?.node === source.node,
    load: (): number => 0,
    random: (): number => 0,
  };
}

function concluded(plan: Plan, before: readonly Step[], seen: Seen): Explanation {
  const { decision } = plan;
  const steps = [...before, ...(decision?.steps ?? [])];
  const allowed = plan.verdict === "go";
  const refusal = plan.verdict === "refuse" ? plan.refusal : null;
  steps.push({ id: "verdict", status: allowed ? "ok" : "failed", summary: verdictWords(plan, refusal) });
  const denied = decision?.verdict === "deny" ? decision : null;
  return {
    verdict: allowed ? "allow" : "deny",
    layer: decision?.layer ?? "L4",
    reason: denied?.reason ?? refusal ?? "",
    decidedBy: decision?.decidedBy ?? null,
    nearestMiss: denied?.nearestMiss ?? [],
    ...seen,
    steps,
  };
}

function verdictWords({ decision, route }: Plan, refusal: Refusal | null): string {
  if (refusal !== null && refusal !== "policy") return `refused: ${wordsOf(refusal, claimantsOf(route))}`;
  if (decision === null && route?.kind === "local") return "allowed: a pod's calls to itself are not judged";
  if (decision === null) return "allowed: no policy applies outside the mesh";
  return decision.verdict === "allow" ? "allowed" : `denied: ${decision.reason}`;
}

function sourceStep({ workload, address }: Caller): Step {
  if (workload === null) return { id: "source", status: "ok", summary: `${address}, nobody of the mesh` };
  const where = `${nameOf(workload)} ${address} on ${workload.node}`;
  const who = workload.protocol === "none" ? "not in the mesh" : workload.identity.text;
  return { id: "source", status: "ok", summary: `${where}, ${who}` };
}

function resolveStep(route: Route | null, dialled: Endpoint): Step {
  const at = endpointText(dialled);
  if (route === null) return { id: "resolve", status: "failed", summary: "not resolved: the source is refused first" };
  const through = route.service === null ? at : `service ${fullName(route.service)} ${at}`;
  if (route.kind === "refuse")
    return { id: "resolve", status: "decides", summary: `${through}: ${wordsOf(route.reason, claimantsOf(route))}` };
  const found = nameOf(route.destination);
  const whose = found === undefined ? "nobody of the mesh" : `${found} on ${route.destination?.node}`;
  return {
    id: "resolve",
    status: "ok",
    summary: `${through} → ${endpointText(route.target)} (${whose})`,
  };
}

/** Which TCPRoute or TLSRoute takes the connection. */
function streamStep(need: "tls-route" | "tcp-route", route: Route | null, serverName: string | null): Step {
  const named =
    need === "tcp-route" ? "" : serverName === null ? ", without a server's name" : `, server ${serverName}`;
  const by = route?.by;
  if (by === undefined) {
    const hint = serverName === null ? " (--host names the server)" : "";
    return { id: "route", status: "decides", summary: `no TLSRoute takes the connection${named}${hint}` };
  }
  const taken = `${by.kind} ${fullName(by)} at ${lineText(by.from)}${named}: takes it`;
  return { id: "route", status: "ok", summary: `${taken}, to ${sharesText(by.backends, "refused")}` };
}

function transportStep(route: Exclude<Route, { readonly kind: "refuse" }>, source: Workload): Step {
  const words = {
    direct: "plaintext, passed through: the destination is not in the mesh",
    local: `same node: one agent between the two, identity ${source.identity.text} proved by the kernel`,
    tunnel: `HBONE to ${route.kind === "tunnel" ? endpointText(route.to) : ""}, mTLS as ${source.identity.text}, expecting ${route.kind === "tunnel" ? route.expected.join(" or ") : ""}`,
  };
  return { id: "transport", status: "ok", summary: words[route.kind] };
}

function callerOf(text: string, mesh: Snapshot): Caller | { readonly error: string } {
  const address = canonicalIp(text);
  if (address !== undefined) {
    const rivals = mesh.rivalsAt(address).map(fullName);
    if (rivals.length > 0) return { error: `${address} is claimed by ${rivals.join(" and ")}: name the workload` };
    return { workload: mesh.workloadAt(address) ?? null, address };
  }
  const workload = workloadNamed(text, mesh);
  if (workload === undefined) return { error: `no workload ${text}: give <namespace>/<name> or an address` };
  const [own] = workload.addresses;
  return own === undefined ? { error: `workload ${text} has no address` } : { workload, address: own };
}

type Dialled = { readonly to: Endpoint; readonly name: string };

function dialledOf(text: string, namespace: string, mesh: Snapshot): Dialled | { readonly error: string } {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)|.*?)(?::([0-9]{1,5}))?$/.exec(text) ?? [];
  const bare = canonicalIp(text);
  const host = bare ?? bracketed ?? plain ?? "";
  const port = bare === undefined && digits !== undefined ? Number(digits) : undefined;
  if (host === "") return { error: `${text} is no destination: write shop/api:8080, 10.0.0.2:8080 or [fd00::2]:8080` };
  if (port !== undefined && (port < 1 || port > 65_535)) return { error: `${text}: a port is 1 to 65535` };
  const address = canonicalIp(host);
  if (address !== undefined) {
    const service = mesh.serviceAt(address, namespace);
    return withPort(address, port ?? onlyPort(service), service === undefined ? address : fullName(service));
  }
  const service =
    mesh.serviceNamed(host) ?? mesh.service(host.includes("/") ? host : fullName({ namespace, name: host }));
  if (service !== undefined) {
    const [vip] = service.vips;
    if (vip !== undefined) return withPort(vip, port ?? onlyPort(service), fullName(service));
    return { error: `service ${fullName(service)} has no address: name one of its pods` };
  }
  const workload = workloadNamed(host.includes("/") ? host : fullName({ namespace, name: host }), mesh);
  const own = workload?.addresses[0];
  if (workload === undefined || own === undefined)
    return { error: `nobody is called ${host}: no service, no workload` };
  return withPort(own, port, nameOf(workload) ?? host);
}

function withPort(address: string, port: number | undefined, name: string): Dialled | { readonly error: string } {
  return port === undefined
    ? { error: `which port of ${name}? write ${name}:<port>` }
    : { to: { address, port }, name: `${name}:${port}` };
}

function onlyPort(service: Service | undefined): number | undefined {
  const [first, ...more] = service?.ports ?? [];
  return more.length === 0 ? first?.port : undefined;
}

/** By pod name, else by deployment; of several the first by uid. */
function workloadNamed(key: string, mesh: Snapshot): Workload | undefined {
  const found = [...mesh.workloads()].filter(
    ({ namespace, name, workloadName }) =>
      key === fullName({ namespace, name }) || key === fullName({ namespace, name: workloadName }),
  );
  const exact = found.filter((workload) => key === fullName(workload));
  return (exact.length > 0 ? exact : found).sort((a, b) => (a.uid < b.uid ? -1 : 1))[0];
}

function nameOf(workload: Workload | null | undefined): string | undefined {
  return workload ? fullName(workload) : undefined;
}
