// Workload → mesh value: every field with its default, who is in the mesh, and names for telemetry.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Workload } from "../../mesh/workload.ts";
import { SHOP, settings, WORKLOAD, workload } from "./translate.fake.ts";
import { ConfigError } from "./value.ts";

test("a workload, with every default", () => {
  const value = workload(`${SHOP}---\n${WORKLOAD}`);
  assert.deepEqual(value, {
    uid: "c1//Pod/shop/web-1",
    podUid: "u1",
    name: "web-1",
    namespace: "shop",
    addresses: ["10.0.0.1"],
    node: "west",
    network: "net1",
    cluster: "c1",
    identity: {
      text: "spiffe://td.example/ns/shop/sa/default",
      trustDomain: "td.example",
      namespace: "shop",
      serviceAccount: "default",
    },
    labels: { app: "web" },
    protocol: "hbone",
    ports: {},
    probePorts: null,
    removesProxyHeaders: false,
    healthy: true,
    locality: { region: "", zone: "", subzone: "" },
    weight: 1,
    workloadName: "web-1",
    canonicalName: "web",
    canonicalRevision: "latest",
    from: { file: "f.yaml", line: 5, column: 1 },
  });
});

test("who is in the mesh: the namespace's label, the pod's own before it, the workload's protocol, and the node's pod UID", () => {
  const pod = (label: string): string => WORKLOAD.replace("app: web", `app: web, ${label}`);
  assert.equal(workload(WORKLOAD).protocol, "none");
  assert.equal(workload(`${SHOP}---\n${pod("orlop.dev/dataplane-mode: none")}`).protocol, "none");
  assert.equal(workload(pod("orlop.dev/dataplane-mode: ambient")).protocol, "hbone");
  assert.equal(workload(`${SHOP}---\n${WORKLOAD}  protocol: TCP\n`).protocol, "none");
  const istio = `${SHOP.replace("orlop.dev/", "istio.io/")}---\n${WORKLOAD}`;
  assert.equal(workload(istio).protocol, "none");
  assert.equal(workload(istio, { ...settings, honourIstioLabels: true }).protocol, "hbone");
  assert.equal(workload(`${SHOP}---\n${WORKLOAD}`, { ...settings, node: "east" }).podUid, "");
});

test("a namespace says for all its workloads whether other proxies' fields are taken out, and only in words that are known", () => {
  const annotated = (word: string): string =>
    SHOP.replace("{name: shop,", `{name: shop, annotations: {orlop.dev/remove-proxy-headers: ${word}},`);
  assert.equal(workload(`${annotated('"true"')}---\n${WORKLOAD}`).removesProxyHeaders, true);
  assert.equal(workload(`${annotated('"false"')}---\n${WORKLOAD}`).removesProxyHeaders, false);
  assert.equal(workload(`${SHOP}---\n${WORKLOAD}`).removesProxyHeaders, false);
  assert.throws(
    () => workload(`${annotated('"yes"')}---\n${WORKLOAD}`),
    (error) => error instanceof ConfigError && error.problems.length === 1 && error.problems[0]?.code === "ORL4104",
  );
});

test("names for telemetry, as Istio chooses them", () => {
  const named = (labels: string, name = "web-1"): Workload =>
    workload(WORKLOAD.replace("app: web", labels).replace("web-1", name));
  assert.equal(named("app: a, app.kubernetes.io/name: b, service.istio.io/canonical-name: c").canonicalName, "c");
  assert.equal(named("app: a, app.kubernetes.io/name: b").canonicalName, "b");
  assert.equal(named("x: y").canonicalName, "web-1");
  assert.equal(named("version: v2").canonicalRevision, "v2");
  assert.equal(named("pod-template-hash: 7d9f8b6c5", "web-7d9f8b6c5-x2x4q").workloadName, "web");
  assert.equal(named("pod-template-hash: 7d9f8b6c5", "web-7d9f8b6c5-x2x4q").canonicalName, "web");
});
