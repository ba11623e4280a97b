// any thread · what a DestinationRule says of requests to a Service: when an endpoint is left out. Plain data.
import type { SourceRef } from "./source-ref.ts";

/**
 * Istio's `outlierDetection` (istio.io/api:networking/v1alpha3/destination_rule.proto). An endpoint is left out for `baseMs`, as often as it
 * was left out in a row, 300 s at most or `baseMs` where that is more.
 */
export type OutlierDetection = {
  /** Failures in a row, of any kind: statuses from 500 on, and no response. 0: they do not count. */
  readonly consecutive5xx: number;
  /** Failures in a row of 502, 503, 504 and no response. 0: they do not count. */
  readonly consecutiveGateway: number;
  readonly baseMs: number;
  /** Percent of a Service's endpoints that may be left out at once. */
  readonly maxEjected: number;
  /** Percent: where fewer endpoints are in use, all are used. */
  readonly minHealthy: number;
  /** Absent: nobody compares endpoints. */
  readonly successRate?: SuccessRate;
};

/** Compares, once in each interval, endpoints that had `requestVolume` requests, if there are `minimumHosts` of them: who is served much worse is left out. */
export type SuccessRate = {
  /** From 1,000 to 300,000. */
  readonly intervalMs: number;
  readonly minimumHosts: number;
  readonly requestVolume: number;
  /** Standard deviations below the mean of all. */
  readonly stdevFactor: number;
};

/**
 * "cost": the cheaper of two, by latency, what waits and failures. "least-request": the less loaded of two. "round-robin": each in its turn.
 * All by weight.
 */
export const requestBalancings = ["cost", "least-request", "round-robin", "random"] as const;
export type RequestBalancing = (typeof requestBalancings)[number];

/** "ring": `size` places at least. "maglev": `size` places, a prime. */
export type HashTable = { readonly kind: "ring" | "maglev"; readonly size: number };

/** What of a request tells where it goes. A request that has it not is balanced as without. Names of headers in lower case. */
export type HashKey =
  | { readonly of: "header" | "cookie" | "query"; readonly name: string }
  | { readonly of: "source-address" };

/** Istio's `consistentHash`. */
export type ConsistentHash = { readonly key: HashKey; readonly table: HashTable };

/** A new endpoint gets its whole share of requests after `durationMs`, and before that a growing part of it, from `minimumPercent` on. */
export type WarmUp = {
  readonly durationMs: number;
  /** From 1 to 100. */
  readonly minimumPercent: number;
  /** 1: its share grows evenly. More: fast at first. */
  readonly aggression: number;
};

/**
 * Istio's `connectionPool`, of connections to a single endpoint: each kept for a pod alone, on a data thread alone. Of each field 0: as without.
 */
export type ConnectionPool = {
  /** Milliseconds until a connection has to be open. */
  readonly connectMs: number;
  /** Milliseconds without a request, behind which it ends. */
  readonly idleMs: number;
  /** Requests on a connection. */
  readonly mostRequests: number;
};

/** What holds for the requests of routes to a Service. */
export type TrafficPolicy = {
  readonly outliers: OutlierDetection | null;
  /** Requests of a caller's identity under way to a port at once, over all threads of its node; null: as many as come. */
  readonly maxRequests: number | null;
  /** Connections of a caller's identity open to a port at once, over all threads of its node, read or not. Absent: as many as come. */
  readonly maxConnections?: number;
  /**
   * Requests of a caller's identity to a port that may wait at once, over all threads of its node: of HTTP/1 for a connection, until it is open, of
   * HTTP/2 for a stream. Absent: as many as come.
   */
  readonly maxPending?: number;
  /** Absent: connections are kept as they are without a DestinationRule. */
  readonly pool?: ConnectionPool;
  /** Requests of the same key go to the same endpoint; null: there is no key. */
  readonly hash: ConsistentHash | null;
  /** How requests choose; null: as the Service says. */
  readonly balance: RequestBalancing | null;
  /** null: an endpoint that comes has its share at once. */
  readonly warmUp: WarmUp | null;
  /** The DestinationRule. */
  readonly from: SourceRef;
};
