// any thread · what a DestinationRule says, in a few words each, as operators read it. Pure.
import type { ConnectionPool, HashKey, OutlierDetection, TrafficPolicy } from "./traffic-policy.ts";

/** Of its caps and connections; empty: it says nothing of them. */
export function poolTexts(
  policy: Pick<TrafficPolicy, "maxRequests" | "maxConnections" | "maxPending" | "pool">,
): readonly string[] {
  const { maxRequests, maxConnections, maxPending, pool } = policy;
  return [
    ...(maxRequests === null ? [] : [`${maxRequests} requests at once`]),
    ...(maxConnections === undefined ? [] : [`${maxConnections} connections at once`]),
    ...(maxPending === undefined ? [] : [`${maxPending} requests wait for a connection at most`]),
    ...connectionTexts(pool),
  ];
}

/** How its connections are kept. */
export function connectionTexts(pool: ConnectionPool | undefined): readonly string[] {
  if (pool === undefined) return [];
  const { connectMs, idleMs, mostRequests } = pool;
  return [
    ...(connectMs === 0 ? [] : [`open within ${connectMs} ms`]),
    ...(idleMs === 0 ? [] : [`ended behind ${idleMs} ms without a request`]),
    ...(mostRequests === 0 ? [] : [`ended behind ${mostRequests} requests`]),
  ];
}

/** When an endpoint is left out; null: never. */
export function outlierText({
  consecutive5xx,
  consecutiveGateway,
  baseMs,
  maxEjected,
  minHealthy,
  successRate,
}: OutlierDetection): string | null {
  const why = [
    ...(consecutive5xx > 0 ? [`${consecutive5xx} failures in a row`] : []),
    ...(consecutiveGateway > 0 ? [`${consecutiveGateway} gateway failures in a row`] : []),
    ...(successRate === undefined ? [] : [`a success rate ${successRate.stdevFactor} deviations below the mean`]),
  ];
  const panic = minHealthy === 0 ? "" : `, none where fewer than ${minHealthy} % would be left`;
  return why.length === 0
    ? null
    : `left out after ${why.join(" or ")}, for ${baseMs / 1_000} s and longer, ${maxEjected} % at most${panic}`;
}

export const hashKeyText = (key: HashKey): string =>
  key.of === "source-address" ? "the caller's address" : `${key.of} ${key.name}`;
