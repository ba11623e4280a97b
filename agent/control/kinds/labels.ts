// any thread · labels and annotations that only the kinds read; those of the mesh itself are in mesh/names.ts. Constants only.

/** On a Service: where to send when spec.trafficDistribution is not written. */
export const TRAFFIC_DISTRIBUTION = "networking.istio.io/traffic-distribution";
/** On an EndpointSlice: the Service it belongs to. */
export const SERVICE_OF_SLICE = "kubernetes.io/service-name";
/** In the names of a Deployment's pods, as the part before the last. */
export const POD_TEMPLATE_HASH = "pod-template-hash";
export const WORKLOAD_NAME = "service.istio.io/workload-name";

/** The first that is present names the workload in telemetry, as Istio chooses. */
export const CANONICAL_NAME = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"] as const;
export const CANONICAL_REVISION = [
  "service.istio.io/canonical-revision",
  "app.kubernetes.io/version",
  "version",
] as const;
