// tests · workloads, services and a Snapshot made of lists, without a store.

import { fullName } from "./full-name.ts";
import { type HttpRoute, type HttpRule, noEdits, type RouteBackend } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import {
  type AuthorizationPolicy,
  emptyOperation,
  emptySource,
  type MtlsMode,
  type PeerAuthentication,
  type Rule,
} from "./policies.ts";
import type { Service } from "./service.ts";
import type { ServiceEndpoint, Snapshot } from "./snapshot.ts";
import { nowhere } from "./source-ref.ts";
import { spiffeId } from "./spiffe-id.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";

export function workload(name: string, given: Partial<Workload> = {}): Workload {
  const namespace = given.namespace ?? "shop";
  return {
    uid: `box//Pod/${namespace}/${name}`,
    podUid: `uid-${name}`,
    name,
    namespace,
    addresses: ["10.0.0.1"],
    node: "n1",
    network: "",
    cluster: "box",
    identity: spiffeId("cluster.local", namespace, name),
    labels: { app: name },
    protocol: "hbone",
    ports: {},
    probePorts: null,
    removesProxyHeaders: false,
    healthy: true,
    locality: { region: "", zone: "", subzone: "" },
    weight: 1,
    workloadName: name,
    canonicalName: name,
    canonicalRevision: "v1",
    from: nowhere,
    ...given,
  };
}

export function service(name: string, given: Partial<Service> = {}): Service {
  const namespace = given.namespace ?? "shop";
  return {
    name,
    namespace,
    hostname: `${name}.${namespace}.svc.cluster.local`,
    vips: ["10.96.0.1"],
    ports: [{ name: "http", port: 80, targetPort: 8080, appProtocol: "" }],
    selector: { app: name },
    endpoints: [],
    subjectAltNames: [],
    loadBalancing: { preference: [], mode: "unspecified", health: "only-healthy" },
    from: nowhere,
    ...given,
  };
}

/** About `service`, on all its ports; the rule takes everything and sends it to the same Service. */
export function httpRoute(parent: string, given: Partial<HttpRoute> = {}, rule: Partial<HttpRule> = {}): HttpRoute {
  const [namespace = "shop", name = "api"] = parent.split("/");
  return {
    ...{ kind: "HTTPRoute", name, namespace, createdMs: 0, from: { file: "mesh.yaml", line: 5, column: 1 } },
    parents: [{ service: parent, port: null, portName: null }],
    rules: [httpRule({ backends: [routeBackend(parent)], ...rule })],
    ...given,
  };
}

export function httpRule(given: Partial<HttpRule> = {}): HttpRule {
  return {
    matches: [{ path: { kind: "prefix", value: "" }, method: null, headers: [], query: [] }],
    ...{
      name: "",
      requestEdits: noEdits,
      responseEdits: noEdits,
      rewrite: null,
      redirect: null,
      cors: null,
      backends: [],
    },
    ...{ timeoutMs: 0, tryTimeoutMs: 0, retry: null, from: { file: "mesh.yaml", line: 9, column: 5 } },
    ...given,
  };
}

export function routeBackend(to: string, given: Partial<RouteBackend> = {}): RouteBackend {
  return { service: to, port: 80, weight: 1, requestEdits: noEdits, responseEdits: noEdits, ...given };
}

/** About `parent`, on all its ports; it sends every connection to the same Service. */
export function streamRoute(kind: StreamRoute["kind"], parent: string, given: Partial<StreamRoute> = {}): StreamRoute {
  const [namespace = "shop", name = "api"] = parent.split("/");
  return {
    ...{ kind, name, namespace, createdMs: 0, hostnames: [], from: { file: "mesh.yaml", line: 5, column: 1 } },
    parents: [{ service: parent, port: null, portName: null }],
    backends: [{ service: parent, port: 80, weight: 1 }],
    ...given,
  };
}

export function peerAuthentication(mode: MtlsMode, given: Partial<PeerAuthentication> = {}): PeerAuthentication {
  return { name: "peers", namespace: "shop", selector: null, mode, portLevel: {}, from: nowhere, ...given };
}

export function policy(
  action: AuthorizationPolicy["action"],
  rules: readonly Rule[],
  given: Partial<AuthorizationPolicy> = {},
): AuthorizationPolicy {
  const from = { file: "mesh.yaml", line: 7, column: 3 };
  return { name: "rules", namespace: "shop", selector: null, action, dryRun: false, rules, from, ...given };
}

/** from.principals, without the scheme as Istio writes them; and to.ports, none: any. */
export function ruleFor(principals: readonly string[], ports: readonly number[] = []): Rule {
  return {
    sources: [{ ...emptySource, principals: principals.map((value) => ({ kind: "exact", value })) }],
    operations: ports.length === 0 ? [] : [{ ...emptyOperation, ports }],
    when: [],
    unreadable: [],
    from: { file: "mesh.yaml", line: 9, column: 5 },
  };
}

/** A Snapshot over lists that the test may change. */
export class FakeMesh implements Snapshot {
  #reads = 0;
  /** Tests change it at any time: nothing that was kept holds any more. */
  get version(): number {
    this.#reads += 1;
    return this.#reads;
  }
  get routesVersion(): number {
    return this.version;
  }
  policyVersion = 1;
  readonly rootNamespace = "istio-system";
  readonly trustDomain = "cluster.local";
  list: Workload[];
  serviceList: Service[];
  policies: AuthorizationPolicy[] = [];
  peers: PeerAuthentication[] = [];
  routes: HttpRoute[] = [];
  streamRoutes: StreamRoute[] = [];
  limits: LimitPolicy[] = [];

  constructor(workloads: readonly Workload[], services: readonly Service[] = []) {
    this.list = [...workloads];
    this.serviceList = [...services];
  }

  replace(changed: Workload): void {
    this.list = [...this.list.filter((one) => one.uid !== changed.uid), changed];
  }

  workload(uid: string): Workload | undefined {
    return this.list.find((one) => one.uid === uid);
  }
  workloadAt(address: string): Workload | undefined {
    const claimants = this.list.filter((one) => one.addresses.includes(address));
    return claimants.length > 1 ? undefined : claimants[0];
  }
  rivalsAt(address: string): readonly Workload[] {
    const claimants = this.list.filter((one) => one.addresses.includes(address));
    return claimants.length > 1 ? claimants : [];
  }
  get hasRivals(): boolean {
    return true;
  }
  addressConflicts(): Iterable<never> {
    return [];
  }
  workloadsOnNode(node: string): Iterable<Workload> {
    return this.list.filter((one) => one.node === node);
  }
  workloadsIn(namespace: string): Iterable<Workload> {
    return this.list.filter((one) => one.namespace === namespace);
  }
  servicesOf({ uid }: Workload): readonly Service[] {
    return this.serviceList.filter((one) => this.endpointsOf(one).some(({ workload: whose }) => whose?.uid === uid));
  }
  service(key: string): Service | undefined {
    return this.serviceList.find((one) => fullName(one) === key);
  }
  serviceAt(address: string): Service | undefined {
    return this.serviceList.find((one) => one.vips.includes(address));
  }
  serviceNamed(hostname: string): Service | undefined {
    return this.serviceList.find((one) => one.hostname === hostname);
  }
  endpointsOf(of: Service): readonly ServiceEndpoint[] {
    const selected = this.list.filter((one) => one.namespace === of.namespace && one.labels.app === of.selector?.app);
    return [
      ...selected.map((one) => ({
        workload: one,
        addresses: one.addresses,
        ports: {},
        weight: one.weight,
        healthy: one.healthy,
      })),
      ...of.endpoints.map((one) => ({
        workload: this.workloadAt(one.address) ?? null,
        addresses: [one.address],
        ports: one.ports,
        weight: one.weight,
        healthy: one.healthy,
      })),
    ];
  }
  authorizationPoliciesFor(of: Workload): readonly AuthorizationPolicy[] {
    return this.policies.filter((one) => this.#selects(one, of));
  }
  peerAuthenticationsFor(of: Workload): readonly PeerAuthentication[] {
    return this.peers.filter((one) => this.#selects(one, of));
  }
  limitPoliciesFor(of: Workload): readonly LimitPolicy[] {
    return this.limits.filter((one) => this.#selects(one, of));
  }
  limitPolicies(): Iterable<LimitPolicy> {
    return this.limits;
  }
  #selects(one: Pick<AuthorizationPolicy, "namespace" | "selector">, of: Workload): boolean {
    if (one.namespace !== of.namespace && one.namespace !== this.rootNamespace) return false;
    return Object.entries(one.selector ?? {}).every(([key, value]) => of.labels[key] === value);
  }
  workloads(): Iterable<Workload> {
    return this.list;
  }
  services(): Iterable<Service> {
    return this.serviceList;
  }
  authorizationPolicies(): Iterable<AuthorizationPolicy> {
    return this.policies;
  }
  peerAuthentications(): Iterable<PeerAuthentication> {
    return this.peers;
  }
  httpRoutesAbout(key: string): readonly HttpRoute[] {
    return this.routes.filter(({ parents }) => parents.some((parent) => parent.service === key));
  }
  httpRoutes(): Iterable<HttpRoute> {
    return this.routes;
  }
  tlsRoutesAbout(key: string): readonly StreamRoute[] {
    return this.#streamsAbout("TLSRoute", key);
  }
  tcpRoutesAbout(key: string): readonly StreamRoute[] {
    return this.#streamsAbout("TCPRoute", key);
  }
  #streamsAbout(kind: StreamRoute["kind"], key: string): readonly StreamRoute[] {
    const of = this.streamRoutes.filter((route) => route.kind === kind);
    return of.filter(({ parents }) => parents.some(({ service }) => service === key));
  }
  tlsRoutes(): Iterable<StreamRoute> {
    return this.streamRoutes.filter(({ kind }) => kind === "TLSRoute");
  }
  tcpRoutes(): Iterable<StreamRoute> {
    return this.streamRoutes.filter(({ kind }) => kind === "TCPRoute");
  }
}
