// 7, 8, 9, 12 · any thread · a connection as a value → route and decision. Pure; outbound, inbound and explain all call it.

import type { HttpReading } from "../engine/answers.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import { isLoopback, isSameFamily } from "../mesh/ip.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Decision } from "../policy/decision.ts";
import type { Evaluator } from "../policy/evaluate.ts";
import { certificateFacts, plaintextFacts, sameNodeFacts } from "./connection-facts.ts";
import { judgeConnection } from "./judge-connection.ts";
import type { Refusal } from "./outcome.ts";
import { isOwnPort } from "./ports.ts";
import { type Route, type RouteWorld, routeOf } from "./route.ts";

/** `judge`: the evaluator over the same snapshot's policies (`evaluatorOf`). Without `settle` no connection is read. */
export type PlanWorld = RouteWorld & Pick<Evaluator, "judge"> & Partial<Evaluator>;

/**
 * The connection goes on. `facts` are what was judged; null: the far end judges, or nobody. Of a connection that is read, `decision` is
 * what it gets when it turns out not to be HTTP.
 */
export type GoPlan = {
  readonly verdict: "go";
  readonly route: Exclude<Route, { readonly kind: "refuse" }>;
  readonly facts: ConnectionFacts | null;
  readonly decision: Decision | null;
  readonly reading: HttpReading;
};
export type Plan =
  | GoPlan
  | {
      readonly verdict: "refuse";
      readonly refusal: Refusal;
      readonly route: Route | null;
      readonly facts: ConnectionFacts | null;
      readonly decision: Decision | null;
    };

export type OutboundFacts = {
  /** The workload of the pod whose listener accepted: known by namespace, not by address. */
  readonly source: Workload;
  /** The client's own address and port. */
  readonly client: Endpoint;
  /** What the application dialled. */
  readonly dialled: Endpoint;
  /** What it has named its server in TLS, where a TLSRoute has the agent look; absent: nobody has looked. */
  readonly serverName?: string | null;
};

/**
 * A captured connection. Policy belongs to the destination, so this end refuses early only what nobody may do, and judges
 * in full where the destination is served here too.
 */
export function planOutbound(facts: OutboundFacts, world: PlanWorld): Plan {
  const { source, client, dialled, serverName = null } = facts;
  // The namespace says who it is; an address that is not the pod's own would be another's at the far end
  // (docs/reference/failures.md, row D4).
  if (!source.addresses.includes(client.address)) return refuse("unknown-source", null, unknownSource);
  const route = routeOf(source, dialled, world, serverName);
  if (route.kind === "refuse") return refuse(route.reason, route, null);
  // A pod's calls to itself are not judged: the kernel lets those to the pod's own address go, and a Service behind which the pod
  // is chosen itself is no other case.
  const isJudgedHere = route.kind === "local" && route.destination.uid !== source.uid;
  if (!isJudgedHere) return { verdict: "go", route, facts: null, decision: null, reading: "unread" };
  const seen = { address: sourceAddressFor(source, client.address, route.target.address), port: client.port };
  const judged = sameNodeFacts({ client: seen, target: route.target }, route.destination, source);
  return planned(judged, route, world);
}

function planned(
  facts: ConnectionFacts,
  route: GoPlan["route"],
  world: Pick<PlanWorld, "mesh" | "judge" | "settle">,
): Plan {
  const { decision, settled } = judgeConnection(facts, world);
  if (settled === "deny") return { verdict: "refuse", refusal: "policy", route, facts, decision };
  const reading = settled === "allow" ? "unread" : decision.verdict === "allow" ? "or-pass" : "or-end";
  return { verdict: "go", route, facts, decision, reading };
}

export type InboundFacts = {
  readonly destination: Workload;
  /** The application's address and port. */
  readonly target: Endpoint;
  /** The TCP peer: the client pod's own address. */
  readonly client: Endpoint;
  /** Proved by certificate; null: plaintext. */
  readonly identity: SpiffeId | null;
};

/** A connection that arrives for a pod of this node. The verdict at this end is authoritative. */
export function planInbound(facts: InboundFacts, world: Pick<PlanWorld, "mesh" | "judge" | "settle">): Plan {
  const { destination, target, client, identity } = facts;
  if (isOwnPort(target.port)) return refuse("own-port", null, null);
  // A certificate is for an address that the mesh has. Plaintext has come into the pod's own namespace, and every address there is the
  // pod's, listed or not.
  const isOfPod = identity === null ? !isLoopback(target.address) : destination.addresses.includes(target.address);
  if (!isOfPod) return refuse("unknown-pod", null, null);
  const ends = { client, target };
  const judged = identity === null ? plaintextFacts(ends, destination) : certificateFacts(ends, destination, identity);
  return planned(judged, { kind: "local", target, destination, service: null }, world);
}

/** The client's address as the destination will see it: its own, or its pod's of the family that is spoken there. */
export function sourceAddressFor(source: Workload, client: string, target: string): string {
  const sameFamily = (address: string): boolean => isSameFamily(address, target);
  return sameFamily(client) ? client : (source.addresses.find(sameFamily) ?? client);
}

function refuse(refusal: Refusal, route: Route | null, decision: Decision | null): Plan {
  return { verdict: "refuse", refusal, route, facts: null, decision };
}

/** The verdict on a caller that is no known workload: the evaluator is not asked, since it would have nobody to judge. */
export const unknownSource: Decision = {
  verdict: "deny",
  reason: "unknown-source",
  decidedBy: null,
  nearestMiss: [],
  layer: "L4",
  audited: [],
  dryRunDenied: [],
  steps: [],
};
