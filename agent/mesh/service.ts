// any thread · a Service: virtual addresses, ports, and who answers for them. Plain data.
import type { SourceRef } from "./source-ref.ts";
import type { RequestBalancing, TrafficPolicy } from "./traffic-policy.ts";

export type ServicePort = {
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a port of each workload. */
  readonly targetPort: number | string;
  readonly appProtocol: string;
};

/**
 * Consecutive matches from the start give the rank; strict keeps only full matches (docs/reference/hbone.md#endpoints-of-a-service).
 */
export type LocalityPreference = "network" | "region" | "zone" | "subzone" | "node" | "cluster";
export type LoadBalancing = {
  readonly preference: readonly LocalityPreference[];
  readonly mode: "unspecified" | "strict" | "failover" | "passthrough";
  readonly health: "only-healthy" | "allow-all";
  /** How requests of routes choose among endpoints; absent: by what they cost. */
  readonly requests?: RequestBalancing;
};

/** An endpoint named in the Service itself, instead of by selector. `workload` is set when its address belongs to a workload. */
export type ExplicitEndpoint = {
  readonly address: string;
  /** Target port by service port name or number as text; empty: the service's own targetPort. */
  readonly ports: Readonly<Record<string, number>>;
  readonly weight: number;
  readonly healthy: boolean;
};

export type Service = {
  readonly name: string;
  readonly namespace: string;
  /** `<name>.<namespace>.svc.<cluster domain>` unless given. */
  readonly hostname: string;
  /** Virtual addresses, canonical text. Empty: headless. */
  readonly vips: readonly string[];
  readonly ports: readonly ServicePort[];
  /** Labels a workload of the same namespace must carry; null: endpoints are explicit. */
  readonly selector: Readonly<Record<string, string>> | null;
  readonly endpoints: readonly ExplicitEndpoint[];
  /** Further SPIFFE IDs accepted of this service's endpoints. */
  readonly subjectAltNames: readonly string[];
  readonly loadBalancing: LoadBalancing;
  /**
   * Ports that routes are about may be reached past the routes while no agent lives, where policy lets plaintext to each endpoint.
   * Absent: they refuse.
   */
  readonly failsDirect?: boolean;
  /** Absent: no DestinationRule says anything. */
  readonly traffic?: TrafficPolicy;
  readonly from: SourceRef;
};
