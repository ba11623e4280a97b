// any thread · routes of TCP connections as values: which connections to a Service's port a route takes, and who has them. Plain data.
import type { RouteBackend, RouteParent } from "./http-rule.ts";
import type { SourceRef } from "./source-ref.ts";

export type StreamBackend = Pick<RouteBackend, "service" | "port" | "weight">;

export type StreamRoute = {
  readonly kind: "TCPRoute" | "TLSRoute";
  readonly name: string;
  readonly namespace: string;
  readonly parents: readonly RouteParent[];
  /** As of an `HttpRoute`. */
  readonly createdMs: number;
  /**
   * Of a TLSRoute: names of servers, in lower case, of which a caller must name any; `*.` in front takes one or more labels. Of a TCPRoute
   * empty: it takes every connection.
   */
  readonly hostnames: readonly string[];
  /** Drawn by weight, for each connection. */
  readonly backends: readonly StreamBackend[];
  readonly from: SourceRef;
};
