// test support · the documents of a mesh for a cluster in a box: its namespace, a workload for each pod, Services. Pure: text, no I/O.
import type { Cluster, Pod } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";

/** The namespace `demo` with all of its pods in the mesh. `metadata`: more of it, as YAML in flow style. */
export const ambientNamespace = (metadata = ""): string =>
  `apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}${metadata}}\n`;

const labelledByName = ({ name }: Pod): Readonly<Record<string, string>> => ({ app: name });

/** A Workload for each pod of the cluster; its labels are `app` with the pod's name, or what `labels` says. */
export function workloadsOf(
  { nodes }: Pick<Cluster, "nodes">,
  labels: (pod: Pod) => Readonly<Record<string, string>> = labelledByName,
): readonly string[] {
  return nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: demo, uid: ${pod.uid}, labels: ${JSON.stringify(labels(pod))}}
spec: {addresses: ["${pod.ip4}", "${pod.ip6}"], node: ${node.name}, serviceAccount: ${pod.serviceAccount}}
`,
    ),
  );
}

export type ServiceSpec = {
  readonly name: string;
  /** Default: the pods whose label `app` is the Service's name. */
  readonly selector?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
};
export type ServicePort = { readonly name: string; readonly port: number; readonly targetPort: number };

/** Services with these ports; the first has the box's first addresses of Services (`serviceAddresses(1)`), and so on. */
export function servicesOf(specs: readonly ServiceSpec[], ports: readonly ServicePort[]): readonly string[] {
  return specs.map(({ name, selector = { app: name }, annotations = {} }, index) => {
    const { ip4, ip6 } = serviceAddresses(index + 1);
    return `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: demo, annotations: ${JSON.stringify(annotations)}}
spec:
  clusterIP: ${ip4}
  clusterIPs: ["${ip4}", "${ip6}"]
  selector: ${JSON.stringify(selector)}
  ports: ${JSON.stringify(ports)}
`;
  });
}

/** A mesh file; empty documents are left out. */
export const meshOf = (documents: readonly string[]): string => documents.filter((text) => text !== "").join("---\n");
