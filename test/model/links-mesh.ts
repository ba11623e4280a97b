// test model · the mesh of the model of connections: who is a member, who may call whom. Its YAML, and what the oracle says of it.

import { translateTexts } from "../../agent/control/static-file/read.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "../../agent/mesh/policies.ts";
import type { Workload } from "../../agent/mesh/workload.ts";
import { ask } from "../policy/oracle.ts";

/** `seen` is watched by an AUDIT policy, so that what it is called by on its node takes the way through the agent. */
export const podNames = ["client", "mute", "server", "seen", "far", "remote"] as const;
export type PodName = (typeof podNames)[number];
/** Who may be the end of a connection; `outside` belongs to no mesh. */
export type EndName = PodName | "outside";
export const nodeOf = (pod: PodName): "node-a" | "node-b" => (pod === "far" || pod === "remote" ? "node-b" : "node-a");

/** Rules of the pod's own policies, by name. */
export const ruleNames = [
  "allow-client",
  "allow-mesh",
  "deny-client",
  "deny-mute",
  "deny-outside",
  "deny-port",
] as const;
export type RuleName = (typeof ruleNames)[number];

export type PodState = {
  readonly member: boolean;
  readonly strict: boolean;
  readonly account: number;
  readonly renamed: number;
  readonly ip6: boolean;
  readonly rules: readonly RuleName[];
};
export type MeshState = Readonly<Record<PodName, PodState>>;

const initialPod: PodState = { member: true, strict: false, account: 0, renamed: 0, ip6: true, rules: [] };
export const initialMesh: MeshState = {
  client: initialPod,
  mute: initialPod,
  server: initialPod,
  seen: initialPod,
  far: initialPod,
  remote: initialPod,
};

export const withPod = (mesh: MeshState, pod: PodName, change: Partial<PodState>): MeshState => ({
  ...mesh,
  [pod]: { ...mesh[pod], ...change },
});

export type PodFacts = { readonly uid: string; readonly ip4: string; readonly ip6: string };
export type MeshFacts = Readonly<Record<EndName, PodFacts>>;

/** @param fillers workloads that are nowhere. @param edit the number of the edit, so that each is another text. */
export function meshText(mesh: MeshState, facts: MeshFacts, fillers: number, edit: number): string {
  return [
    `# ${edit}\napiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}\n`,
    ...podNames.filter((pod) => mesh[pod].member).map((pod) => workload(pod, mesh[pod], facts[pod])),
    ...Array.from({ length: fillers }, (_, at) => filler(at)),
    ...podNames.flatMap((pod) => policies(pod, mesh[pod], facts)),
    policy("audit-seen", "seen", "AUDIT", 'from: [{source: {namespaces: ["demo"]}}]'),
  ].join("---\n");
}

function workload(pod: PodName, state: PodState, { uid, ip4, ip6 }: PodFacts): string {
  const addresses = state.ip6 ? [ip4, ip6] : [ip4];
  return `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod}-${state.renamed}, namespace: demo, uid: ${uid}, labels: {app: ${pod}}}
spec:
  addresses: [${addresses.map((address) => JSON.stringify(address)).join(", ")}]
  node: ${nodeOf(pod)}
  serviceAccount: ${accountOf(pod, state)}
`;
}

const accountOf = (pod: PodName, { account }: PodState): string => (account === 0 ? pod : `${pod}-${account}`);

/** A workload of another node, so that there are many. */
const filler = (at: number): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: filler-${at}, namespace: demo}
spec: {addresses: ["10.91.${at >> 8}.${at & 255}"], node: elsewhere, serviceAccount: filler-${at}}
`;

const policy = (name: string, pod: string, action: string, rule: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: demo}
spec:
  selector: {matchLabels: {app: ${pod}}}
  action: ${action}
  rules: [{${rule}}]
`;

function policies(pod: PodName, { strict, rules }: PodState, facts: MeshFacts): readonly string[] {
  const account = (name: string): string => `from: [{source: {principals: ["cluster.local/ns/demo/sa/${name}"]}}]`;
  const text: Readonly<Record<RuleName, readonly [string, string]>> = {
    "allow-client": ["ALLOW", account("client")],
    "allow-mesh": ["ALLOW", account("*")],
    "deny-client": ["DENY", account("client")],
    "deny-mute": ["DENY", account("mute")],
    "deny-outside": ["DENY", `from: [{source: {ipBlocks: ["${facts.outside.ip4}", "${facts.outside.ip6}"]}}]`],
    "deny-port": ["DENY", 'to: [{operation: {ports: ["8081"]}}]'],
  };
  return [
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: mode-${pod}, namespace: demo}
spec:
  selector: {matchLabels: {app: ${pod}}}
  mtls: {mode: ${strict ? "STRICT" : "PERMISSIVE"}}
`,
    ...rules.map((rule) => policy(`${rule}-${pod}`, pod, ...text[rule])),
  ];
}

/** A call as it would be made now. */
export type Call = {
  readonly from: EndName;
  readonly to: EndName;
  readonly family: 4 | 6;
  readonly port: number;
};

export class Judgement {
  readonly #workloads: readonly Workload[];
  readonly #policies: readonly AuthorizationPolicy[];
  readonly #peers: readonly PeerAuthentication[];
  readonly #facts: MeshFacts;

  constructor(text: string, facts: MeshFacts) {
    const settings = {
      node: "node-a",
      cluster: "box",
      network: "",
      trustDomain: "cluster.local",
      clusterDomain: "cluster.local",
      rootNamespace: "istio-system",
      honourIstioLabels: false,
      runtimeClasses: [],
    };
    const updates: readonly MeshUpdate[] = translateTexts([{ file: "mesh.yaml", text }], settings).updates;
    const values = <K extends MeshUpdate["kind"]>(kind: K) =>
      updates.flatMap((update) => (update.kind === kind && update.op === "upsert" ? [update.value] : []));
    this.#workloads = values("workload") as Workload[];
    this.#policies = values("authorization-policy") as AuthorizationPolicy[];
    this.#peers = values("peer-authentication") as PeerAuthentication[];
    this.#facts = facts;
  }

  isMember(end: EndName): boolean {
    return this.#workloadOf(end) !== undefined;
  }

  /** Do both ends' Workloads name the addresses of this family? What they do not name is none of the mesh's. */
  isNamed({ from, to, family }: Call): boolean {
    return [from, to].every((end) => {
      const { ip4, ip6 } = this.#facts[end];
      return this.#workloadOf(end)?.addresses.includes(family === 4 ? ip4 : ip6) ?? true;
    });
  }

  /** Would this call be granted? Nobody judges what leads out of the mesh. */
  allows({ from, to, family, port }: Call): boolean {
    const destination = this.#workloadOf(to);
    if (destination === undefined) return true;
    const source = this.#workloadOf(from);
    const address = (end: EndName): string => (family === 4 ? this.#facts[end].ip4 : this.#facts[end].ip6);
    const facts = {
      sourceAddress: address(from),
      sourcePort: 40_000,
      sourceIdentity: source?.identity ?? null,
      destinationAddress: address(to),
      destinationPort: port,
      destination,
      security: source === undefined ? ("none" as const) : ("socket" as const),
      request: "strict" as const,
    };
    const mesh = {
      authorizationPolicies: this.#policies,
      peerAuthentications: this.#peers,
      rootNamespace: "istio-system",
      trustDomain: "cluster.local",
    };
    return ask(facts, mesh).verdict === "allow";
  }

  #workloadOf(end: EndName): Workload | undefined {
    const { ip4 } = this.#facts[end];
    return this.#workloads.find(({ addresses }) => addresses.includes(ip4));
  }
}
