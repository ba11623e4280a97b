// Endpoints that fail, on a whole mesh with two data threads: curl in a pod calls a Service with a route, and real servers fail and recover. Who
// fails is left out, a single request at a time finds out whether it serves again, and then it is used.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { accessLog, until, view } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Host, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import { tail } from "../box/process.ts";
import { serve, supportProgram } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { ambientNamespace, meshOf, servicesOf, workloadsOf } from "../support/mesh-documents.ts";

const HTTP = 9080;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "one" }] },
  { name: "node-b", pods: [{ name: "two" }, { name: "three" }, { name: "only" }] },
];
const called = serviceAddresses(1);
const some = ["one", "two", "three"];
const annotations = { "orlop.dev/balance": "round-robin" };
const services = [
  { name: "api", selector: { group: "nobody" }, annotations },
  { name: "some", selector: { group: "some" }, annotations },
  { name: "only", selector: { group: "only" }, annotations },
  { name: "capped", selector: { app: "three" }, annotations },
  { name: "rated", selector: { group: "some" }, annotations },
];
const ports = [{ name: "http", port: 80, targetPort: HTTP }];
const outliers = "{consecutive5xxErrors: 3, baseEjectionTime: 1s, maxEjectionPercent: 100, minHealthPercent: 0}";

function meshText(cluster: Cluster): string {
  const workloads = workloadsOf(cluster, ({ name }) => ({ app: name, group: some.includes(name) ? "some" : name }));
  const rules = ["some", "only"].map(
    (name) => `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: demo}
spec: {host: ${name}, trafficPolicy: {outlierDetection: ${outliers}}}
`,
  );
  const rated = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: rated
  namespace: demo
  annotations: {orlop.dev/success-rate: '{"minimumHosts":3,"requestVolume":10,"stdevFactor":1}'}
spec:
  host: rated
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 0, interval: 1s, baseEjectionTime: 60s, maxEjectionPercent: 50}
`;
  const cap = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: capped, namespace: demo}
spec: {host: capped, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 2}}}}
`;
  return meshOf([
    ambientNamespace(),
    ...workloads,
    ...servicesOf(services, ports),
    ...rules,
    cap,
    rated,
    `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 80}]
  rules:
    - matches: [{path: {value: /some}}]
      backendRefs: [{name: some, port: 80}]
    - matches: [{path: {value: /only}}]
      backendRefs: [{name: only, port: 80}]
    - matches: [{path: {value: /capped}}]
      backendRefs: [{name: capped, port: 80}]
    - matches: [{path: {value: /rated}}]
      backendRefs: [{name: rated, port: 80}]
`,
  ]);
}

let journey: Journey;
const pod = (name: string): Host => journey.cluster.pod(name);
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all", nodeConfig: "  dataThreads: 2\n" }, meshText);
  for (const name of [...some, "only"]) await serve(pod(name), supportProgram("failing-http"), HTTP, name);
});
after(() => journey?.close());

/** As `<status> <who answered>`. A second's worth of `perSecond` at most. */
async function ask(path: string, times: number, perSecond = 1_000): Promise<readonly string[]> {
  const urls = Array.from({ length: times }, () => `http://${called.ip4}${path}`);
  const args = ["curl", "-sS", "-m", "60", "--rate", `${perSecond}/s`, "-w", " %{http_code}\n", ...urls];
  const done = await pod("client").run(args, 90_000);
  assert.equal(done.status, 0, `curl ended with ${done.status}: ${tail(done.stderr)}`);
  return done.stdout
    .trim()
    .split("\n")
    .map((line) => line.replace(/^(.*) (\d+)$/, "$2 $1"));
}

/** A pod's calls to itself go past the mesh. */
async function own(name: string, path: string): Promise<string> {
  const done = await pod(name).run(["curl", "-sS", `http://127.0.0.1:${HTTP}/-/${path}`], 10_000);
  assert.equal(done.status, 0, tail(done.stderr));
  return done.stdout;
}
const seenBy = async (name: string): Promise<number> => Number(await own(name, "seen"));

async function counted(name: string, labels = ""): Promise<number> {
  const done = await journey.cluster.node("node-a").run(["curl", "-sS", "http://127.0.0.1:15020/metrics"], 10_000);
  const line = done.stdout.split("\n").find((each) => each.startsWith(`${name}${labels} `));
  return Number(line?.split(" ").at(-1) ?? assert.fail(`no ${name}${labels}`));
}

const count = (answers: readonly string[], wanted: string): number => answers.filter((each) => each === wanted).length;

describe("an endpoint that fails", { concurrency: 1 }, () => {
  test("is left out after three failures, gets probes alone, and its share again when it serves", async () => {
    assert.equal(count(await ask("/some", 30), "200 two"), 10);
    await own("two", "fail?status=500");
    const failing = await ask("/some", 60);
    // Where these took more than a second, probes are among them.
    const failed = 3 + (await counted("orlop_endpoint_probes_total"));
    assert.equal(count(failing, "500 two"), failed, failing.join(", "));
    assert.equal(count(failing, "200 one") + count(failing, "200 three"), 60 - failed);
    const { items } = await view(journey.cluster.node("node-a"), "ejected");
    const [{ endpoint, caller, reason, rule } = assert.fail("nobody is left out")] = items;
    const why = failed === 3 ? "consecutive-5xx" : "probe-failed";
    assert.deepEqual([items.length, endpoint, reason], [1, `${pod("two").ip4}:${HTTP}`, why]);
    assert.deepEqual([caller, rule], ["spiffe://cluster.local/ns/demo/sa/client", "demo/api[0]"]);
    await until("a probe that fails", 20_000, async () => {
      await ask("/some", 1);
      return (await counted("orlop_endpoint_ejections_total", '{reason="probe-failed"}')) > 0 || undefined;
    });
    await own("two", "fail?status=200");
    await until("it is used", 20_000, async () => ((await ask("/some", 3)).includes("200 two") ? true : undefined));
    assert.equal(count(await ask("/some", 30), "200 two"), 10);
    assert.equal(await counted("orlop_endpoint_returns_total"), 1);
  });

  test("the only endpoint: while the breaker is open callers are answered 503 at once, and each probe is a single request", async () => {
    await own("only", "fail?status=503&ms=50");
    const [before, probesBefore] = [await seenBy("only"), await counted("orlop_endpoint_probes_total")];
    // Four connections, over both data threads, for five seconds.
    const answers = (await Promise.all([1, 2, 3, 4].map(() => ask("/only", 500, 100)))).flat();
    const probes = (await counted("orlop_endpoint_probes_total")) - probesBefore;
    const got = (await seenBy("only")) - before;
    assert.ok(probes >= 1, `${probes} probes`);
    // The three that opened it, and what was under way beside the third.
    assert.ok(got >= 3 + probes && got <= 6 + probes, `${got} requests, ${probes} of them probes`);
    assert.equal(count(answers, "503 only"), got);
    assert.equal(count(answers, "503 no healthy upstream"), 2_000 - got);
    await until("a refused request in the log", 10_000, () =>
      accessLog(journey.cluster.node("node-a")).find(
        ({ path, response_flags: flags }) => path === "/only" && flags === "UH",
      ),
    );
    await own("only", "fail?status=200");
    await until("it is closed", 30_000, async () => ((await ask("/only", 1))[0] === "200 only" ? true : undefined));
    assert.equal(count(await ask("/only", 50), "200 only"), 50);
  });
});

test("an endpoint that is served worse than the others is left out by what both threads have counted in an interval", async () => {
  await own("two", "fail?status=500");
  const left = await until("it is left out", 20_000, async () => {
    // On four connections, so that both threads have some.
    await Promise.all([1, 2, 3, 4].map(() => ask("/rated", 15, 50)));
    return (await view(journey.cluster.node("node-a"), "ejected")).items.find(({ rule }) => rule === "demo/api[3]");
  });
  assert.deepEqual([left.endpoint, left.reason], [`${pod("two").ip4}:${HTTP}`, "success-rate"]);
  const answers = await ask("/rated", 30);
  assert.equal(count(answers, "200 one") + count(answers, "200 three"), 30, answers.join(", "));
  assert.ok((await counted("orlop_endpoint_ejections_total", '{reason="success-rate"}')) >= 1);
  await own("two", "fail?status=200");
});

test("as many requests as the cap allows are under way over both threads, and the others are answered 503 at once", async () => {
  await own("three", "fail?status=200&held=yes");
  const before = await seenBy("three");
  let answered = 0;
  const asked = [1, 2, 3, 4, 5, 6, 7, 8].map(() => ask("/capped", 1).finally(() => void answered++));
  await until("an answer for all but those that are held", 60_000, async () =>
    answered + (await seenBy("three")) - before === asked.length ? true : undefined,
  );
  const got = (await seenBy("three")) - before;
  await own("three", "fail?status=200");
  const answers = (await Promise.all(asked)).flat();
  assert.ok(got >= 1 && got <= 2, answers.join(", "));
  assert.deepEqual([count(answers, "200 three"), count(answers, "503 too many requests under way")], [got, 8 - got]);
  await until("a refused request in the log", 10_000, () =>
    accessLog(journey.cluster.node("node-a")).find(
      ({ path, response_flags: flags }) => path === "/capped" && flags === "UO",
    ),
  );
  assert.equal(count(await ask("/capped", 20), "200 three"), 20);
});
