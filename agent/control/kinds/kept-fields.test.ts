// What is kept of an object is read as the whole object is, whatever is in it.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonValue } from "./json-value.ts";
import { keptFields } from "./kept-fields.ts";
import { parsedObjectsOf } from "./parsed-object.ts";
import { Report } from "./value.ts";

const settings = {
  ...{ node: "west", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};
const version = { kind: "Pod", namespace: "shop", name: "web", resourceVersion: "7" };

function read(object: unknown) {
  const report = new Report("object");
  const parsed = parsedObjectsOf(jsonValue(object, version), settings, report);
  return { parsed, problems: report.problems, findings: report.findings };
}

/** Mostly the value; now and then anything at all in its place, or nothing. */
const mostly = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 150, arbitrary: value }, { weight: 1, arbitrary: fc.jsonValue() });
const some = (fields: Readonly<Record<string, fc.Arbitrary<unknown>>>, ...needed: readonly string[]) =>
  mostly(fc.record(fields, { requiredKeys: [...needed] }));
const listOf = (item: fc.Arbitrary<unknown>) => mostly(fc.array(item, { maxLength: 3 }));
const word = fc.constantFrom("web", "app", "http", "Always", "TCP", "Ready", "True", "");
const dialled = mostly(fc.oneof(fc.integer({ min: 1, max: 65_535 }), word));
const probe = some({
  ...{ httpGet: some({ port: dialled, path: word }, "port"), tcpSocket: some({ port: dialled }, "port") },
  ...{ grpc: some({ port: dialled, service: word }, "port"), periodSeconds: fc.nat() },
});
const containers = listOf(
  some({
    ...{ name: word, image: word, env: fc.jsonValue(), volumeMounts: fc.jsonValue(), restartPolicy: word },
    ports: listOf(
      some({ name: word, containerPort: mostly(fc.integer({ min: 1, max: 65_535 })), protocol: word }, "containerPort"),
    ),
    ...{ livenessProbe: probe, readinessProbe: probe, startupProbe: probe },
    lifecycle: some({ postStart: probe, preStop: probe }),
  }),
);
const pod = some(
  {
    metadata: some(
      {
        ...{ name: fc.constant("web"), namespace: fc.constant("shop"), uid: word, labels: some({ app: word }) },
        annotations: some({
          "kubectl.kubernetes.io/last-applied-configuration": word,
          "kubernetes.io/config.mirror": word,
        }),
        ...{ managedFields: fc.jsonValue(), deletionTimestamp: mostly(fc.constant("2026-01-01T00:00:00Z")) },
        ownerReferences: listOf(
          some({ kind: fc.constant("Node"), name: word, controller: fc.boolean() }, "kind", "name"),
        ),
      },
      ...["name", "namespace"],
    ),
    spec: some({
      ...{
        nodeName: fc.constantFrom("west", "east"),
        serviceAccountName: mostly(fc.constant("web")),
        hostNetwork: fc.boolean(),
      },
      ...{ containers, initContainers: containers, volumes: fc.jsonValue() },
    }),
    status: some({
      ...{ phase: fc.constantFrom("Running", "Failed"), containerStatuses: fc.jsonValue() },
      podIPs: listOf(some({ ip: fc.constantFrom("10.0.0.1", "fd00::1") }, "ip")),
      conditions: listOf(some({ type: word, status: word, message: word }, "type", "status")),
    }),
  },
  ...["metadata", "spec"],
);

test("a Pod is read from what is kept of it as from all of it", () => {
  let workloads = 0;
  fc.assert(
    fc.property(pod, (random) => {
      const object = typeof random === "object" ? { apiVersion: "v1", kind: "Pod", ...random } : random;
      const whole = read(object);
      workloads += whole.parsed.length;
      assert.deepEqual(read(keptFields("Pod", object)), whole);
    }),
    { numRuns: 1_000 },
  );
  assert.ok(workloads > 20, `${workloads} workloads: too tame`);
});

test("of bookkeeping nothing is kept, of policies all that is said", () => {
  const metadata = { name: "a", annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}", x: "y" } };
  const object = { metadata: { ...metadata, managedFields: [{ manager: "kubectl" }] }, spec: { newer: [1, { a: 2 }] } };
  const kept = { metadata: { name: "a", annotations: { x: "y" } }, spec: { newer: [1, { a: 2 }] } };
  assert.deepEqual(keptFields("AuthorizationPolicy", object), kept);
  for (const odd of [null, 7, "x", [], { metadata: 7 }, { metadata: null, spec: 3 }, { status: [] }])
    assert.deepEqual(keptFields("Pod", odd), odd);
});
