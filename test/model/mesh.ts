// test model · the mesh as the model knows it, what follows from it for each pod, and its YAML. Pure.
import type { Step } from "./step.ts";

/** Three pods of one node. `calm` is edited only by what concerns all of them. */
export const podNames = ["left", "right", "calm"] as const;
export type PodName = (typeof podNames)[number];

export type PodState = {
  readonly membership: "in" | "removed" | "opted-out";
  /** What is wrong with its Workload, though the file is valid. */
  readonly mistake: "" | "address" | "uid" | "node";
  readonly permissive: boolean;
  /** Times its Workload got another name. */
  readonly renamed: number;
  /** Addresses that the Workload names beside the first. */
  readonly listed: { readonly ip6: boolean; readonly second: boolean };
  readonly account: number;
  readonly label: number;
};
export type MeshState = {
  readonly pods: Readonly<Record<PodName, PodState>>;
  /** The namespace carries the label that puts its workloads into the mesh. */
  readonly namespaceIn: boolean;
  /** Numbers of DENY policies that match nobody of this node. */
  readonly policies: readonly number[];
  /** Changes nothing but the text. */
  readonly comment: number;
};

const initialPod: PodState = {
  membership: "in",
  mistake: "",
  permissive: false,
  renamed: 0,
  listed: { ip6: true, second: false },
  account: 0,
  label: 0,
};
export const initialMesh: MeshState = {
  pods: { left: initialPod, right: initialPod, calm: initialPod },
  namespaceIn: true,
  policies: [],
  comment: 0,
};

export const isMember = (mesh: MeshState, pod: PodName): boolean =>
  mesh.namespaceIn && mesh.pods[pod].membership === "in";
/** Plaintext to it is refused: a mistake takes nobody out. */
export const refusesPlaintext = (mesh: MeshState, pod: PodName): boolean =>
  isMember(mesh, pod) && !mesh.pods[pod].permissive;

export const withPod = (mesh: MeshState, pod: PodName, change: Partial<PodState>): MeshState => ({
  ...mesh,
  pods: { ...mesh.pods, [pod]: { ...mesh.pods[pod], ...change } },
});

/** What the pods really are. */
export type PodFacts = { readonly uid: string; readonly ip4: string; readonly ip6: string; readonly second: string };
export type MeshFacts = {
  readonly node: string;
  readonly pods: Readonly<Record<PodName, PodFacts>>;
  /** A member of the mesh on another node that nobody runs; it listens in plaintext all the same. */
  readonly far: { readonly ip4: string; readonly ip6: string };
};

/** The documents of the mesh; what makes it strict comes last, so that half a file lacks it. */
export function meshDocuments(mesh: MeshState, facts: MeshFacts): readonly string[] {
  const label = mesh.namespaceIn ? "{orlop.dev/dataplane-mode: ambient}" : "{}";
  return [
    `# ${mesh.comment}\napiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: ${label}}\n`,
    ...podNames.flatMap((pod) => workload(pod, mesh.pods[pod], facts)),
    `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: far, namespace: demo}
spec: {addresses: ["${facts.far.ip4}", "${facts.far.ip6}"], node: elsewhere, serviceAccount: far}
`,
    ...podNames.filter((pod) => mesh.pods[pod].permissive).map(permissive),
    ...mesh.policies.map(policy),
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: demo}\nspec: {mtls: {mode: STRICT}}\n",
  ];
}

function workload(pod: PodName, state: PodState, { node, pods }: MeshFacts): readonly string[] {
  if (state.membership === "removed") return [];
  const { uid, ip4, ip6, second } = pods[pod];
  const { listed, mistake } = state;
  // Of no pod, and of this Workload alone: otherwise the whole file would be wrong.
  const addresses = [mistake === "address" ? `10.90.1.25${podNames.indexOf(pod)}` : ip4];
  if (listed.ip6) addresses.push(ip6);
  if (listed.second) addresses.push(second);
  const out = state.membership === "opted-out" ? ", orlop.dev/dataplane-mode: none" : "";
  const written = mistake === "uid" ? uid.replace(/.$/, (last) => (last === "0" ? "1" : "0")) : uid;
  return [
    `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata:
  name: ${pod}-${state.renamed}
  namespace: demo
  uid: ${written}
  labels: {app: ${pod}, label: "${state.label}"${out}}
spec:
  addresses: [${addresses.map((address) => JSON.stringify(address)).join(", ")}]
  node: ${mistake === "node" ? `${node}x` : node}
  serviceAccount: ${pod}-${state.account}
`,
  ];
}

const permissive = (pod: PodName): string => `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: open-${pod}, namespace: demo}
spec:
  selector: {matchLabels: {app: ${pod}}}
  mtls: {mode: PERMISSIVE}
`;

const policy = (number: number): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-${number}, namespace: demo}
spec:
  action: DENY
  rules: [{from: [{source: {principals: ["cluster.local/ns/demo/sa/nobody-${number}"]}}]}]
`;

/** A file as a writer leaves it that died in the middle of a Workload: it is never valid. */
export function halfOf(documents: readonly string[], step: Step): string {
  const cut = documents.flatMap((text, at) => (text.includes("kind: Workload") ? [at] : []));
  const at = cut[step.n % cut.length] ?? 0;
  const text = documents[at] ?? "";
  return [...documents.slice(0, at), text.slice(0, text.indexOf("spec:") + 2)].join("---\n");
}
