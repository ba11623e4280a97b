// any thread · what every source emits and the one writer applies. Plain data: it crosses threads by copy.
import type { HttpRoute } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "./policies.ts";
import type { Service } from "./service.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";

/** Keys: workload `uid`; service and policies `<namespace>/<name>`; routes as of `routeKey`. */
export type MeshUpdate =
  | { readonly kind: "workload"; readonly op: "upsert"; readonly value: Workload }
  | { readonly kind: "workload"; readonly op: "remove"; readonly key: string }
  | { readonly kind: "service"; readonly op: "upsert"; readonly value: Service }
  | { readonly kind: "service"; readonly op: "remove"; readonly key: string }
  | { readonly kind: "authorization-policy"; readonly op: "upsert"; readonly value: AuthorizationPolicy }
  | { readonly kind: "authorization-policy"; readonly op: "remove"; readonly key: string }
  | { readonly kind: "peer-authentication"; readonly op: "upsert"; readonly value: PeerAuthentication }
  | { readonly kind: "peer-authentication"; readonly op: "remove"; readonly key: string }
  | { readonly kind: "http-route"; readonly op: "upsert"; readonly value: HttpRoute }
  | { readonly kind: "http-route"; readonly op: "remove"; readonly key: string }
  | { readonly kind: "tls-route"; readonly op: "upsert"; readonly value: StreamRoute }
  | { readonly kind: "tls-route"; readonly op: "remove"; readonly key: string }
  | { readonly kind: "tcp-route"; readonly op: "upsert"; readonly value: StreamRoute }
  | { readonly kind: "tcp-route"; readonly op: "remove"; readonly key: string }
  | { readonly kind: "limit-policy"; readonly op: "upsert"; readonly value: LimitPolicy }
  | { readonly kind: "limit-policy"; readonly op: "remove"; readonly key: string };
