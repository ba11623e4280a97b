// test peers · sends mutants of HTTP/1 requests through a meshed pair whose requests are judged, to three origins, and compares what
// the origins have read with what the agent has read (docs/reference/failures.md, B1).
import assert from "node:assert/strict";
import { randomInt, randomUUID } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import path from "node:path";
import { after, before, type TestContext } from "node:test";
import { type AccessEntry, readAccessLine, startMesh, until } from "../../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Host } from "../../box/cluster.ts";
import { tail } from "../../box/process.ts";
import { peerCase } from "../support/cases.ts";
import { soak } from "../support/soak.ts";
import { answeredBy, expect, judge, judgeLog, readDifferently } from "./judge.ts";
import { mutantOf } from "./mutant.ts";
import { makes, startOrigins } from "./origins.ts";
import { readConnection } from "./reading.ts";
import type { Sent } from "./sender.ts";

const COUNT = Number(process.env.ORLOP_MUTANTS ?? soak(100_000, 1_000_000));
const SEED = Number(process.env.ORLOP_MUTANTS_SEED ?? randomInt(1, 2 ** 31));
/** Mutants that are sent and judged together. */
const ROUND = 100_000;
/** So many are sent to each origin without a mesh, too. */
const DIRECT = 6_000;
const SEND_MS = 600_000;
const ports = makes.map(({ port }) => String(port));

let cluster: Cluster;
before(async () => {
  // The nodes' agents get this environment.
  process.env.ORLOP_LOG_REQUESTS = "all";
  cluster = await createCluster({
    nodes: [
      { name: "node-a", pods: [{ name: "client" }] },
      { name: "node-b", pods: [{ name: "origins" }] },
    ],
    nodeConfig: "  dataThreads: 1\n",
  });
  cluster.writeMesh(meshText(cluster));
  await startMesh(cluster);
  // Connections end faster than the kernel forgets them: without this bound, those in TIME_WAIT would use up all ports of a minute.
  for (const name of ["client", "origins"]) {
    const bound = await cluster.pod(name).run(["sh", "-c", "echo 1000 > /proc/sys/net/ipv4/tcp_max_tw_buckets"]);
    assert.equal(bound.status, 0, tail(bound.stderr));
  }
});
after(() => cluster?.close());

function meshText({ nodes }: Cluster): string {
  const workloads = nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: demo, uid: ${pod.uid}, labels: {app: ${pod.name}}}
spec: {addresses: ["${pod.ip4}", "${pod.ip6}"], node: ${node.name}, serviceAccount: ${pod.name}}
`,
    ),
  );
  return [
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}\n",
    ...workloads,
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: demo}
spec: {mtls: {mode: STRICT}}
`,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: denied, namespace: demo}
spec: {action: DENY, selector: {matchLabels: {app: origins}}, rules: [{to: [{operation: {paths: ["/denied", "/denied/*"]}}]}]}
`,
  ].join("---\n");
}

type Some = { readonly from: number; readonly count: number };

async function send(pod: Host, host: string, { from, count }: Some, ...more: readonly string[]): Promise<Sent> {
  const sender = new URL("./sender.ts", import.meta.url).pathname;
  const words = [process.execPath, sender, ...[SEED, from, count].map(String), host, ...ports, ...more];
  const done = await pod.run(words, SEND_MS);
  assert.equal(done.status, 0, tail(done.stderr));
  return JSON.parse(done.stdout) as Sent;
}

/** Lines of requests in the agent's log from byte `at` on. A request made here is the last of them, since lines keep their order. */
async function requestLog(host: string, at: number): Promise<readonly AccessEntry[]> {
  const last = `/denied/${randomUUID()}`;
  const before = logSize();
  const ask = `await fetch("http://${host}:${ports[0]}${last}").then((response) => response.text())`;
  const done = await cluster.pod("client").run([process.execPath, "--input-type=module", "-e", ask], 30_000);
  assert.equal(done.status, 0, tail(done.stderr));
  const file = cluster.node("node-b").accessLog;
  await until("the last line of the log", 30_000, () => (bytesOf(file, before).includes(last) ? true : undefined));
  const lines = bytesOf(file, at).toString().split("\n");
  return lines.filter((line) => line.includes("\trequest complete\t") && !line.includes(last)).map(readAccessLine);
}

/** What a file has from byte `at` on. */
function bytesOf(file: string, at: number): Buffer {
  const descriptor = openSync(file, "r");
  const from = Math.max(at, 0);
  const bytes = Buffer.alloc(Math.max(fstatSync(descriptor).size - from, 0));
  const read = readSync(descriptor, bytes, 0, bytes.length, from);
  closeSync(descriptor);
  return bytes.subarray(0, read);
}

const logSize = (): number => statSync(cluster.node("node-b").accessLog, { throwIfNoEntry: false })?.size ?? 0;

/** Sends mutants `from` to `from + count` through the pair and judges them. Returns how many an origin has answered. */
async function round(context: TestContext, from: number, count: number): Promise<number> {
  const pod = cluster.pod("origins");
  const origins = await startOrigins(pod, pod.ip4, path.join(cluster.dir, `round-${from}`));
  const at = logSize();
  const start = performance.now();
  const sent = await send(cluster.pod("client"), pod.ip4, { from, count });
  const seconds = (performance.now() - start) / 1_000;
  context.diagnostic(`${count} mutants in ${seconds.toFixed(1)} s; heard ${JSON.stringify(sent.statuses)}`);
  assert.deepEqual(sent.late, [], "no mutant waits for ever");
  const log = await requestLog(pod.ip4, at);
  const readings = await Promise.all(origins.map((origin) => origin.stop()));

  const reads = Array.from({ length: count }, (_, nth) => {
    const { id, bytes } = mutantOf(SEED, from + nth);
    return { id, connection: readConnection(bytes) };
  });
  const expected = expect(reads);
  const judged = origins.map(({ name }, nth) => {
    const mine = expected.filter((_, index) => (from + index) % origins.length === nth);
    return { name, ...judge(name, mine, readings[nth] ?? []) };
  });
  for (const { name, accepted, refused } of judged) {
    context.diagnostic(`${name}: ${accepted} mutants answered, ${refused} requests refused that the agent let pass`);
  }
  const disagreements = [...judged.flatMap((each) => each.disagreements), ...judgeLog(reads, expected, log)];
  assert.deepEqual(disagreements.slice(0, 20), [], `${disagreements.length} disagreements, seed ${SEED}`);
  return judged.reduce((sum, { accepted }) => sum + accepted, 0);
}

peerCase("mutants", "what the agent reads is what an origin reads", async (context) => {
  context.diagnostic(`again: ORLOP_MUTANTS_SEED=${SEED} ORLOP_MUTANTS=${COUNT} make interop PEERS=mutants`);
  let accepted = 0;
  for (let from = 0; from < COUNT; from += ROUND) accepted += await round(context, from, Math.min(ROUND, COUNT - from));
  context.diagnostic(`${((100 * accepted) / COUNT).toFixed(1)} % accepted by us and an origin`);
  assert.ok(accepted >= 0.3 * COUNT, "too tame: three of ten have to be accepted");
});

peerCase("mutants", "without a mesh, two origins read many of them as different requests", async (context) => {
  const count = Math.min(COUNT, DIRECT);
  const origins = await startOrigins(cluster.outside, "127.0.0.1", path.join(cluster.dir, "direct"));
  await send(cluster.outside, "127.0.0.1", { from: 0, count }, "--each");
  const readings = await Promise.all(origins.map((origin) => origin.stop()));
  const answered = readings.map(answeredBy);
  const different = readDifferently(count, answered);
  const smuggled = readings.map(
    (some, nth) => `${origins[nth]?.name} ${some.filter(({ target }) => target.startsWith("/denied/")).length}`,
  );
  context.diagnostic(
    `${((100 * different) / count).toFixed(1)} % read differently by two; /denied asked for: ${smuggled.join(", ")}`,
  );
  assert.ok(different >= 0.05 * count, "too tame: one of twenty has to be read differently");
});
