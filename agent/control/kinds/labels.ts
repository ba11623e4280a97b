// any thread · labels and annotations that only the kinds read; those of the mesh itself are in mesh/names.ts. Constants only.

/** On a Service: where to send when spec.trafficDistribution is not written. */
export const TRAFFIC_DISTRIBUTION = "networking.istio.io/traffic-distribution";
/** On a Service: how requests of routes choose among its endpoints. */
export const BALANCE = "orlop.dev/balance";
/** On a Service: whether its ports with routes are reached past the routes while no agent lives. */
export const FAIL_DIRECT = "orlop.dev/fail-direct";
/** On an HTTPRoute: what is to go wrong with its requests (docs/routes.md). */
export const FAULT = "orlop.dev/fault";
/** Of a DestinationRule: JSON. */
export const SUCCESS_RATE = "orlop.dev/success-rate";
/** On an HTTPRoute or GRPCRoute: "true" leaves credentials in copies of its requests (docs/routes.md). */
export const MIRROR_CREDENTIALS = "orlop.dev/mirror-credentials";
/** On an EndpointSlice: the Service it belongs to. */
export const SERVICE_OF_SLICE = "kubernetes.io/service-name";
/** In the names of a Deployment's pods, as the part before the last. */
export const POD_TEMPLATE_HASH = "pod-template-hash";
export const WORKLOAD_NAME = "service.istio.io/workload-name";

/** On a Pod: a sidecar of Istio is in it and takes the pod's connections itself. */
export const SIDECAR = "sidecar.istio.io/status";
/** Containers by which other meshes' proxies run in a pod: Istio's, Linkerd's, Kuma's, Consul's. */
export const SIDECAR_CONTAINERS: ReadonlySet<string> = new Set([
  "istio-proxy",
  "linkerd-proxy",
  "kuma-sidecar",
  "consul-dataplane",
]);
/** On a static pod's mirror: that it is a mirror, and the UID by which its node knows it. */
export const MIRROR = "kubernetes.io/config.mirror";
export const CONFIG_HASH = "kubernetes.io/config.hash";
/** All annotations of a Pod that are read; no other is kept. */
export const POD_ANNOTATIONS = [SIDECAR, MIRROR, CONFIG_HASH] as const;

/** The first that is present names the workload in telemetry, as Istio chooses. */
export const CANONICAL_NAME = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"] as const;
export const CANONICAL_REVISION = [
  "service.istio.io/canonical-revision",
  "app.kubernetes.io/version",
  "version",
] as const;
