// test cluster · a Pod by which somebody who may create pods in a namespace of his own claims another's static pod: with the annotations and the
// owner of a mirror, and a finalizer, so that the object outlives its deletion by the kubelet.
import assert from "node:assert/strict";
import type { Kubectl } from "./kubectl.ts";

const HASH = "kubernetes.io/config.hash";
const TENANT = "mallory";

type Mirror = {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>>; readonly ownerReferences: unknown };
};

export type MadeUpMirror = {
  /** The kubelet has deleted it, and it is still there. */
  isBeingDeleted(): boolean;
  remove(): void;
};

/**
 * Makes the namespace, in the mesh, and gives the tenant there what the ClusterRole `edit` gives, no more; then the tenant makes the pod.
 * @param options.of namespace/name of the real mirror, whose UID the pod claims
 */
export function madeUpMirror(
  kubectl: Pick<Kubectl, "run">,
  { namespace, name, node, of }: Readonly<Record<"namespace" | "name" | "node" | "of", string>>,
): MadeUpMirror {
  const labels = { "orlop.dev/dataplane-mode": "ambient" };
  kubectl.run(
    ["apply", "-f", "-"],
    JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } }),
  );
  kubectl.run(["-n", namespace, "create", "rolebinding", TENANT, "--clusterrole=edit", `--user=${TENANT}`]);
  const [realNamespace = "", realName = ""] = of.split("/");
  const real = JSON.parse(kubectl.run(["-n", realNamespace, "get", "pod", realName, "-o", "json"])) as Mirror;
  const hash = real.metadata.annotations[HASH];
  assert.match(hash ?? "", /^[0-9a-f]{32}$/, "the kubelet makes the UID of a static pod");
  const pod = {
    ...{ apiVersion: "v1", kind: "Pod" },
    metadata: {
      ...{ name, finalizers: ["example.com/stays"], ownerReferences: real.metadata.ownerReferences },
      annotations: { ...real.metadata.annotations },
    },
    spec: { nodeName: node, containers: [{ name: "none", image: "orlop:0.1.0" }] },
  };
  kubectl.run(["-n", namespace, "--as", TENANT, "create", "-f", "-"], JSON.stringify(pod));
  return {
    isBeingDeleted: () =>
      kubectl.run(["-n", namespace, "get", "pod", name, "-o", "jsonpath={.metadata.deletionTimestamp}"]) !== "",
    remove: () => {
      const patch = JSON.stringify({ metadata: { finalizers: null } });
      kubectl.run(["-n", namespace, "patch", "pod", name, "--type=merge", "-p", patch]);
      kubectl.run(["delete", "namespace", namespace, "--wait=false"]);
    },
  };
}
