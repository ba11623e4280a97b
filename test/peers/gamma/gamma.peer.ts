// test peers · Gateway API's own conformance suite, profiles MESH-HTTP and MESH-GRPC (GAMMA), judges Orlop on a cluster of two nodes, installed by the
// commands of docs/kubernetes.md, with statuses of routes. `make interop PEERS=gamma` runs it.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startCluster } from "../../cluster/cluster.ts";
import { gatewayDefinition } from "../../cluster/gateway-definitions.ts";
import { orlopArchive } from "../../cluster/orlop-image.ts";
import { sectionsOf } from "../../cluster/page.ts";
import { makePageFolder, pageText } from "../../cluster/page-folder.ts";
import { PageRunner } from "../../cluster/page-runner.ts";
import { testCluster } from "../../cluster/test-cluster.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { answersOf, locations, rewritten } from "./answers.ts";
import { echoArchive, imageOf } from "./echo-image.ts";
import { definitions, honoured, needsMesh, passing, profiles, skipped, statuses } from "./features.ts";
import { outcomesOf } from "./outcomes.ts";
import { RouteWatch } from "./route-watch.ts";

const PART = "gamma";
const SUITE_MS = 600_000;
const checkout = fileURLToPath(new URL("../../..", import.meta.url));
/** What the suite and the agents have said, for who reads a failure. */
const results = path.join(checkout, "build/interop");

/** Of the suite's pods. */
const namespaces = ["gateway-conformance-mesh", "gateway-conformance-mesh-consumer"];
/** So each call that the suite counts has come through the mesh. */
const strict = {
  ...{ apiVersion: "security.istio.io/v1", kind: "PeerAuthentication" },
  spec: { mtls: { mode: "STRICT" } },
};

const folder = makePageFolder();
const { plan, binaries, kubeconfig, kubectl, shell } = testCluster("gamma", 2, folder);
const suite = path.join(built("gamma/suite", console.log), "bin/suite");
const echo = built("gamma/echo", console.log);
const began = performance.now();
const say = (what: string): void =>
  console.log(`${((performance.now() - began) / 1_000).toFixed(1).padStart(6)} s  ${what}`);

/** As an operator does who follows the pages: Orlop, then statuses of routes. */
async function install(): Promise<void> {
  const page = new PageRunner(folder, shell);
  const steps = sectionsOf(pageText()).get("Install");
  assert.ok(steps !== undefined && steps.length > 0);
  await page.run(steps);
  kubectl.run(["apply", "-f", path.join(checkout, "daemonset/route-status.yaml")]);
  const control = ["-n", "orlop-system"];
  kubectl.run([...control, "set", "env", "deployment/orlop-control", "ORLOP_ROUTE_STATUS=true"]);
  kubectl.run([...control, "rollout", "status", "deployment/orlop-control", "--timeout=180s"]);
}

/** What the suite prints. It ends with 1 when a test fails, which is no failure of ours. */
async function judge(...words: readonly string[]): Promise<string> {
  const all = [
    ...["-test.v", "-test.timeout=0", `--conformance-profiles=${profiles.join()}`],
    ...[`--supported-features=${honoured.join()}`, "--cleanup-base-resources=false", ...words],
  ];
  const options = { timeout: SUITE_MS, maxBuffer: 2 ** 28, env: { ...process.env, KUBECONFIG: kubeconfig } };
  try {
    return (await promisify(execFile)(suite, all, options)).stdout;
  } catch (error) {
    const { code, stdout, stderr } = error as { readonly code?: unknown; readonly stdout?: string; stderr?: string };
    if (code !== 1 || stdout === undefined) throw new Error(`the suite ended with ${code}: ${stderr}\n${stdout}`);
    return stdout;
  }
}

/** A few tests on the same cluster while there is no mesh, with less patience than the suite's own 30 s. */
async function judgeWithoutMesh(): Promise<string> {
  const options = path.join(folder, "patience.json");
  writeFileSync(options, JSON.stringify({ timeoutConfig: { maxTimeToConsistency: "3s" } }));
  const others = passing.filter((name) => name !== "MeshBasic" && !needsMesh.includes(name));
  return await judge(`--conformance-options-file=${options}`, `--skip-tests=${others.join()}`);
}

const image = imageOf(execFileSync(suite, ["manifests"], { encoding: "utf8" }));
await startCluster(plan, binaries, say, () => [
  orlopArchive(path.join(plan.dir, "image")),
  echoArchive(image, echo, path.join(plan.dir, "echo")),
]);
for (const plural of definitions) kubectl.run(["create", "-f", "-"], JSON.stringify(gatewayDefinition(plural)));
const plain = outcomesOf(await judgeWithoutMesh());
say("some tests of the suite without a mesh");
await install();
say("Orlop, by the commands of docs/kubernetes.md");
for (const namespace of namespaces)
  kubectl.run(["create", "-f", "-"], JSON.stringify({ ...strict, metadata: { name: "default", namespace } }));
const watch = new RouteWatch(kubectl, definitions);
after(() => watch.close());
const printed = await judge("--namespace-labels=orlop.dev/dataplane-mode=ambient");
say(`the suite has ended; ${printed.match(/not ready yet/g)?.length ?? 0} answers were not right yet`);
mkdirSync(results, { recursive: true });
writeFileSync(path.join(results, `${PART}.log`), printed);
const agents = ["-n", "orlop-system", "logs", "-l", "app=orlop-agent", "-c", "agent", "--tail=-1", "--prefix"];
const records = kubectl.run(agents);
writeFileSync(path.join(results, `${PART}-agents.log`), records);
const outcomes = outcomesOf(printed);

peerCase(PART, "without a mesh pods reach each other, and tests of routes fail", () => {
  const found = (name: string): string | undefined => plain.find((each) => each.name === name)?.outcome;
  assert.equal(found("MeshBasic"), "passed");
  for (const name of needsMesh) assert.equal(found(name), "failed", name);
});
peerCase(PART, "the suite has run its tests of meshes, and no others than are known", () => {
  const known = [...passing, ...Object.keys(skipped)];
  assert.deepEqual(outcomes.map(({ name }) => name).toSorted(), known.toSorted(), printed.slice(-4_000));
});
for (const { name, outcome, cases, said } of outcomes) {
  const reason = skipped[name];
  if (reason === undefined) {
    peerCase(PART, `${name} (${cases} cases)`, () => assert.equal(outcome, "passed", said.slice(-6_000)));
  } else {
    peerCase(PART, `${name} is not run: ${reason}`, () => assert.equal(outcome, "skipped"));
  }
}

const answers = answersOf(printed);
for (const [what, wanted, found] of [
  ["where redirects lead", locations, "location"],
  ["what path arrives", rewritten, "arrived"],
] as const)
  peerCase(PART, `${what}, which the suite does not compare`, () => {
    for (const [asked, value] of Object.entries(wanted)) {
      const values = answers.filter((answer) => answer.asked === `http://echo${asked}`).map((answer) => answer[found]);
      // To the suite the last three were right.
      assert.deepEqual(values.slice(-3), [value, value, value], asked);
    }
  });
peerCase(PART, "to the agents no connection of the suite has failed", () => {
  const lines = records.split("\n").filter((line) => line.includes("gateway-conformance-mesh"));
  assert.ok(lines.length > answers.length / 2, `${lines.length} lines of the access log`);
  assert.deepEqual(
    lines.filter((line) => line.includes(' error="')),
    [],
  );
});
peerCase(
  PART,
  "the status of each route of the suite says that it is accepted, and whether its backends are there",
  () => {
    const written = watch.routes.filter(({ said }) => said !== "");
    console.log(`${watch.routes.length} routes, ${written.length} with a status`);
    // The suite may delete a route before its status is written.
    assert.ok(written.length >= passing.length / 2);
    assert.deepEqual(
      written.map(({ name, said }) => [name, said]),
      written.map(({ name }) => [name, statuses[name] ?? "Accepted True Accepted, ResolvedRefs True ResolvedRefs"]),
    );
  },
);
