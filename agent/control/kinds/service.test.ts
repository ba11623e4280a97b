// Service and EndpointSlice → mesh value: where connections go, and how requests are shared.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findings, read, refusals, SERVICE, service, values } from "./translate.fake.ts";

test("a service, with Kubernetes' words for where its connections go", () => {
  const value = service(SERVICE);
  assert.equal(value.hostname, "api.shop.svc.cluster.local");
  assert.deepEqual(value.vips, ["10.96.0.1"]);
  assert.deepEqual(value.ports, [{ name: "http", port: 80, targetPort: 8080, appProtocol: "" }]);
  assert.deepEqual(value.loadBalancing, { preference: [], mode: "unspecified", health: "only-healthy" });
  const balanced = (more: string): unknown => service(`${SERVICE}  ${more}\n`).loadBalancing;
  const zones = { preference: ["network", "region", "zone"], mode: "failover", health: "only-healthy" };
  assert.deepEqual(balanced("trafficDistribution: PreferClose"), zones);
  assert.deepEqual(balanced("trafficDistribution: PreferSameZone"), zones);
  assert.deepEqual(balanced("internalTrafficPolicy: Local"), {
    preference: ["node"],
    mode: "strict",
    health: "only-healthy",
  });
  assert.deepEqual(balanced("publishNotReadyAddresses: true"), {
    preference: [],
    mode: "unspecified",
    health: "allow-all",
  });
  assert.deepEqual(service(SERVICE.replace("10.96.0.1", "None")).vips, []);
  assert.deepEqual(service(SERVICE.replace("targetPort: 8080", "appProtocol: tcp")).ports[0]?.targetPort, 80);
});

test("a service says how its endpoints share requests; a word that is not known is reported, and counts for nothing", () => {
  const annotated = (word: string): string =>
    SERVICE.replace("metadata: {name: api,", `metadata: {name: api, annotations: {orlop.dev/balance: ${word}},`);
  for (const word of ["cost", "least-request", "round-robin", "random"])
    assert.equal(service(annotated(word)).loadBalancing.requests, word);
  assert.equal(service(annotated("fastest")).loadBalancing.requests, undefined);
});

test("a service fails direct only by the word true; another word is reported", () => {
  const annotated = (word: string): string =>
    SERVICE.replace("metadata: {name: api,", `metadata: {name: api, annotations: {orlop.dev/fail-direct: ${word}},`);
  assert.equal(service(annotated('"true"')).failsDirect, true);
  for (const word of ['"false"', '"TRUE"', '"yes"', '""'])
    assert.equal(service(annotated(word)).failsDirect, undefined, word);
});

test("one service's flags never reach another (G5)", () => {
  const flags = fc.record({
    traffic: fc.constantFrom(
      "",
      "  trafficDistribution: PreferClose\n",
      "  trafficDistribution: PreferSameNode\n",
      "  internalTrafficPolicy: Local\n",
    ),
    notReady: fc.boolean(),
  });
  const text = (name: string, vip: string, flag: { traffic: string; notReady: boolean }): string =>
    SERVICE.replace("name: api", `name: ${name}`).replace("10.96.0.1", vip) +
    flag.traffic +
    (flag.notReady ? "  publishNotReadyAddresses: true\n" : "");
  fc.assert(
    fc.property(flags, flags, (a, b) => {
      const [first, second] = values(read(`${text("a", "10.96.0.1", a)}---\n${text("b", "10.96.0.2", b)}`), "service");
      assert.deepEqual(first?.loadBalancing, service(text("a", "10.96.0.1", a)).loadBalancing);
      assert.deepEqual(second?.loadBalancing, service(text("b", "10.96.0.2", b)).loadBalancing);
    }),
    { numRuns: 60 },
  );
});

test("explicit endpoints come from EndpointSlices", () => {
  const slice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, namespace: shop, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: http, port: 9000}]
endpoints:
  - {addresses: [192.0.2.1]}
  - {addresses: [192.0.2.2], conditions: {ready: false}}
`;
  const bare = SERVICE.replace("  selector: {app: api}\n", "");
  assert.deepEqual(service(`${slice}---\n${bare}`).endpoints, [
    { address: "192.0.2.1", ports: { http: 9000 }, weight: 1, healthy: true },
    { address: "192.0.2.2", ports: { http: 9000 }, weight: 1, healthy: false },
  ]);
  assert.match(refusals(`${slice}---\n${SERVICE}`).join(), /f\.yaml:1:1 ORL4105 .*selector and an EndpointSlice/);
  assert.match(findings(slice).join(), /no Service shop\/api/);
});
