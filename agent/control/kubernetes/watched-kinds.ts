// main thread · what the agent reads of a cluster, and where. Constants only.

export type WatchedKind = {
  readonly kind: string;
  readonly apiVersion: string;
  /** Below the server's root, without a query. */
  readonly path: string;
  /** What the server leaves out, as it is in a query. */
  readonly selector: string;
  /** The kind comes with a CustomResourceDefinition, which a cluster may lack. */
  readonly isCustom: boolean;
  /** Read where the server has none better, the newest first. */
  readonly otherVersions: readonly string[];
};

const ISTIO = "security.istio.io/v1";
const istio = { apiVersion: ISTIO, selector: "", isCustom: true, otherVersions: ["security.istio.io/v1beta1"] };
const NETWORKING = "networking.istio.io/v1";
const OWN = "orlop.dev/v1alpha1";
const GATEWAY = "gateway.networking.k8s.io/v1";
/** As Gateway API has them: an older cluster serves the last of these versions alone. */
const gateway = (kind: string, plural: string, ...otherVersions: readonly string[]): WatchedKind => ({
  ...{ kind, apiVersion: GATEWAY, path: `/apis/${GATEWAY}/${plural}`, selector: "", isCustom: true },
  otherVersions: otherVersions.map((version) => `gateway.networking.k8s.io/${version}`),
});
const core = { apiVersion: "v1", selector: "", isCustom: false, otherVersions: [] };

export const watchedKinds: readonly WatchedKind[] = [
  {
    ...core,
    ...{ kind: "Pod", path: "/api/v1/pods" },
    // Finished pods keep an address that other pods have by now.
    selector: "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
  },
  { ...core, kind: "Namespace", path: "/api/v1/namespaces" },
  { ...core, kind: "Service", path: "/api/v1/services" },
  {
    ...core,
    ...{ kind: "EndpointSlice", apiVersion: "discovery.k8s.io/v1" },
    path: "/apis/discovery.k8s.io/v1/endpointslices",
    // The endpoints of a Service with a selector are the pods that it selects.
    selector: "labelSelector=endpointslice.kubernetes.io/managed-by%21%3Dendpointslice-controller.k8s.io",
  },
  { ...istio, kind: "PeerAuthentication", path: `/apis/${ISTIO}/peerauthentications` },
  { ...istio, kind: "AuthorizationPolicy", path: `/apis/${ISTIO}/authorizationpolicies` },
  gateway("HTTPRoute", "httproutes", "v1beta1"),
  gateway("GRPCRoute", "grpcroutes"),
  gateway("TLSRoute", "tlsroutes", "v1alpha3", "v1alpha2"),
  gateway("TCPRoute", "tcproutes", "v1alpha2"),
  {
    ...{ kind: "DestinationRule", apiVersion: NETWORKING, path: `/apis/${NETWORKING}/destinationrules`, selector: "" },
    ...{ isCustom: true, otherVersions: ["networking.istio.io/v1beta1"] },
  },
  {
    ...{ kind: "LimitPolicy", apiVersion: OWN, path: `/apis/${OWN}/limitpolicies`, selector: "", isCustom: true },
    otherVersions: [],
  },
];
