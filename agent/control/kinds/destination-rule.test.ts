import assert from "node:assert/strict";
import { test } from "node:test";
import type { Service } from "../../mesh/service.ts";
import type { TrafficPolicy } from "../../mesh/traffic-policy.ts";
import { translateTexts } from "../static-file/read.ts";
import { ConfigError } from "./value.ts";

const settings = {
  ...{ node: "n", rootNamespace: "istio-system", trustDomain: "cluster.local", honourIstioLabels: false },
  ...{ clusterDomain: "cluster.local" },
} as Parameters<typeof translateTexts>[1];

const service = `apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}], selector: {app: api}}
`;
const rule = (spec: string, namespace = "shop", name = "a", more = ""): string => `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: ${namespace}${more}}
spec: ${spec}
`;

function translated(...rules: readonly string[]): { readonly service: Service; readonly findings: readonly string[] } {
  const { updates, findings } = translateTexts([{ file: "f.yaml", text: [service, ...rules].join("---\n") }], settings);
  const [update] = updates;
  assert.ok(update?.kind === "service" && update.op === "upsert" && updates.length === 1);
  return { service: update.value, findings: findings.map(({ what }) => what) };
}

function policyOf(spec: string): Omit<TrafficPolicy, "from"> {
  const { service: read, findings } = translated(rule(spec));
  assert.deepEqual(findings, []);
  const { from: _, ...says } = read.traffic ?? assert.fail("nothing is said");
  return says;
}

function problemOf(spec: string, more = ""): string {
  try {
    translated(rule(spec, "shop", "a", more));
  } catch (refused) {
    assert.ok(refused instanceof ConfigError, String(refused));
    const [{ code, from, what } = assert.fail("no problem")] = refused.problems;
    return `${code} ${"line" in from ? `${from.line}:${from.column}` : ""} ${what}`;
  }
  return assert.fail("it was accepted");
}

test("outlierDetection: Istio's defaults, and every field", () => {
  assert.deepEqual(policyOf("{host: api, trafficPolicy: {outlierDetection: {}}}").outliers, {
    ...{ consecutive5xx: 5, consecutiveGateway: 0, baseMs: 30_000, maxEjected: 10, minHealthy: 0 },
  });
  const all =
    "{consecutive5xxErrors: 7, consecutiveGatewayErrors: 3, baseEjectionTime: 1m30s, maxEjectionPercent: 100, minHealthPercent: 50}";
  assert.deepEqual(policyOf(`{host: api, trafficPolicy: {outlierDetection: ${all}}}`).outliers, {
    ...{ consecutive5xx: 7, consecutiveGateway: 3, baseMs: 90_000, maxEjected: 100, minHealthy: 50 },
  });
  assert.equal(policyOf("{host: api}").outliers, null);
});

test("orlop.dev/success-rate: Envoy's defaults and every field; interval counts for it alone, and it counts beside outlierDetection alone", () => {
  const found = (json: string, outlier = "{}") => {
    const annotated = `, annotations: {orlop.dev/success-rate: '${json}'}`;
    const { service: read, findings } = translated(
      rule(`{host: api, trafficPolicy: {outlierDetection: ${outlier}}}`, "shop", "a", json === "" ? "" : annotated),
    );
    return [read.traffic?.outliers?.successRate ?? null, findings.length];
  };
  const defaults = { intervalMs: 10_000, minimumHosts: 5, requestVolume: 100, stdevFactor: 1.9 };
  assert.deepEqual(found("{}"), [defaults, 0]);
  assert.deepEqual(found('{"minimumHosts": 3, "requestVolume": 10, "stdevFactor": 1}', "{interval: 2s}"), [
    ...[{ intervalMs: 2_000, minimumHosts: 3, requestVolume: 10, stdevFactor: 1 }, 0],
  ]);
  assert.deepEqual(found("{}", "{interval: 1ms}"), [{ ...defaults, intervalMs: 1_000 }, 0]);
  assert.deepEqual(found("", "{interval: 2s}"), [null, 1]);
  const alone = translated(rule("{host: api}", "shop", "a", ", annotations: {orlop.dev/success-rate: '{}'}"));
  assert.deepEqual([alone.service.traffic?.outliers, alone.findings.length], [null, 1]);
  for (const [json, why] of [
    ["{", /ORL\d+ .*is no JSON/],
    ['{"minimumHosts": 0}', /minimumHosts: 0 is not a whole number/],
    ['{"stdevFactor": -1}', /stdevFactor is no factor/],
    ['{"hosts": 3}', /^ORL4102 .*has no field "hosts"/],
  ] as const)
    assert.match(problemOf("{host: api}", `, annotations: {orlop.dev/success-rate: '${json}'}`), why);
});

test("http2MaxRequests caps; 0 and nothing are no cap", () => {
  const most = (http: string): number | null =>
    policyOf(`{host: api, trafficPolicy: {connectionPool: {http: ${http}}}}`).maxRequests;
  assert.deepEqual([most("{http2MaxRequests: 7}"), most("{http2MaxRequests: 0}"), most("{}")], [7, null, null]);
});

test("maxConnections caps; 0, nothing and Istio's default are no cap", () => {
  const most = (tcp: string) => policyOf(`{host: api, trafficPolicy: {connectionPool: {tcp: ${tcp}}}}`).maxConnections;
  assert.deepEqual(
    [most("{maxConnections: 7}"), most("{maxConnections: 0}"), most("{}"), most("{maxConnections: 2147483647}")],
    [7, undefined, undefined, undefined],
  );
});

test("http1MaxPendingRequests caps beside maxConnections and alone; 0 and Istio's default cap nothing", () => {
  const pool = (http: string, most: number) =>
    `{host: api, trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: ${http}}, tcp: {maxConnections: ${most}}}}}`;
  assert.deepEqual(
    ["3", "0", "2147483647"].map((pending) => policyOf(pool(pending, 7)).maxPending),
    [3, undefined, undefined],
  );
  for (const most of [0, 2_147_483_647]) {
    const { service: read, findings } = translated(rule(pool("3", most)));
    assert.deepEqual([read.traffic?.maxPending, read.traffic?.maxConnections, findings], [3, undefined, []]);
  }
  assert.equal(policyOf(pool("0", 0)).maxPending, undefined);
});

test("connectionPool: how connections are kept; nothing, and 0, are as without it", () => {
  const pool = (written: string) => policyOf(`{host: api, trafficPolicy: {connectionPool: ${written}}}`).pool;
  assert.deepEqual(pool("{tcp: {connectTimeout: 500ms}, http: {idleTimeout: 5m, maxRequestsPerConnection: 100}}"), {
    ...{ connectMs: 500, idleMs: 300_000, mostRequests: 100 },
  });
  assert.deepEqual(pool("{tcp: {connectTimeout: 1m}, http: {idleTimeout: 5h}}"), {
    ...{ connectMs: 10_000, idleMs: 3_600_000, mostRequests: 0 },
  });
  for (const written of [
    "{}",
    "{tcp: {}, http: {}}",
    "{tcp: {connectTimeout: 0s}, http: {maxRequestsPerConnection: 0}}",
  ])
    assert.equal(pool(written), undefined);
});

test("loadBalancer: how requests choose, and by what they hash", () => {
  const says = (loadBalancer: string): unknown => {
    const { balance, hash } = policyOf(`{host: api, trafficPolicy: {loadBalancer: ${loadBalancer}}}`);
    return hash === null ? balance : { ...hash.key, ...hash.table };
  };
  assert.deepEqual(
    ["ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN", "RANDOM", "UNSPECIFIED"].map((name) => says(`{simple: ${name}}`)),
    ["round-robin", "least-request", "least-request", "random", null],
  );
  const hashed = (fields: string): unknown => says(`{consistentHash: {${fields}}}`);
  assert.deepEqual(hashed("httpHeaderName: X-User"), { of: "header", name: "x-user", kind: "ring", size: 1_024 });
  assert.deepEqual(hashed("httpQueryParameterName: u, ringHash: {minimumRingSize: 4096}"), {
    ...{ of: "query", name: "u", kind: "ring", size: 4_096 },
  });
  assert.deepEqual(hashed("httpCookie: {name: sid}, maglev: {}"), {
    ...{ of: "cookie", name: "sid", kind: "maglev", size: 65_537 },
  });
  assert.deepEqual(hashed("useSourceIp: true, maglev: {tableSize: 251}"), {
    ...{ of: "source-address", kind: "maglev", size: 251 },
  });
  for (const fields of ["useSourceIp: true, httpHeaderName: a", "ringHash: {}"]) {
    const { findings } = translated(rule(`{host: api, trafficPolicy: {loadBalancer: {consistentHash: {${fields}}}}}`));
    assert.match(findings[0] ?? "", /consistentHash names (several keys|no key)/);
  }
  const refused =
    "{host: api, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 250}}}}}";
  assert.match(problemOf(refused), /^ORL4104 9:\d+ .*tableSize: 250 is no prime/);
});

test("warm-up, and in which order of places endpoints are preferred", () => {
  const warm = (loadBalancer: string): unknown =>
    policyOf(`{host: api, trafficPolicy: {loadBalancer: ${loadBalancer}}}`).warmUp;
  assert.deepEqual(warm("{warmup: {duration: 30s}}"), { durationMs: 30_000, minimumPercent: 10, aggression: 1 });
  assert.deepEqual(warm("{warmup: {duration: 1m, minimumPercent: 20, aggression: 2}}"), {
    ...{ durationMs: 60_000, minimumPercent: 20, aggression: 2 },
  });
  assert.deepEqual(warm("{warmupDurationSecs: 5s}"), { durationMs: 5_000, minimumPercent: 10, aggression: 1 });
  assert.equal(warm("{}"), null);
  const locality = (setting: string): unknown => {
    const spec = `{host: api, trafficPolicy: {loadBalancer: {localityLbSetting: ${setting}}}}`;
    const { preference, mode } = translated(rule(spec)).service.loadBalancing;
    return [mode, ...preference];
  };
  assert.deepEqual(locality("{}"), ["failover", "region", "zone", "subzone"]);
  assert.deepEqual(locality("{enabled: false}"), ["unspecified"]);
  assert.deepEqual(locality("{failoverPriority: [kubernetes.io/hostname, topology.kubernetes.io/zone]}"), [
    ...["failover", "node", "zone"],
  ]);
});

test("a Service is named as Istio names it; another namespace's, and what is no Service, is reported and counts for nothing", () => {
  for (const host of ["api", "api.shop", "api.shop.svc", "api.shop.svc.cluster.local"])
    assert.notEqual(translated(rule(`{host: ${host}}`)).service.traffic, undefined, host);
  for (const [host, namespace] of [
    ["api.shop", "bank"],
    ['"*.shop"', "shop"],
    ["api.example.com", "shop"],
    ["api.shop.svc.other.domain", "shop"],
  ] as const) {
    const { service: read, findings } = translated(rule(`{host: ${host}}`, namespace));
    assert.equal(read.traffic, undefined, host);
    assert.match(findings[0] ?? "", /host .* is not honoured/);
  }
  assert.match(translated(rule("{host: other}")).findings[0] ?? "", /there is no Service shop\/other/);
});

test("of two for a Service the first counts, and the other is reported", () => {
  const [one, other] = [3, 4].map((count, index) =>
    rule(`{host: api, trafficPolicy: {outlierDetection: {consecutive5xxErrors: ${count}}}}`, "shop", `r${index}`),
  );
  const { service: read, findings } = translated(one ?? "", other ?? "");
  assert.equal(read.traffic?.outliers?.consecutive5xx, 3);
  assert.deepEqual(findings, [
    "DestinationRule shop/r1 is not in force: DestinationRule shop/r0 is about the same Service",
  ]);
});

test("a field that is known and not honoured is reported; one that is not known is refused with its place", () => {
  const known = [
    "tls: {mode: SIMPLE}",
    "portLevelSettings: []",
    "outlierDetection: {interval: 5s}",
    "connectionPool: {tcp: {maxConnectionDuration: 1s}}",
    "connectionPool: {http: {http2KeepAlive: {}}}",
    "outlierDetection: {outlierDetectionHttpErrorCodes: [404]}",
    "loadBalancer: {consistentHash: {httpCookie: {name: a, attributes: []}}}",
  ];
  for (const field of known) {
    const { findings } = translated(rule(`{host: api, trafficPolicy: {${field}}}`));
    assert.match(findings[0] ?? "", /spec\.trafficPolicy\.\S+ is not honoured/, field);
  }
  assert.match(
    translated(rule("{host: api, subsets: [{name: v1}]}")).findings[0] ?? "",
    /spec\.subsets is not honoured/,
  );
  assert.match(
    problemOf("{host: api, trafficPolicy: {outlierDetection: {consecutive5xx: 5}}}"),
    /^ORL4102 9:\d+ spec\.trafficPolicy\.outlierDetection has no field "consecutive5xx"/,
  );
  assert.match(problemOf("{trafficPolicy: {}}"), /^ORL4103 .*lacks "host"/);
  for (const field of ["maxEjectionPercent: 101", "consecutive5xxErrors: 256", "baseEjectionTime: soon"])
    assert.match(problemOf(`{host: api, trafficPolicy: {outlierDetection: {${field}}}}`), /^ORL4104 9:/, field);
});
