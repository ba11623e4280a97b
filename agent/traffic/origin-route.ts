// 18, 21 · data thread · the way to a request's endpoint, as the engine keeps connections by it.
import type { OriginPool } from "../engine/answers.ts";
import type { Workload } from "../mesh/workload.ts";
import { baggageOf, forwardedOf } from "../plan/connect-headers.ts";
import type { ForwardPlan, RoutedFacts } from "../plan/forwarded-request.ts";
import { sourceAddressFor } from "../plan/plan.ts";
import type { TrafficContext } from "./context.ts";
import type { OriginRoute, OriginUse } from "./origins.ts";

/** "lost": between the plan and now the pod, or our own certificate, has gone. */
export function originOf(
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
    case "tunnel":
      return wayThrough(route, source, client.address, context);
  }
}

/** How connections to its endpoint are kept; undefined: as the engine keeps them. */
export const poolOf = (
  { chosen: { service, port } }: ForwardPlan,
  { source }: RoutedFacts,
  use: OriginUse,
  { connections }: TrafficContext,
): OriginPool | undefined =>
  service.traffic === undefined
    ? undefined
    : connections.poolOf({ caller: source.identity.text, service, port: port.port }, use);

type TunnelRoute = Extract<ForwardPlan["route"], { readonly kind: "tunnel" }>;
type TunnelWay = {
  readonly source: Workload;
  readonly client: string;
  readonly identity: number;
  readonly peers: TrafficContext["expected"];
  readonly expect: number;
  readonly origin: OriginRoute;
};

/** Of the last caller of each route: routes live as long as their version of the mesh, and each request comes by here. */
const lastWays = new WeakMap<TunnelRoute, TunnelWay>();

function wayThrough(
  route: TunnelRoute,
  source: Workload,
  client: string,
  { ownIdentity, expected: peers }: TrafficContext,
): OriginRoute | "lost" {
  const identity = ownIdentity(source.identity.text);
  if (identity === undefined) return "lost";
  const last = lastWays.get(route);
  const isSame =
    last?.source === source && last.client === client && last.identity === identity && last.peers === peers;
  // The set of identities may be forgotten, after very many others.
  if (isSame && peers.knows(last.expect)) return last.origin;
  const expect = peers.intern(route.expected);
  const origin: OriginRoute = {
    type: "tunnel",
    to: route.to,
    identity,
    expect,
    authority: route.authority,
    baggage: baggageOf(source),
    // A connection serves many of the caller's: the port of none of them is its own.
    forwarded: forwardedOf({ address: client, port: 0 }, route.service?.hostname ?? null),
  };
  lastWays.set(route, { source, client, identity, peers, expect, origin });
  return origin;
}
