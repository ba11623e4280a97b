// bench · meshes of any size for the micro-benchmarks: workloads that carry a label of their own, policies that select them.
import { type AuthorizationPolicy, emptyOperation, emptySource } from "../../agent/mesh/policies.ts";
import type { Service } from "../../agent/mesh/service.ts";
import { parseSpiffeId, type SpiffeId } from "../../agent/mesh/spiffe-id.ts";
import type { Workload } from "../../agent/mesh/workload.ts";

const from = { file: "bench.yaml", line: 1, column: 1 };
const NAMESPACES = 100;
const namespaceOf = (index: number): string => `ns-${index % NAMESPACES}`;

export function identityOf(namespace: string, account: string): SpiffeId {
  const id = parseSpiffeId(`spiffe://cluster.local/ns/${namespace}/sa/${account}`);
  if (id === undefined) throw new Error(`${namespace}/${account} makes no identity`);
  return id;
}

export const addressOf = (index: number): string => `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;

/** Ten workloads share an `app` label: they are one service. */
export function workload(index: number): Workload {
  const namespace = namespaceOf(Math.floor(index / 10));
  const app = `app-${Math.floor(index / 10)}`;
  return {
    uid: `bench//Pod/${namespace}/pod-${index}`,
    podUid: "",
    name: `pod-${index}`,
    namespace,
    addresses: [addressOf(index)],
    node: `node-${index % 1000}`,
    network: "",
    cluster: "bench",
    identity: identityOf(namespace, app),
    labels: { app },
    protocol: "hbone",
    ports: {},
    probePorts: null,
    removesProxyHeaders: false,
    healthy: true,
    locality: { region: "", zone: "", subzone: "" },
    weight: 1,
    workloadName: app,
    canonicalName: app,
    canonicalRevision: "latest",
    from,
  };
}

export const vipOf = (index: number): string => `172.${16 + ((index >> 16) & 15)}.${(index >> 8) & 255}.${index & 255}`;

/** The Service of an app, or a further Service of it. */
export function service(index: number, app = index): Service {
  return {
    name: `app-${index}`,
    namespace: namespaceOf(app),
    hostname: `app-${index}.${namespaceOf(app)}.svc.cluster.local`,
    vips: [vipOf(index)],
    ports: [{ name: "tcp", port: 80, targetPort: 8080, appProtocol: "" }],
    selector: { app: `app-${app}` },
    endpoints: [],
    subjectAltNames: [],
    loadBalancing: { preference: [], mode: "unspecified", health: "only-healthy" },
    from,
  };
}

/** The `nth` policy of an app: one caller and one port each, so that only the last of them matches. */
export function policy(app: number, nth: number): AuthorizationPolicy {
  const namespace = namespaceOf(app);
  const principals = [{ kind: "exact", value: `cluster.local/ns/${namespace}/sa/caller-${nth}` }] as const;
  return {
    name: `app-${app}-${nth}`,
    namespace,
    selector: { app: `app-${app}` },
    action: "ALLOW",
    dryRun: false,
    rules: [
      {
        sources: [{ ...emptySource, principals }],
        operations: [{ ...emptyOperation, ports: [8080] }],
        when: [],
        unreadable: [],
        from,
      },
    ],
    from,
  };
}
