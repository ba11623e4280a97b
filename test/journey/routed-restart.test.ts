// Requests on routes while both agents are replaced: what is open goes on in the old agents, no request is answered twice or lost, and a policy
// that comes afterwards ends in the old agents what it ends anywhere.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Host, Node, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import type { Running } from "../box/process.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import type { KeptTalk, KeptTalks } from "../support/kept-talks.ts";

const HTTP = 9080;
const GRPC = 9090;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near" }] },
  { name: "node-b", pods: [{ name: "far" }, { name: "shadow" }] },
];
const services = ["api", "far", "near", "shadow"];
const targets = ["far", "near"];
const called = serviceAddresses(1);

const mirrored = "{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}, percent: 50}}";
const rules = targets
  .map(
    (name) => `
    - matches: [{path: {value: /${name}}}]
      filters: [${mirrored}]
      backendRefs: [{name: ${name}, port: 80}]
    - matches: [{path: {value: /slow/${name}}}]
      backendRefs: [{name: ${name}, port: 80}]`,
  )
  .join("");
const calls = targets
  .map(
    (name) => `
    - matches: [{headers: [{name: x-to, value: ${name}}]}]
      backendRefs: [{name: ${name}, port: 90}]`,
  )
  .join("");

/** Nobody may call `far` and `near`, by a rule that requests alone can tell. */
const forbidden = targets.map(
  (app) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-${app}, namespace: demo}
spec: {selector: {matchLabels: {app: ${app}}}, action: DENY, rules: [{to: [{operation: {paths: ["/*"]}}]}]}
`,
);
/** A rule about requests, so that they are read from the beginning. */
const reading = targets.map((app) => forbidden[targets.indexOf(app)]?.replace('"/*"', "/nothing") ?? "");

function meshText(cluster: Cluster, policies: readonly string[]): string {
  const workloads = cluster.nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: demo, uid: ${pod.uid}, labels: {app: ${pod.name}}}
spec: {addresses: ["${pod.ip4}", "${pod.ip6}"], node: ${node.name}, serviceAccount: ${pod.name}}
`,
    ),
  );
  const service = (name: string, index: number): string => `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: demo}
spec:
  clusterIP: ${serviceAddresses(index + 1).ip4}
  selector: {app: ${name}}
  ports: [{name: http, port: 80, targetPort: ${HTTP}}, {name: grpc, port: 90, targetPort: ${GRPC}}]
`;
  const route = (kind: string, port: number, text: string): string => `apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: api, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: ${port}}]
  rules:${text}
`;
  return [
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}\n",
    ...workloads,
    ...services.map(service),
    ...policies,
    route("HTTPRoute", 80, rules),
    route("GRPCRoute", 90, calls),
  ].join("---\n");
}

let journey: Journey;
const pod = (name: string): Host => journey.cluster.pod(name);
const program = (name: string): string => fileURLToPath(new URL(`../support/${name}.ts`, import.meta.url));
const web = new Map<string, Running>();
before(async () => {
  journey = await startJourney({ nodes }, (cluster) => meshText(cluster, reading));
  const grpc = targets.map((name) => pod(name).start([process.execPath, program("grpc-app"), String(GRPC), name]));
  for (const name of [...targets, "shadow"])
    web.set(name, pod(name).start([process.execPath, program("echo-http"), String(HTTP), name, "tells"]));
  await Promise.all([...web.values(), ...grpc].map((app) => app.line(20_000, (line) => line === "listening")));
});
after(() => journey?.close());

const holderOf = (node: Node): number => Number(readFileSync(join(node.runDir, "agent.pid"), "utf8"));

/** SIGTERM to the node's agent; resolves when the next agent serves. */
async function replaced(node: Node): Promise<number> {
  const pid = holderOf(node);
  assert.ok(pid > 1, "a signal to 0 would reach this test");
  process.kill(pid, "SIGTERM");
  await until(`a successor on ${node.name}`, 60_000, async () => {
    if (holderOf(node) === pid) return undefined;
    const status = await view(node, "status");
    return status.pending.length === 0 ? true : undefined;
  });
  return pid;
}

async function heard(caller: Running): Promise<KeptTalks> {
  caller.write("\n");
  return JSON.parse(await caller.line(10_000)) as KeptTalks;
}

/** How often a request was answered by its application. */
function timesSeen(name: string): ReadonlyMap<string, number> {
  const seen = new Map<string, number>();
  for (const line of web.get(name)?.stdout.split("\n") ?? []) {
    const url = /"url":"([^"]*)"/.exec(line)?.[1];
    if (url !== undefined && !url.startsWith("/slow")) seen.set(url, (seen.get(url) ?? 0) + 1);
  }
  return seen;
}

test("what is open on routes goes on while both agents are replaced, and a policy ends it in the old agents", async () => {
  const { cluster } = journey;
  const args = [called.ip4, "80", "90", ...targets];
  const caller = pod("client").start([process.execPath, program("kept-talks"), ...args]);
  await caller.line(60_000, (line) => line === "up");
  const old = await Promise.all(["node-a", "node-b"].map((name) => replaced(cluster.node(name))));
  // A while with the next agents in place: an answer that takes two seconds has begun by then.
  await sleep(3_000);
  const before = await heard(caller);
  const hasGoneOn = ({ heard: now }: KeptTalk, at: number): boolean => now > (before[at]?.heard ?? 0);
  const after = await until("each talk to go on, or to fail", 60_000, async () => {
    const now = await heard(caller);
    return now.every(hasGoneOn) || now.some(({ failures }) => failures.length > 0) ? now : undefined;
  });
  const failures = after.filter((talk) => talk.failures.length > 0);
  assert.deepEqual(failures, [], "no talk was cut, refused or mixed up");
  for (const talk of after)
    if (talk.talk.startsWith("post")) assert.equal(talk.connections, 1, `${talk.talk} has kept its connection`);
  for (const name of targets) {
    const doubled = [...timesSeen(name)].filter(([, times]) => times !== 1);
    assert.deepEqual(doubled, [], `requests that ${name} has answered more than once`);
  }
  for (const pid of old) assert.doesNotThrow(() => process.kill(pid, 0), "the old agent serves on");

  cluster.writeMesh(meshText(cluster, forbidden));
  // What was begun has a second to end by itself.
  await until("the end of what the policy forbids", 20_000, async () => {
    const now = await heard(caller);
    return now.every(({ talk, failures: all }) => talk.startsWith("slow") || all.length > 0) ? true : undefined;
  });
  const [last, later] = [await heard(caller), await sleep(2_000).then(() => heard(caller))];
  for (const [at, talk] of later.entries()) {
    if (!/^(?:grpc|websocket)/.test(talk.talk)) continue;
    assert.equal(talk.heard, last[at]?.heard, `${talk.talk} hears nothing more`);
  }
  for (const [name, app] of web) assert.ok(app.running, `the application ${name} lives: ${app.stderr}`);
  const refused = later.filter(({ talk }) => talk.startsWith("post")).map(({ failures: all }) => all[0] ?? "");
  for (const failure of refused) assert.match(failure, /: (?:403|Error)/);
});
