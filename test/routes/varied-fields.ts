// tests · for each kind: an object, and fields of which any set may be added to it, with a value each. An object has those beside it that a field needs
// to count. Paths as `spec.rules.0.name`.
export type Tree = { [field: string]: unknown };
type Values = Readonly<Record<string, unknown>>;

export type KnownFields = {
  readonly base: Tree;
  readonly honoured: Values;
  /** Known, without effect, and in the status. */
  readonly reported: Values;
  /** Known, and the object would mean something else without them: it is refused. */
  readonly refused: Values;
  /** Maps whose keys are anybody's. */
  readonly open: readonly string[];
};

const metadata = { name: "a", namespace: "shop" };
const gateway = "gateway.networking.k8s.io/v1";
const parentRefs = [{ group: "", kind: "Service", name: "api", port: 80 }];
const far = { name: "other", port: 80 };
const route = (kind: string, rule: Tree, more: Tree = {}): Tree => ({
  ...{ apiVersion: gateway, kind, metadata },
  spec: { parentRefs, rules: [{ backendRefs: [far], ...rule }], ...more },
});
const edits = { set: [{ name: "a", value: "b" }], add: [{ name: "c", value: "d" }], remove: ["e"] };
const condition = [{ type: "RegularExpression", name: "x", value: "b.*" }];
const at = (prefix: string, values: Values): Values =>
  Object.fromEntries(Object.entries(values).map(([path, value]) => [`${prefix}.${path}`, value]));

const ofRoutes: Values = {
  "spec.parentRefs.0.namespace": "shop",
  "spec.rules.0.name": "first",
  "spec.rules.0.backendRefs.0.group": "",
  "spec.rules.0.backendRefs.0.kind": "Service",
  "spec.rules.0.backendRefs.0.namespace": "shop",
  "spec.rules.0.backendRefs.0.weight": 7,
};
const ofRequests: Values = {
  ...ofRoutes,
  "spec.rules.0.filters.0": { type: "RequestHeaderModifier", requestHeaderModifier: edits },
  "spec.rules.0.sessionPersistence.sessionName": "s",
  "spec.rules.0.sessionPersistence.absoluteTimeout": "1h",
};
const onlyHere = { "spec.rules.0.sessionPersistence.idleTimeout": "1h" };

export const variedKinds: Readonly<Record<string, KnownFields>> = {
  HTTPRoute: {
    base: route("HTTPRoute", {}),
    honoured: {
      ...ofRequests,
      "spec.rules.0.matches.0.path": { type: "PathPrefix", value: "/a" },
      "spec.rules.0.matches.0.method": "GET",
      "spec.rules.0.matches.0.headers": condition,
      "spec.rules.0.matches.0.queryParams": condition,
      "spec.rules.0.timeouts.request": "5s",
      "spec.rules.0.timeouts.backendRequest": "1s",
      "spec.rules.0.retry.codes": [503],
      "spec.rules.0.retry.attempts": 3,
      "spec.rules.0.retry.backoff": "50ms",
    },
    reported: { "spec.hostnames": ["a.example"] },
    refused: onlyHere,
    open: [],
  },
  GRPCRoute: {
    base: route("GRPCRoute", {}),
    honoured: {
      ...ofRequests,
      "spec.rules.0.matches.0.method": { service: "a.B", method: "C" },
      "spec.rules.0.matches.0.headers": condition,
    },
    reported: { "spec.hostnames": ["a.example"] },
    refused: onlyHere,
    open: [],
  },
  TCPRoute: { base: route("TCPRoute", {}), honoured: ofRoutes, reported: {}, refused: {}, open: [] },
  TLSRoute: {
    base: route("TLSRoute", {}, { hostnames: ["a.example"] }),
    honoured: ofRoutes,
    reported: {},
    refused: {},
    open: [],
  },
  DestinationRule: {
    base: {
      ...{ apiVersion: "networking.istio.io/v1", kind: "DestinationRule", metadata },
      // Without the second httpCookie is nothing; the others say something by themselves.
      spec: {
        host: "api",
        trafficPolicy: {
          connectionPool: { tcp: { maxConnections: 3 } },
          loadBalancer: { consistentHash: { httpCookie: { name: "a" } }, localityLbSetting: {} },
          outlierDetection: {},
        },
      },
    },
    honoured: at("spec.trafficPolicy", {
      "connectionPool.http.http2MaxRequests": 7,
      "connectionPool.http.http1MaxPendingRequests": 5,
      "connectionPool.http.maxRequestsPerConnection": 9,
      "connectionPool.http.idleTimeout": "5s",
      "connectionPool.tcp.connectTimeout": "1s",
      "outlierDetection.consecutive5xxErrors": 3,
      "outlierDetection.consecutiveGatewayErrors": 3,
      "outlierDetection.baseEjectionTime": "9s",
      "outlierDetection.maxEjectionPercent": 50,
      "outlierDetection.minHealthPercent": 20,
      "loadBalancer.simple": "RANDOM",
      "loadBalancer.warmup": { duration: "9s", minimumPercent: 20, aggression: 2 },
      "loadBalancer.consistentHash.ringHash.minimumRingSize": 7,
      "loadBalancer.localityLbSetting.enabled": true,
      "loadBalancer.localityLbSetting.failoverPriority": ["kubernetes.io/hostname"],
    }),
    reported: {
      ...at("spec.trafficPolicy", {
        ...{ tls: { mode: "SIMPLE" }, portLevelSettings: [], tunnel: {}, proxyProtocol: {}, retryBudget: {} },
        "connectionPool.http.maxRetries": 3,
        "connectionPool.http.h2UpgradePolicy": "UPGRADE",
        "connectionPool.http.useClientProtocol": true,
        "connectionPool.http.maxConcurrentStreams": 5,
        "connectionPool.http.http2KeepAlive": { interval: "1s" },
        "connectionPool.tcp.idleTimeout": "5s",
        "connectionPool.tcp.maxConnectionDuration": "5s",
        "connectionPool.tcp.tcpKeepalive": { probes: 3 },
        "outlierDetection.interval": "5s",
        "outlierDetection.splitExternalLocalOriginErrors": true,
        "outlierDetection.consecutiveLocalOriginFailures": 5,
        "outlierDetection.outlierDetectionHttpErrorCodes": [404],
        "outlierDetection.consecutiveErrors": 5,
        "loadBalancer.zoneAwareLbSetting": {},
        "loadBalancer.consistentHash.httpCookie.ttl": "0s",
        "loadBalancer.consistentHash.httpCookie.path": "/",
        "loadBalancer.consistentHash.httpCookie.attributes": [],
        "loadBalancer.localityLbSetting.failover": [],
        "loadBalancer.localityLbSetting.distribute": [],
      }),
      ...{ "spec.subsets": [{ name: "v1" }], "spec.exportTo": ["."], "spec.workloadSelector": {} },
    },
    refused: {},
    open: [],
  },
  LimitPolicy: {
    base: {
      ...{ apiVersion: "orlop.dev/v1alpha1", kind: "LimitPolicy", metadata },
      spec: { local: { requests: 7, per: "minute" } },
    },
    honoured: at("spec", {
      ...{ "selector.matchLabels": { app: "api" }, mode: "shadow", priority: 5, per: ["source"], "local.burst": 3 },
      ...{ "match.identities": ["cluster.local/ns/shop/sa/web"], "match.namespaces": ["shop"], "match.ports": [8080] },
      ...{ "match.methods": ["GET"], "match.paths": ["/a"], "match.headers": [{ name: "x", values: ["y"] }] },
    }),
    reported: {},
    refused: {},
    open: ["spec.selector.matchLabels"],
  },
  PeerAuthentication: {
    base: {
      ...{ apiVersion: "security.istio.io/v1", kind: "PeerAuthentication", metadata },
      spec: { selector: { matchLabels: { app: "api" } } },
    },
    honoured: { "spec.mtls.mode": "STRICT", "spec.portLevelMtls": { 8080: { mode: "PERMISSIVE" } } },
    reported: {},
    refused: {},
    open: ["spec.selector.matchLabels", "spec.portLevelMtls"],
  },
  AuthorizationPolicy: {
    base: {
      ...{ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata },
      spec: { rules: [{ from: [{ source: { namespaces: ["shop"] } }], to: [{ operation: { ports: ["80"] } }] }] },
    },
    honoured: {
      ...{ "spec.selector.matchLabels": { app: "api" }, "spec.action": "DENY" },
      ...at("spec.rules.0.from.0.source", {
        ...{ principals: ["a"], notPrincipals: ["b"], notNamespaces: ["c"], ipBlocks: ["10.0.0.0/8"] },
        notIpBlocks: ["10.1.0.0/16"],
      }),
      ...at("spec.rules.0.to.0.operation", {
        ...{ methods: ["GET"], notMethods: ["PUT"], paths: ["/a"], notPaths: ["/b"], hosts: ["h"], notHosts: ["i"] },
        notPorts: ["81"],
      }),
      "spec.rules.0.when": [{ key: "source.namespace", values: ["shop"] }],
    },
    reported: {},
    refused: {},
    open: ["spec.selector.matchLabels"],
  },
  Service: {
    base: {
      ...{ apiVersion: "v1", kind: "Service", metadata },
      spec: { clusterIP: "10.96.0.9", selector: { app: "a" }, ports: [{ name: "http", port: 80 }] },
    },
    honoured: { "spec.ports.0.targetPort": 8080, "spec.ports.0.protocol": "TCP", "spec.clusterIPs": ["10.96.0.9"] },
    reported: { "spec.externalIPs": ["192.0.2.1"], "spec.sessionAffinityConfig": {} },
    refused: {},
    open: ["spec.selector"],
  },
};
