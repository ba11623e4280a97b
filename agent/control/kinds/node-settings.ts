// any thread · what translation of configuration needs to know of this node: its name, its cluster, its mesh. Plain data.

export type NodeSettings = {
  readonly node: string;
  readonly cluster: string;
  /** May be empty: one network. */
  readonly network: string;
  readonly trustDomain: string;
  readonly clusterDomain: string;
  readonly rootNamespace: string;
  /** Honour istio.io/dataplane-mode beside our own label. */
  readonly honourIstioLabels: boolean;
  /** RuntimeClasses that run pods in the node's own kernel, so that they can be captured. */
  readonly runtimeClasses: readonly string[];
};
