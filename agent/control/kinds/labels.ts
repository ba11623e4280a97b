// main, CLI · labels and annotations that the kinds read, ours and Istio's. Constants only.

/** On a namespace or a pod: `ambient` opts in, `none` opts out. */
export const DATAPLANE_MODE = "orlop.dev/dataplane-mode";
/** Istio's own, honoured when the node is configured to. */
export const ISTIO_DATAPLANE_MODE = "istio.io/dataplane-mode";
/** On an AuthorizationPolicy: judged and reported, never enforced. */
export const DRY_RUN = "istio.io/dry-run";
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
