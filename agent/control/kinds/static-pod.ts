// any thread · the UID by which a node knows a static pod: the API server has another. Pure.
import { isStaticPodUid } from "../../mesh/workload.ts";
import { CONFIG_HASH, MIRROR } from "./labels.ts";

/** What the API server says of a pod, as far as this file looks at it. */
export type PodIdentity = {
  readonly uid: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly nodeName: string;
  readonly ownerReferences: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean }[];
};

/**
 * The UID in the name of the pod's cgroup. The kubelet makes a static pod out of a file before the API server knows of it, under a UID
 * that is an MD5 of the file, and then shows a mirror of it on the API server with that UID in an annotation
 * (kubernetes:pkg/kubelet/config/common.go, pkg/kubelet/pod/mirror_client.go).
 *
 * Every user who may create pods may write such annotations, so they count only for a mirror that its own node owns, and only a hash: a UID
 * of the API server has dashes, so no annotation leads to the cgroup of another ordinary pod.
 */
export function cgroupUidOf({ uid, annotations, nodeName, ownerReferences }: PodIdentity): string {
  const hash = annotations[CONFIG_HASH] ?? "";
  const isMirror =
    annotations[MIRROR] !== undefined &&
    ownerReferences.some(({ kind, name, controller }) => kind === "Node" && name === nodeName && controller === true);
  return isMirror && isStaticPodUid(hash) ? hash : uid;
}
