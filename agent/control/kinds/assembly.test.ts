// Whatever the order in which documents come and go, the mesh is what all of them together would make at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseYaml } from "../static-file/parse.ts";
import { Assembly } from "./assembly.ts";
import type { NodeSettings } from "./node-settings.ts";
import { type ParsedObject, parsedObjectsOf } from "./parsed-object.ts";
import { translate } from "./translate.ts";
import { ConfigError, Report } from "./value.ts";

const settings: NodeSettings = {
  node: "west",
  cluster: "c1",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
  runtimeClasses: [],
};

const names = fc.constantFrom("a", "b", "c");
const namespaces = fc.constantFrom("shop", "ops");
const octets = fc.integer({ min: 1, max: 4 });
const opt = fc.constantFrom(
  "",
  ", labels: {orlop.dev/dataplane-mode: ambient}",
  ", labels: {orlop.dev/dataplane-mode: none}",
);
const note = fc.constantFrom(
  "",
  ', annotations: {orlop.dev/remove-proxy-headers: "true"}',
  ', annotations: {orlop.dev/remove-proxy-headers: "false"}',
);
const yes = fc.boolean();

const documents = fc.oneof(
  fc
    .tuple(namespaces, opt, note)
    .map(([name, labels, notes]) => `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}${labels}${notes}}`),
  fc.tuple(names, namespaces, octets, opt, yes).map(
    ([name, namespace, octet, labels, local]) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: ${namespace}${labels}}
spec: {addresses: [10.0.0.${octet}], node: ${local ? "west" : "east"}}`,
  ),
  fc.tuple(names, namespaces, octets, yes).map(
    ([name, namespace, octet, selects]) => `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec: {clusterIP: 10.1.0.${octet}, ports: [{port: 80}]${selects ? `, selector: {app: ${name}}` : ""}}`,
  ),
  fc.tuple(names, namespaces, names, octets).map(
    ([name, namespace, host, octet]) => `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: ${namespace}}
spec: {host: ${host}, trafficPolicy: {outlierDetection: {consecutive5xxErrors: ${octet}}, loadBalancer: {localityLbSetting: {enabled: ${octet > 2}}}}}`,
  ),
  fc.tuple(names, namespaces, names, octets).map(
    ([name, namespace, service, octet]) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}, namespace: ${namespace}, labels: {kubernetes.io/service-name: ${service}}}
addressType: IPv4
endpoints: [{addresses: [10.2.0.${octet}]}]`,
  ),
  fc.tuple(names, namespaces, names, yes).map(
    ([name, namespace, service, denies]) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: ${namespace}}
spec: {action: ${denies ? "DENY" : "ALLOW"}, targetRefs: [{kind: Service, name: ${service}}]}`,
  ),
  fc.tuple(names, namespaces).map(
    ([name, namespace]) => `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: ${name}, namespace: ${namespace}}
spec: {mtls: {mode: STRICT}}`,
  ),
);

/** undefined: refused. */
function atOnce(files: ReadonlyMap<string, string>): ReadonlyMap<string, unknown> | undefined {
  try {
    const values = [...files].sort().flatMap(([file, text]) => parseYaml(file, text));
    return new Map(translate(values, settings).updates.map((one) => [idOf(one), one.value]));
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return undefined;
  }
}

type Any = ReturnType<Assembly["swap"]>[number];

function idOf(update: Any): string {
  if (update.op === "remove") return `${update.kind} ${update.key}`;
  return `${update.kind} ${update.kind === "workload" ? update.value.uid : `${update.value.namespace}/${update.value.name}`}`;
}

test("swaps one after the other make what all documents make at once, and a refused one changes nothing", () => {
  const step = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.option(documents)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const assembly = new Assembly(settings);
      const mesh = new Map<string, unknown>();
      let files = new Map<string, string>();
      const objects = new Map<string, readonly ParsedObject[]>();
      for (const changes of steps) {
        const next = new Map(files);
        for (const [nth, text] of changes) {
          if (text === null) next.delete(`${nth}.yaml`);
          else next.set(`${nth}.yaml`, text);
        }
        const changed = [...new Set([...files.keys(), ...next.keys()])].filter(
          (one) => files.get(one) !== next.get(one),
        );
        const gone = changed.flatMap((file) => objects.get(file) ?? []);
        const read = new Map(changed.map((file) => [file, piecesIn(file, next.get(file) ?? "")]));
        const expected = atOnce(next);
        try {
          for (const update of assembly.swap({ gone, come: [...read.values()].flat() })) {
            if (update.op === "remove") assert.ok(mesh.delete(idOf(update)), `${idOf(update)} was not there`);
            else mesh.set(idOf(update), update.value);
          }
          assert.ok(expected !== undefined, "was taken over, and should have been refused");
          files = next;
          for (const [file, list] of read) objects.set(file, list);
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          assert.equal(expected, undefined, error.message);
        }
        assert.deepEqual(new Map([...mesh].sort()), new Map([...(atOnce(files) ?? [])].sort()));
        assert.equal(assembly.objects, mesh.size);
      }
    }),
    { numRuns: 300 },
  );
});

function piecesIn(file: string, text: string): readonly ParsedObject[] {
  const report = new Report();
  const list = parseYaml(file, text).flatMap((value) => parsedObjectsOf(value, settings, report));
  assert.deepEqual(report.problems, []);
  return list;
}
