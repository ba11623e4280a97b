// main thread · what a DestinationRule says of a Service, as `orlop get services` and `orlop describe` show it.

import { lineText } from "../mesh/source-ref.ts";
import type { RequestBalancing, SuccessRate, TrafficPolicy } from "../mesh/traffic-policy.ts";
import { hashKeyText, outlierText, poolTexts } from "../mesh/traffic-policy-text.ts";

/** By the names of its fields in Istio, milliseconds instead of durations. null: it says nothing of it. */
export type TrafficView = {
  /** All of it, a few words each. */
  readonly texts: readonly string[];
  readonly connectionPool: {
    readonly http2MaxRequests: number | null;
    readonly maxConnections: number | null;
    readonly http1MaxPendingRequests: number | null;
    readonly connectTimeoutMs: number | null;
    readonly idleTimeoutMs: number | null;
    readonly maxRequestsPerConnection: number | null;
  };
  readonly outlierDetection: {
    readonly consecutive5xxErrors: number;
    readonly consecutiveGatewayErrors: number;
    readonly baseEjectionTimeMs: number;
    readonly maxEjectionPercent: number;
    readonly minHealthPercent: number;
    readonly successRate: SuccessRate | null;
  } | null;
  readonly loadBalancer: {
    readonly balance: RequestBalancing | null;
    /** Such as "header x-user by ring of 1024 places". */
    readonly hash: string | null;
    readonly warmUpMs: number | null;
  };
  /** `file:line` of the DestinationRule. */
  readonly from: string;
};

export function trafficView(policy: TrafficPolicy): TrafficView {
  const { outliers, maxRequests, maxConnections = null, maxPending = null, pool, balance, warmUp } = policy;
  return {
    texts: trafficTexts(policy),
    connectionPool: {
      http2MaxRequests: maxRequests,
      maxConnections,
      http1MaxPendingRequests: maxPending,
      connectTimeoutMs: pool?.connectMs || null,
      idleTimeoutMs: pool?.idleMs || null,
      maxRequestsPerConnection: pool?.mostRequests || null,
    },
    outlierDetection: outliers && {
      consecutive5xxErrors: outliers.consecutive5xx,
      consecutiveGatewayErrors: outliers.consecutiveGateway,
      baseEjectionTimeMs: outliers.baseMs,
      maxEjectionPercent: outliers.maxEjected,
      minHealthPercent: outliers.minHealthy,
      successRate: outliers.successRate ?? null,
    },
    loadBalancer: { balance, hash: hashText(policy), warmUpMs: warmUp?.durationMs ?? null },
    from: lineText(policy.from),
  };
}

function trafficTexts(policy: TrafficPolicy): readonly string[] {
  const { outliers, balance, warmUp } = policy;
  const out = outliers === null ? null : outlierText(outliers);
  const hash = hashText(policy);
  return [
    ...poolTexts(policy),
    ...(out === null ? [] : [out]),
    ...(balance === null ? [] : [balance]),
    ...(hash === null ? [] : [`by ${hash}`]),
    ...(warmUp === null ? [] : [`whole share after ${warmUp.durationMs} ms`]),
  ];
}

const hashText = ({ hash }: TrafficPolicy): string | null =>
  hash === null ? null : `${hashKeyText(hash.key)} by ${hash.table.kind} of ${hash.table.size} places`;
