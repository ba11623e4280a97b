// any thread · one workload: a pod, or its stand-in on a plain machine. Plain data; crosses threads by copy.
import type { SourceRef } from "./source-ref.ts";
import type { SpiffeId } from "./spiffe-id.ts";

export type Locality = { readonly region: string; readonly zone: string; readonly subzone: string };

export type Workload = {
  /** Unique in the mesh: `<cluster>//Pod/<namespace>/<name>` (Istio's form). */
  readonly uid: string;
  /** The pod's own UID as its cgroup path has it; the keeper finds the pod by it. Empty for pods of other nodes. */
  readonly podUid: string;
  readonly name: string;
  readonly namespace: string;
  /** Canonical text, see ip.ts. */
  readonly addresses: readonly string[];
  readonly node: string;
  readonly network: string;
  readonly cluster: string;
  readonly identity: SpiffeId;
  readonly labels: Readonly<Record<string, string>>;
  /** "hbone": reached through its agent's :15008. "none": plain TCP. */
  readonly protocol: "hbone" | "none";
  /** Named container ports, for Services whose targetPort is a name. */
  readonly ports: Readonly<Record<string, number>>;
  /**
   * The only ports that programs of its node, let in past its policy, may reach: those of its probes and lifecycle hooks. null: the
   * source does not know them, and every port counts.
   */
  readonly probePorts: readonly number[] | null;
  /** Of its namespace: requests of HTTP that are read lose x-envoy-* and x-forwarded-client-cert on their way to it. */
  readonly removesProxyHeaders: boolean;
  readonly healthy: boolean;
  readonly locality: Locality;
  /** Share of new connections relative to its peers; ≥ 0, default 1. */
  readonly weight: number;
  /** Names for telemetry: deployment name, canonical service and revision. */
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly from: SourceRef;
};

/** Of a pod that the kubelet makes out of a file: an MD5 (kubernetes:pkg/kubelet/config/common.go). UIDs of the API server have dashes. */
export const isStaticPodUid = (podUid: string): boolean => /^[0-9a-f]{32}$/.test(podUid);

/** A workload of which the mesh has no address yet, under those that the keeper found in its pod's namespace. */
export function withAddresses(workload: Workload, addresses: readonly string[]): Workload {
  return workload.addresses.length > 0 || addresses.length === 0 ? workload : { ...workload, addresses };
}
