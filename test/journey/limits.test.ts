// Limits on a whole mesh: curl in pods, real servers, across nodes and on one node, all data threads at once. A limit of so many in an hour
// admits exactly so many, however long the test takes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type AccessEntry, accessLog, until, view } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Host, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import { orlopOn, requestRecord, serve, supportProgram, threadsFollow } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { ambientNamespace, meshOf, servicesOf, workloadsOf } from "../support/mesh-documents.ts";

const HTTP = 9080;
const OTHER = 9081;
const HTTP2 = 9082;
const http2App = `require("node:http2").createServer((_, response) => response.end("ok")).listen(${HTTP2}, "::", () => console.log("listening"))`;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "other" }, { name: "near" }] },
  { name: "node-b", pods: [{ name: "far" }] },
];
const called = serviceAddresses(1);

const limit = (name: string, spec: string): string => `apiVersion: orlop.dev/v1alpha1
kind: LimitPolicy
metadata: {name: ${name}, namespace: demo}
spec: {${spec}, match: {ports: [${HTTP}, ${HTTP2}], paths: [/${name}, /${name}/*]}}
`;
const hourly = (requests: number): string => `local: {requests: ${requests}, per: hour}`;
const limits = [
  limit("whole", hourly(20)),
  limit("caller", `${hourly(3)}, per: [source]`),
  limit("user", `${hourly(2)}, per: ["header:x-user"]`),
  limit("watched", `${hourly(1)}, mode: shadow`),
];

/** Requests to the Service `api` are routed, to a pod of the caller's node. */
function meshText(cluster: Cluster, policies: readonly string[]): string {
  const services = servicesOf(
    [{ name: "api", selector: { app: "near" } }],
    [{ name: "http", port: 80, targetPort: HTTP }],
  );
  const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: demo}
spec: {parentRefs: [{group: "", kind: Service, name: api, port: 80}], rules: [{backendRefs: [{name: api, port: 80}]}]}
`;
  return meshOf([ambientNamespace(), ...workloadsOf(cluster), ...services, route, ...policies]);
}

let journey: Journey;
const pod = (name: string): Host => journey.cluster.pod(name);
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) => meshText(cluster, limits));
  for (const name of ["near", "far"])
    for (const port of [HTTP, OTHER]) await serve(pod(name), supportProgram("echo-http"), port, name);
  const app = pod("far").start([process.execPath, "-e", http2App]);
  await app.line(20_000, (line) => line === "listening");
});
after(() => journey?.close());

type Got = { readonly status: number; readonly retryAfter: string };

/** So many requests, eight at a time, each on a connection of its own. */
async function ask(
  count: number,
  url: string,
  { from = "client", args = [] as readonly string[] } = {},
): Promise<Got[]> {
  const format = "%{http_code} %header{retry-after}\n";
  const one = `curl -s -m 20 -o /dev/null -w '${format}' ${args.join(" ")} ${url}`;
  const all = `seq ${count} | xargs -P 8 -I {} ${one}`;
  const { status, stdout, stderr } = await pod(from).run(["bash", "-c", all], 120_000);
  assert.equal(status, 0, stderr);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [code = "", retryAfter = ""] = line.split(" ");
      return { status: Number(code), retryAfter };
    });
}

const admitted = (got: readonly Got[]): number => {
  for (const { status } of got) assert.ok(status === 200 || status === 429, `status ${status}`);
  return got.filter(({ status }) => status === 200).length;
};
const at = (name: string, path: string): string => `http://${pod(name).ip4}:${HTTP}${path}`;

const recordOf = (node: string, path: string): Promise<AccessEntry> =>
  requestRecord(journey.cluster.node(node), path, { response_flags: "RL" });
const orlop = (node: string, ...words: readonly string[]): Promise<string> =>
  orlopOn(journey.cluster.node(node), ...words);

describe("a workload with limits", { concurrency: 1 }, () => {
  test("across nodes exactly as many requests as the limit admits are answered by the application, the others 429", async () => {
    const got = await ask(60, at("far", "/whole"));
    assert.equal(admitted(got), 20);
    const waits = got.flatMap(({ status, retryAfter }) => (status === 429 ? [Number(retryAfter)] : []));
    assert.ok(
      waits.every((seconds) => seconds > 0 && seconds <= 180),
      waits.join(" "),
    );
    const http2 = [
      "curl",
      "-s",
      "-i",
      "-m",
      "10",
      "--http2-prior-knowledge",
      `http://${pod("far").ip4}:${HTTP2}/whole`,
    ];
    assert.match((await pod("client").run(http2, 20_000)).stdout, /^HTTP\/2 429 /);
    const grpc = [...http2, "-H", "content-type: application/grpc", "-H", "te: trailers", "-X", "POST"];
    assert.match((await pod("client").run(grpc, 20_000)).stdout, /^HTTP\/2 200 [\s\S]*\r\ngrpc-status: 8\r\n/);
    const record = await recordOf("node-b", "/whole");
    assert.deepEqual([record.reason, record.policy], ["limited", "demo/whole"]);
  });

  test("on one node, directly and through a route, the requests share the callee's buckets", async () => {
    const [direct, routed] = [
      admitted(await ask(15, at("near", "/whole"))),
      admitted(await ask(15, `http://${called.ip4}/whole`)),
    ];
    assert.deepEqual([direct, routed], [15, 5]);
    assert.equal((await recordOf("node-a", "/whole")).policy, "demo/whole");
  });

  test("callers are counted for themselves, and values of a header", async () => {
    const caller = async (from: string): Promise<number> => admitted(await ask(8, at("far", "/caller"), { from }));
    assert.deepEqual([await caller("client"), await caller("other"), await caller("near")], [3, 3, 3]);
    const user = async (name: string, from = "client"): Promise<number> =>
      admitted(await ask(4, at("far", "/user"), { from, args: ["-H", `x-user:${name}`] }));
    assert.deepEqual([await user("ann"), await user("bob"), await user("ann", "other")], [2, 2, 0]);
  });

  test("in shadow nothing is refused; get limits and the metrics say what would be; explain names what counts a request", async () => {
    assert.equal(admitted(await ask(5, at("far", "/watched"))), 5);
    const { items } = await view(journey.cluster.node("node-b"), "limits");
    const [watched, whole] = ["watched", "whole"].map((name) => items.find((each) => each.name === name));
    assert.deepEqual([watched?.admitted, watched?.limited, watched?.mode], [1, 4, "shadow"]);
    assert.deepEqual([whole?.admitted, whole?.limited, whole?.here, whole?.meshLimit], [20, 42, 1, "80/hour"]);
    assert.match(
      await orlop("node-b", "get", "limits"),
      /demo +whole +20\/hour +20 +pod +enforce +namespace +1\/4 +20 +42 /,
    );
    const explained = await orlop("node-b", "explain", "demo/client", `demo/far:${HTTP}`, "--path", "/whole");
    assert.match(explained, /^ALLOW[\s\S]*limits +counted by demo\/whole 20\/hour per pod/);
  });

  test("what is no HTTP/1.1 ends at a port with a limit, and passes at another", async () => {
    const talk = `exec 3<> /dev/tcp/${pod("far").ip4}/${HTTP}; printf '\\001\\002\\003 no HTTP\\n' >&3; timeout 10 cat <&3`;
    const said = await pod("client").run(["bash", "-c", talk], 20_000);
    assert.equal(said.stdout, "");
    const ended = await until("its line", 10_000, () =>
      accessLog(journey.cluster.node("node-b")).find(({ error = "" }) => error.startsWith("not-http")),
    );
    assert.match(ended.error ?? "", /^not-http/);
    const plain = await pod("client").run(
      ["curl", "-s", "-m", "10", `http://${pod("far").ip4}:${OTHER}/whole`],
      20_000,
    );
    assert.match(plain.stdout, /"name":"far"/);
  });

  test("a limit that goes limits nothing more, and what comes again begins with full buckets", async () => {
    const write = async (policies: readonly string[], count: number): Promise<void> => {
      journey.cluster.writeMesh(meshText(journey.cluster, policies));
      for (const node of journey.cluster.nodes)
        await until("the limits", 20_000, async () =>
          (await view(node, "limits")).items.length === count ? true : undefined,
        );
      await Promise.all(journey.cluster.nodes.map(threadsFollow));
    };
    await write(limits.slice(1), 3);
    assert.equal(admitted(await ask(30, at("far", "/whole"))), 30);
    await write(limits, 4);
    assert.equal(admitted(await ask(30, at("far", "/whole"))), 20);
  });
});
