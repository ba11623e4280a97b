// test support · a mesh in which pods of one node may be joined in the kernel: its nodes, its file, and how to tell.
import type { CallResult } from "../../demo/app/client.ts";
import type { Cluster, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";

const ECHO = 8080;
export const joinedNodes: readonly NodeSpec[] = [
  {
    name: "node-a",
    pods: [
      { name: "client" },
      { name: "stranger" },
      { name: "server", labels: { near: "yes", mixed: "yes" } },
      { name: "twin", labels: { near: "yes" } },
    ],
  },
  { name: "node-b", pods: [{ name: "far", labels: { mixed: "yes" } }] },
];
/** A Service whose endpoints are all on node-a, and another with an endpoint on node-b. */
export const near = serviceAddresses(1);
export const mixed = serviceAddresses(2);

export type JoinedState = { readonly callers: readonly string[]; readonly audit?: boolean; readonly account?: string };
/** What the tests begin with. */
export const initial: JoinedState = { callers: ["client"] };

/** The mesh file: STRICT everywhere, and `callers` (service accounts) may call everybody. */
export function joinedMesh(cluster: Cluster, { callers, audit = false, account = "client" }: JoinedState): string {
  const pods = cluster.nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: demo, uid: ${pod.uid}, labels: ${JSON.stringify(pod.labels)}}
spec: {addresses: ["${pod.ip4}", "${pod.ip6}"], node: ${node.name}, serviceAccount: ${pod.name === "client" ? account : pod.name}}
`,
    ),
  );
  const service = (name: string, { ip4, ip6 }: typeof near): string => `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: demo}
spec: {clusterIP: ${ip4}, clusterIPs: ["${ip4}", "${ip6}"], selector: {${name}: "yes"}, ports: [{name: echo, port: 80, targetPort: ${ECHO}}]}
`;
  const principals = callers.map((name) => `"cluster.local/ns/demo/sa/${name}"`).join(", ");
  return [
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}\n",
    ...pods,
    service("near", near),
    service("mixed", mixed),
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: demo}\nspec: {mtls: {mode: STRICT}}\n",
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: demo}
spec: {action: ALLOW, rules: [{from: [{source: {principals: [${principals}]}}]}]}
`,
    ...(audit
      ? [
          "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: watch, namespace: demo}\nspec: {action: AUDIT, rules: [{}]}\n",
        ]
      : []),
  ].join("---\n");
}

const portOf = (text: string | undefined): string => text?.split(":").at(-1) ?? "";

/** One connection from end to end: both see the same port of the client's. An agent in between dials from its own. */
export function isJoined({ local, reply }: CallResult): boolean {
  return reply !== undefined && portOf(local) === portOf(reply.peer);
}
