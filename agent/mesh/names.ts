// any thread · labels and annotations that mean something to the mesh, ours and Istio's, and the rule who belongs to it. Pure.

/** On a namespace or a pod: `ambient` opts in, `none` opts out. */
export const DATAPLANE_MODE = "orlop.dev/dataplane-mode";
/** Istio's own, honoured when the node is configured to. */
export const ISTIO_DATAPLANE_MODE = "istio.io/dataplane-mode";
/** Annotation on an AuthorizationPolicy: judged and reported, never enforced. */
export const DRY_RUN = "istio.io/dry-run";
/** Annotation on a namespace: its pods do not get the fields that other proxies write about a caller. */
export const REMOVE_PROXY_HEADERS = "orlop.dev/remove-proxy-headers";

export type Labels = Readonly<Record<string, string>>;

/** "unset": nothing said here, or nothing that is understood. */
export type Membership = "in" | "out" | "unset";

/** What the labels of one object say. Ours wins over Istio's, also where it says something that is not understood. */
export function membershipOf(labels: Labels, honourIstioLabels: boolean): Membership {
  const own = labels[DATAPLANE_MODE];
  const said = own === undefined && honourIstioLabels ? labels[ISTIO_DATAPLANE_MODE] : own;
  return said === "ambient" ? "in" : said === "none" ? "out" : "unset";
}

/** A pod is in the mesh when it says so, or says nothing and its namespace does. */
export function isInMesh(own: Membership, isNamespaceIn: boolean): boolean {
  return own === "in" || (own === "unset" && isNamespaceIn);
}
