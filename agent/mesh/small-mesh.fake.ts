// tests · random objects of a mesh so small that everything collides with everything: names, addresses, labels, Services and what selects them.
import fc from "fast-check";
import type { HttpRoute } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import type { MeshUpdate } from "./mesh-update.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "./policies.ts";
import type { Service } from "./service.ts";
import { nowhere } from "./source-ref.ts";
import { spiffeId } from "./spiffe-id.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";

export const namespaces = ["shop", "bank", "istio-system"] as const;
export const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"] as const;
export const vips = ["10.96.0.1", "10.96.0.2", "10.0.0.1"] as const;
export const hosts = ["api.shop.svc.cluster.local", "db.bank.svc.cluster.local"] as const;
export const nodes = ["n1", "n2"] as const;

const namespace = fc.constantFrom(...namespaces);
const name = fc.constantFrom("a", "b", "c");
const labels = fc.dictionary(fc.constantFrom("app", "version", "tier"), fc.constantFrom("x", "y"), {
  maxKeys: 3,
  noNullPrototype: true,
});
const selector = fc.option(labels);

export const workload: fc.Arbitrary<Workload> = fc
  .record({
    kind: fc.constantFrom("Pod", "WorkloadEntry"),
    name,
    namespace,
    addresses: fc.uniqueArray(fc.constantFrom(...addresses), { maxLength: 2 }),
    node: fc.constantFrom(...nodes),
    labels,
    protocol: fc.constantFrom("hbone" as const, "none" as const),
    probePorts: fc.constant(null),
    removesProxyHeaders: fc.boolean(),
    healthy: fc.boolean(),
    weight: fc.nat(2),
    network: fc.constantFrom("", "", "west"),
  })
  .map(({ kind, ...rest }) => ({
    ...rest,
    uid: `c//${kind}/${rest.name}`,
    podUid: "",
    cluster: "c",
    identity: spiffeId("cluster.local", rest.namespace, rest.name),
    ports: {},
    locality: { region: "", zone: "", subzone: "" },
    workloadName: rest.name,
    canonicalName: rest.name,
    canonicalRevision: "latest",
    from: nowhere,
  }));

export const service: fc.Arbitrary<Service> = fc
  .record({
    name,
    namespace,
    hostname: fc.constantFrom(...hosts),
    vips: fc.uniqueArray(fc.constantFrom(...vips), { maxLength: 2 }),
    selector,
    endpoints: fc.array(
      fc.record({
        address: fc.constantFrom(...addresses),
        ports: fc.constant({}),
        weight: fc.nat(2),
        healthy: fc.boolean(),
      }),
      { maxLength: 2 },
    ),
  })
  .map((rest) => ({
    ...rest,
    ports: [],
    subjectAltNames: [],
    loadBalancing: { preference: [], mode: "unspecified", health: "only-healthy" },
    from: nowhere,
  }));

export const authorizationPolicy: fc.Arbitrary<AuthorizationPolicy> = fc
  .record({ name, namespace, selector, action: fc.constantFrom("ALLOW" as const, "DENY" as const) })
  .map((rest) => ({ ...rest, dryRun: false, rules: [], from: nowhere }));

export const peerAuthentication: fc.Arbitrary<PeerAuthentication> = fc
  .record({ name, namespace, selector, mode: fc.constantFrom("STRICT" as const, "PERMISSIVE" as const) })
  .map((rest) => ({ ...rest, portLevel: {}, from: nowhere }));

const httpRoute: fc.Arbitrary<HttpRoute> = fc
  .record({ name, namespace, parents: fc.array(fc.tuple(namespace, name), { maxLength: 3 }), createdMs: fc.nat(1) })
  .map(({ parents, ...rest }) => ({
    ...rest,
    kind: "HTTPRoute" as const,
    parents: parents.map((parts) => ({ service: parts.join("/"), port: null, portName: null })),
    rules: [],
    from: nowhere,
  }));

const streamRoute: fc.Arbitrary<Omit<StreamRoute, "kind">> = httpRoute.map(({ rules, ...rest }) => ({
  ...rest,
  ...{ hostnames: [], backends: [] },
}));

const limitPolicy: fc.Arbitrary<LimitPolicy> = fc
  .record({ name, namespace, selector, requests: fc.nat(2) })
  .map((rest) => ({
    ...rest,
    ...{ mode: "enforce", priority: 0, unitMs: 1_000, burst: 1, per: [], from: nowhere },
    match: { sources: [], operations: [], when: [], unreadable: [], from: nowhere },
  }));

const key = fc.tuple(namespace, name).map((parts) => parts.join("/"));
const uid = fc.tuple(fc.constantFrom("Pod", "WorkloadEntry"), name).map(([kind, one]) => `c//${kind}/${one}`);
export const update: fc.Arbitrary<MeshUpdate> = fc.oneof(
  { arbitrary: workload.map((value) => ({ kind: "workload", op: "upsert", value }) as const), weight: 4 },
  { arbitrary: service.map((value) => ({ kind: "service", op: "upsert", value }) as const), weight: 3 },
  authorizationPolicy.map((value) => ({ kind: "authorization-policy", op: "upsert", value }) as const),
  peerAuthentication.map((value) => ({ kind: "peer-authentication", op: "upsert", value }) as const),
  httpRoute.map((value) => ({ kind: "http-route", op: "upsert", value }) as const),
  streamRoute.map((value) => ({ kind: "tls-route", op: "upsert", value: { ...value, kind: "TLSRoute" } }) as const),
  streamRoute.map((value) => ({ kind: "tcp-route", op: "upsert", value: { ...value, kind: "TCPRoute" } }) as const),
  limitPolicy.map((value) => ({ kind: "limit-policy", op: "upsert", value }) as const),
  uid.map((one) => ({ kind: "workload", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "service", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "authorization-policy", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "peer-authentication", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "http-route", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "tls-route", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "tcp-route", op: "remove", key: one }) as const),
  key.map((one) => ({ kind: "limit-policy", op: "remove", key: one }) as const),
);
