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
};

const ISTIO = "security.istio.io/v1";

export const watchedKinds: readonly WatchedKind[] = [
  {
    ...{ kind: "Pod", apiVersion: "v1", path: "/api/v1/pods", isCustom: false },
    // Finished pods keep an address that other pods have by now.
    selector: "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
  },
  { kind: "Namespace", apiVersion: "v1", path: "/api/v1/namespaces", selector: "", isCustom: false },
  { kind: "Service", apiVersion: "v1", path: "/api/v1/services", selector: "", isCustom: false },
  {
    ...{ kind: "EndpointSlice", apiVersion: "discovery.k8s.io/v1", isCustom: false },
    path: "/apis/discovery.k8s.io/v1/endpointslices",
    // The endpoints of a Service with a selector are the pods that it selects.
    selector: "labelSelector=endpointslice.kubernetes.io/managed-by%21%3Dendpointslice-controller.k8s.io",
  },
  {
    ...{ kind: "PeerAuthentication", apiVersion: ISTIO, selector: "", isCustom: true },
    path: `/apis/${ISTIO}/peerauthentications`,
  },
  {
    ...{ kind: "AuthorizationPolicy", apiVersion: ISTIO, selector: "", isCustom: true },
    path: `/apis/${ISTIO}/authorizationpolicies`,
  },
];
