// The examples of docs/routes.md: each is read as a file of the mesh would be, and each line of requests below it is planned.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../agent/config/load.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { RouteTables } from "../../agent/l7/route-tables.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import type { RequestPlan } from "../../agent/plan/forwarded-request.ts";
import { isDrawn, type MirrorPlan, planMirror } from "../../agent/plan/plan-mirrors.ts";
import { planRequest } from "../../agent/plan/plan-request.ts";
import { routeOf } from "../../agent/plan/route.ts";
import { judgeOf } from "../../agent/policy/evaluate.ts";

const pathOf = (file: string): string => fileURLToPath(new URL(`../../docs/${file}`, import.meta.url));
const page = readFileSync(pathOf("routes.md"), "utf8");
const example =
  /^```yaml (grpc )?route(?: in (\w+))?(?: with (\{.*\}))?\n([\s\S]*?)^```\n```requests\n([\s\S]*?)^```$/gm;
const examples = [...page.matchAll(example)].map(
  ([, grpc, namespace = "shop", fault = "", rules = "", lines = ""]) => ({
    ...{ kind: grpc === undefined ? "HTTPRoute" : "GRPCRoute", namespace, fault, rules },
    lines: lines.trimEnd().split("\n"),
  }),
);

const streamExample = /^```yaml (TCPRoute|TLSRoute)\n([\s\S]*?)^```\n```connections\n([\s\S]*?)^```$/gm;
const streamExamples = [...page.matchAll(streamExample)].map(([, kind = "", spec = "", lines = ""]) => ({
  ...{ kind, spec },
  lines: lines.trimEnd().split("\n"),
}));

const workload = (namespace: string, name: string, at: number): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name}, orlop.dev/dataplane-mode: ambient } }
spec: { addresses: [10.0.0.${at}], node: far, serviceAccount: ${name} }
`;
const service = (name: string, at: number): string => `apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { clusterIP: 10.96.0.${at}, selector: { app: ${name} }, ports: [{ name: http, port: 80 }] }
`;
const surroundings = [
  ...["web", "api", "far", "near"].map((name, index) => workload("shop", name, index + 1)),
  workload("bank", "teller", 9),
  ...["api", "far", "near", "empty"].map((name, index) => service(name, index + 1)),
];

/** `METHOD TARGET [from NAMESPACE/NAME] [with NAME=VALUE] → OUTCOME` */
const line = /^([A-Z]+) (\S+)(?: from (\S+)\/(\S+))?(?: with (\S+)=(\S+))? → (.+)$/;

async function meshOf(namespace: string, rules: string, kind = "HTTPRoute", fault = ""): Promise<MeshStore> {
  const place = loadConfig(pathOf("examples/two-nodes.yaml"), {}).agent.settings;
  const route = `apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: api, namespace: ${namespace}${fault === "" ? "" : `, annotations: { orlop.dev/fault: '${fault}' }`} }
spec:
  parentRefs: [{ group: "", kind: Service, name: api, namespace: shop }]
${rules.replace(/^(?=.)/gm, "  ")}`;
  const { updates, findings } = await translateTexts(
    [{ file: "f", text: [...surroundings, route].join("---\n") }],
    place,
  );
  assert.deepEqual(findings, []);
  const mesh = new MeshStore({ rootNamespace: place.rootNamespace, trustDomain: place.trustDomain });
  mesh.apply(updates);
  return mesh;
}

function outcomeOf(plan: RequestPlan): string {
  if (plan.kind === "reply") {
    if (plan.instead !== undefined) return plan.instead.kind === "reset" ? "reset" : `waits ${plan.instead.ms} ms`;
    const location = plan.responseEdits.find(({ name }) => name === "location");
    return location?.op === "set" ? `${plan.status} ${location.value}` : String(plan.status);
  }
  const { entry, target, authority, timeoutMs } = plan;
  const name = entry === null || entry.rule.name === "" ? "" : ` by ${entry.rule.name}`;
  const as = target === "" ? "" : ` as ${target}`;
  const limit = timeoutMs === 0 ? "" : ` within ${timeoutMs} ms`;
  const session = plan.responseEdits.find(({ name: each }) => each === "set-cookie" || each === "x-basket");
  if (session !== undefined) return `${plan.route.service?.name}${name} with ${session.name}`;
  return `${plan.route.service?.name}${name}${as}${authority === "" ? "" : ` host ${authority}`}${limit}`;
}

function copiesOf(mirrors: readonly MirrorPlan[]): string {
  const said = mirrors.map((each) => (each.kind === "send" ? `to ${each.to}` : `not to ${each.to} (${each.why})`));
  return said.length === 0 ? "" : ` copied ${said.join(", ")}`;
}

for (const [index, { kind, namespace, fault, rules, lines }] of examples.entries()) {
  test(`docs/routes.md, example ${index + 1}: ${lines.length} requests`, async () => {
    const mesh = await meshOf(namespace, rules, kind, fault);
    const world = {
      ...{ mesh, judge: judgeOf(mesh), readsPaths: () => true, routes: new RouteTables(mesh) },
      ...{ servedHere: () => false, load: () => 0, random: () => 0, wallMs: Date.now },
    };
    for (const written of lines) {
      const [, method = "", target = "", of = "shop", caller = "web", field = "", value = "", said = ""] =
        line.exec(written) ?? assert.fail(`cannot read: ${written}`);
      const source = [...mesh.workloads()].find((each) => each.namespace === of && each.name === caller);
      assert.ok(source, written);
      const client = { address: source.addresses[0] ?? "", port: 1 };
      const header = (name: string): readonly string[] => (name === field ? [value] : []);
      const dialled = { address: "10.96.0.1", port: 80 };
      const facts = { source, client, dialled, method, target, authority: "api", header };
      const plan = planRequest(facts, world);
      const entry = plan.kind === "forward" ? plan.entry : null;
      const drawn = entry?.rule.mirrors?.filter((each) => isDrawn(each, world)) ?? [];
      const copies = entry === null ? "" : copiesOf(drawn.map((mirror) => planMirror(facts, { entry, mirror }, world)));
      assert.equal(outcomeOf(plan) + copies, said, written);
    }
  });
}

for (const [index, { kind, spec, lines }] of streamExamples.entries()) {
  test(`docs/routes.md, example ${index + 1} of connections: a ${kind}`, async () => {
    const mesh = await meshOf("shop", spec, kind);
    const source = mesh.workloadAt("10.0.0.1") ?? assert.fail();
    const world = { mesh, servedHere: () => false, load: () => 0, random: () => 0 };
    // The Service's port is named http, which a TLSRoute without a port is not about.
    const routed = new MeshStore({ rootNamespace: mesh.rootNamespace, trustDomain: mesh.trustDomain });
    const unnamed = { ports: [{ name: "", port: 80, targetPort: 80, appProtocol: "" }] };
    routed.apply([
      ...[...mesh.workloads()].map((value) => ({ kind: "workload", op: "upsert", value }) as const),
      ...[...mesh.services()].map(
        (value) => ({ kind: "service", op: "upsert", value: { ...value, ...unnamed } }) as const,
      ),
      ...[...mesh.tlsRoutes()].map((value) => ({ kind: "tls-route", op: "upsert", value }) as const),
      ...[...mesh.tcpRoutes()].map((value) => ({ kind: "tcp-route", op: "upsert", value }) as const),
    ]);
    for (const written of lines) {
      const [, name = "", said = ""] = /^(\S+) → (\S+)$/.exec(written) ?? assert.fail(`cannot read: ${written}`);
      const serverName = name === "any" || name === "nobody" ? null : name;
      const route = routeOf(source, { address: "10.96.0.1", port: 80 }, { ...world, mesh: routed }, serverName);
      assert.equal(route.kind === "refuse" ? route.reason : route.service?.name, said, written);
    }
  });
}

test("the page has examples, and each of its tables' fields is in them", () => {
  assert.ok(examples.length >= 3);
  assert.deepEqual([...new Set(streamExamples.map(({ kind }) => kind))], ["TCPRoute", "TLSRoute"]);
  const all = examples.map(({ rules }) => rules).join("\n");
  for (const field of [
    "Exact",
    "PathPrefix",
    "RegularExpression",
    "method:",
    "headers:",
    "queryParams:",
    "URLRewrite",
    "RequestRedirect",
    "CORS",
    "RequestMirror",
    "fraction:",
    "percent:",
    "timeouts:",
    "retry:",
    "sessionPersistence:",
    "method: {",
    "service:",
  ])
    assert.ok(all.includes(field), field);
});
