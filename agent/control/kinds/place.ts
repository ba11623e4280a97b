// any thread · where a node stands in the mesh: what translation of configuration needs to know of it. Plain data.

export type Place = {
  readonly node: string;
  readonly cluster: string;
  /** May be empty: one network. */
  readonly network: string;
  readonly trustDomain: string;
  readonly clusterDomain: string;
  readonly rootNamespace: string;
  /** Honour istio.io/dataplane-mode beside our own label. */
  readonly honourIstioLabels: boolean;
};
