// demo · the mesh file of the demo: its pods, one service, its policies. Pure: state in, YAML out.

import type { Cluster, NodeSpec } from "../../test/box/cluster.ts";
import { type Addresses, serviceAddresses } from "../../test/box/network.ts";

/**
 * `vault` is STRICT and takes calls from `web` only. `api` is PERMISSIVE (Istio's default) and denies `batch`. `cache` is
 * PERMISSIVE without any policy. `legacy` is in the namespace but opted out: plain TCP, no identity. `books` and `ledger` serve HTTP:
 * anybody may read their accounts, and write nothing.
 */
export const demoNodes: readonly NodeSpec[] = [
  {
    name: "node-a",
    pods: ["web", "batch", "cache"].map((name) => ({
      name,
      labels: { app: name },
    })),
  },
  {
    name: "node-b",
    pods: ["api", "vault", "legacy"].map((name) => ({
      name,
      labels: { app: name },
    })),
  },
];

/** The same, with a pod on each node that serves HTTP. */
export const nodesWithHttp: readonly NodeSpec[] = demoNodes.map((node) => {
  const name = node.name === "node-a" ? "books" : "ledger";
  return {
    ...node,
    pods: [...node.pods, { name, labels: { app: name, serves: "http" } }],
  };
});

/** Of `books` and `ledger`. */
export const httpPort = 8090;
export const grpcPort = 8091;

/** A caller that asks for accounts gets those of `ledger` nine times of ten, else those of `books`; a tester gets those of `books` alone. */
export const accountsService = { ...serviceAddresses(2), port: 80 };
/** Of calls of gRPC: `ledger` takes those of a single method, `books` the others of that service. */
export const greeterService = { ...serviceAddresses(5), port: 80 };
/** In front of `ledger` and `books`, for the routes. */
const backends = { ledger: serviceAddresses(3), books: serviceAddresses(4) } as const;
/** `ledger` again, with few connections. */
const narrow = serviceAddresses(6);
export const narrowPool = { connections: 2, waiting: 3 } as const;

/** Port 80 of its virtual addresses leads to port 8080 of `api`. */
export const apiService = { ...serviceAddresses(1), port: 80 };
export const identityOf = (pod: string): string => `spiffe://cluster.local/ns/demo/sa/${pod}`;

export type MeshState = {
  /** Pods that carry the label that keeps them out. */
  readonly optedOut: ReadonlySet<string>;
  /** Whom `vault` takes calls from, by service account. */
  readonly vaultCallers: readonly string[];
  /** The paths that may be read of what serves HTTP. */
  readonly readable: readonly string[];
  /** How many requests of a caller each of the pods takes that serve HTTP; null: as many as come. */
  readonly limit: { readonly requests: number; readonly per: "second" | "minute"; readonly burst: number } | null;
  /** What is to go wrong with requests to accounts (docs/routes.md, Faults); null: nothing. */
  readonly fault: object | null;
};
export const initialState: MeshState = {
  optedOut: new Set(["legacy"]),
  vaultCallers: ["web"],
  readable: ["/accounts/*"],
  limit: null,
  fault: null,
};

const list = (items: readonly string[]): string => `[${items.map((item) => JSON.stringify(item)).join(", ")}]`;

export function meshText(cluster: Cluster, state: MeshState): string {
  const documents = [
    `apiVersion: v1
kind: Namespace
metadata:
  name: demo
  labels: {orlop.dev/dataplane-mode: ambient}
`,
    ...cluster.nodes.flatMap((node) =>
      node.pods.map((pod) => {
        const labels = Object.entries(pod.labels).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
        if (state.optedOut.has(pod.name)) labels.push("orlop.dev/dataplane-mode: none");
        return `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata:
  name: ${pod.name}
  namespace: ${pod.namespace}
  uid: ${pod.uid}
  labels: {${labels.join(", ")}}
spec:
  addresses: ${list([pod.ip4, pod.ip6])}
  node: ${node.name}
  serviceAccount: ${pod.serviceAccount}
`;
      }),
    ),
    `apiVersion: v1
kind: Service
metadata: {name: api, namespace: demo}
spec:
  clusterIP: ${apiService.ip4}
  clusterIPs: ${list([apiService.ip4, apiService.ip6])}
  selector: {app: api}
  ports: [{name: echo, port: ${apiService.port}, targetPort: 8080}]
`,
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: vault-strict, namespace: demo}
spec:
  selector: {matchLabels: {app: vault}}
  mtls: {mode: STRICT}
`,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: vault-callers, namespace: demo}
spec:
  selector: {matchLabels: {app: vault}}
  action: ALLOW
  rules:
    - from: [{source: {principals: ${list(state.vaultCallers.map((name) => `cluster.local/ns/demo/sa/${name}`))}}}]
`,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-batch, namespace: demo}
spec:
  selector: {matchLabels: {app: api}}
  action: DENY
  rules:
    - from: [{source: {principals: ["cluster.local/ns/demo/sa/batch"]}}]
`,
    ...(hasHttp(cluster) ? [readers(state), ...accounts(state), ...greeter, breaker, pool, ...limits(state)] : []),
  ];
  return documents.join("---\n");
}

const hasHttp = ({ nodes }: Cluster): boolean =>
  nodes.some(({ pods }) => pods.some(({ labels }) => labels.serves === "http"));

const readers = ({ readable }: Pick<MeshState, "readable">): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: demo}
spec:
  selector: {matchLabels: {serves: http}}
  action: ALLOW
  rules:
    - to: [{operation: {ports: ["${httpPort}"], methods: [GET], paths: ${list(readable)}}}]
    - to: [{operation: {notPorts: ["${httpPort}"]}}]
`;

/** A Service that answers by its route alone, and the two to which it leads. */
const accounts = ({ fault }: Pick<MeshState, "fault">): readonly string[] => [
  httpService("accounts", accountsService, "accounts"),
  ...Object.entries(backends).map(([app, addresses]) => httpService(`accounts-${app}`, addresses, app)),
  httpService("accounts-narrow", narrow, "ledger"),
  `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: accounts, namespace: demo, annotations: {${fault === null ? "" : `orlop.dev/fault: '${JSON.stringify(fault)}'`}}}
spec:
  parentRefs: [{group: "", kind: Service, name: accounts, port: ${accountsService.port}}]
  rules:
    - matches: [{path: {type: Exact, value: /accounts/flaky}}]
      retry: {codes: [503], attempts: 2, backoff: 1ms}
      backendRefs: [{name: accounts-ledger, port: 80}]
    - matches: [{path: {type: Exact, value: /accounts/broken}}]
      backendRefs: [{name: accounts-ledger, port: 80}]
    - matches: [{path: {type: Exact, value: /accounts/slow}}]
      backendRefs: [{name: accounts-narrow, port: 80}]
    - matches: [{path: {type: Exact, value: /accounts/mirrored}}]
      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: accounts-books, port: 80}}}]
      backendRefs: [{name: accounts-ledger, port: 80}]
    - matches: [{headers: [{name: x-tester, value: "yes"}]}]
      backendRefs: [{name: accounts-books, port: 80}]
    - backendRefs:
        - {name: accounts-ledger, port: 80, weight: 90}
        - {name: accounts-books, port: 80, weight: 10}
`,
];

const greeter: readonly string[] = [
  httpService("greeter", greeterService, "greeter"),
  `apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: greeter, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: greeter, port: ${greeterService.port}}]
  rules:
    - matches: [{method: {service: demo.Greeter, method: Hello}}]
      backendRefs: [{name: accounts-ledger, port: 81}]
    - matches: [{method: {service: demo.Greeter}}]
      backendRefs: [{name: accounts-books, port: 81}]
`,
];

/** The pod of `ledger` is the only endpoint: behind three failures in a row nobody is asked for a second, and then a single request asks. */
const breaker = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: accounts-ledger, namespace: demo}
spec:
  host: accounts-ledger
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 3, baseEjectionTime: 1s, maxEjectionPercent: 100}
`;

/** What finds neither a connection nor room to wait for it is refused at once. */
const pool = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: accounts-narrow, namespace: demo}
spec:
  host: accounts-narrow
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: ${narrowPool.connections}}
      http: {http1MaxPendingRequests: ${narrowPool.waiting}}
`;

function httpService(name: string, { ip4, ip6 }: Addresses, app: string): string {
  return `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: demo}
spec:
  clusterIP: ${ip4}
  clusterIPs: ${list([ip4, ip6])}
  selector: {app: ${app}}
  ports: [{name: http, port: 80, targetPort: ${httpPort}}, {name: grpc, port: 81, targetPort: ${grpcPort}}]
`;
}

const limits = ({ limit }: Pick<MeshState, "limit">): readonly string[] =>
  limit === null
    ? []
    : [
        `apiVersion: orlop.dev/v1alpha1
kind: LimitPolicy
metadata: {name: readers, namespace: demo}
spec:
  selector: {matchLabels: {serves: http}}
  local: {requests: ${limit.requests}, per: ${limit.per}, burst: ${limit.burst}}
  per: [source]
`,
      ];
