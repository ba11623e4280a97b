// Mirrors on a whole mesh: curl and a client of gRPC call a Service whose rules copy requests to others, on one node and across nodes. A copy
// arrives as a call of the caller's pod, judged by its target's policy; the caller notices nothing of any of it.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { accessLog, until } from "../../demo/mesh/mesh-run.ts";
import type { Host, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import { type Running, tail } from "../box/process.ts";
import type { GrpcAsked, GrpcHeard } from "../support/grpc-caller.ts";
import { LineCaller, orlopOn, requestRecord, serve, supportProgram } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { ambientNamespace, meshOf, servicesOf, workloadsOf } from "../support/mesh-documents.ts";

const HTTP = 9080;
const GRPC = 9090;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near" }] },
  { name: "node-b", pods: [{ name: "far" }, { name: "shadow" }] },
];
const services = ["api", "far", "near", "shadow", "empty"].map((name) => ({ name }));
const ports = [
  { name: "http", port: 80, targetPort: HTTP },
  { name: "grpc", port: 90, targetPort: GRPC },
];
const called = serviceAddresses(1);
const caller = "spiffe://cluster.local/ns/demo/sa/client";

const copied = (target: string, more = ""): string =>
  `{type: RequestMirror, requestMirror: {backendRef: {name: ${target}, port: 80}${more}}}`;
const rules = `
    - name: across
      matches: [{path: {value: /across}}]
      filters: [${copied("shadow")}]
      backendRefs: [{name: near, port: 80}]
    - name: near
      matches: [{path: {value: /near}}]
      filters: [${copied("near")}, ${copied("empty")}]
      backendRefs: [{name: far, port: 80}]
    - name: some
      matches: [{path: {value: /some}}]
      filters: [${copied("shadow", ", fraction: {numerator: 1, denominator: 10}")}]
      backendRefs: [{name: far, port: 80}]
    - backendRefs: [{name: far, port: 80}]
`;

/** Of both targets: what begins with /denied is no caller's; `shadow` is STRICT, and knows the client by its certificate alone. */
const policies = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: demo}
spec: {selector: {matchLabels: {app: shadow}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: shadow, namespace: demo}
spec:
  selector: {matchLabels: {app: shadow}}
  action: ALLOW
  rules:
    - from: [{source: {principals: [cluster.local/ns/demo/sa/client]}}]
      to: [{operation: {notPaths: [/across/denied*]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: near, namespace: demo}
spec:
  selector: {matchLabels: {app: near}}
  action: DENY
  rules: [{to: [{operation: {paths: [/near/denied*]}}]}]
`;

const routes = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 80}]
  rules:${rules}---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: demo, annotations: {orlop.dev/mirror-credentials: "true"}}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 90}]
  rules:
    - matches: [{method: {service: demo.Greeter}}]
      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 90}}}]
      backendRefs: [{name: near, port: 90}]
`;
let journey: Journey;
const pod = (name: string): Host => journey.cluster.pod(name);
/** What copies came to, by pod; and what calls of gRPC. */
const web = new Map<string, Running>();
const grpc = new Map<string, Running>();
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) =>
    meshOf([ambientNamespace(), ...workloadsOf(cluster), ...servicesOf(services, ports), policies, routes]),
  );
  for (const name of ["near", "far", "shadow"]) {
    web.set(name, await serve(pod(name), supportProgram("echo-http"), HTTP, name, "tells"));
    grpc.set(name, await serve(pod(name), supportProgram("grpc-app"), GRPC, name, "tells"));
  }
});
after(() => journey?.close());

type Told = {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly peer: string;
  readonly bytes: number;
  readonly digest: string;
};

async function told(name: string, url: string): Promise<Told> {
  const said = await web.get(name)?.line(15_000, (line) => line.includes(`"url":"${url}"`));
  return JSON.parse(said ?? "") as Told;
}

/** The status, and the name of who has answered; empty: the agent. */
async function ask(path: string, args: readonly string[] = []): Promise<string> {
  const done = await pod("client").run(
    ["curl", "-sS", "-m", "20", "-w", "\n%{http_code}", ...args, `http://${called.ip4}${path}`],
    30_000,
  );
  assert.equal(done.status, 0, `curl ended with ${done.status}: ${tail(done.stderr)}`);
  const lines = done.stdout.trim().split("\n");
  const [body = "", status] = [lines[0], lines.at(-1)];
  return `${status} ${body.startsWith("{") ? (JSON.parse(body) as { readonly name: string }).name : body}`;
}

async function page(): Promise<string> {
  const done = await journey.cluster.node("node-a").run(["curl", "-sS", "http://127.0.0.1:15020/metrics"], 10_000);
  const lines = done.stdout.split("\n").filter((line) => line.startsWith("orlop_mirrored_requests_total"));
  return lines.join("\n");
}

async function mirrored(outcome: string): Promise<number> {
  const line = new RegExp(`outcome="${outcome}"\\} (\\d+)$`, "m").exec(await page());
  return Number(line?.[1] ?? 0);
}

async function countsOne(outcome: string, before: number): Promise<void> {
  await until(`a copy that is ${outcome}`, 10_000, async () => ((await mirrored(outcome)) > before ? true : undefined));
}

const recordOf = (node: string, path: string, direction: string) =>
  requestRecord(journey.cluster.node(node), path, { direction });

describe("a Service whose rules mirror requests", { concurrency: 1 }, () => {
  test("across nodes a copy arrives by the caller's certificate, whole, without credentials, and is recorded at both ends", async () => {
    const body = randomBytes(100_000);
    const file = join(journey.cluster.node("node-a").runDir, "body");
    writeFileSync(file, body, { mode: 0o644 });
    const answered = await mirrored("answered");
    const args = [
      "--data-binary",
      `@${file}`,
      "-H",
      "Expect:",
      "-H",
      "Authorization: Bearer x",
      "-b",
      "a=b",
      "-H",
      "x-kept: 1",
    ];
    assert.equal(await ask("/across/1?q", args), "200 near");
    const copy = await told("shadow", "/across/1?q");
    const main = await told("near", "/across/1?q");
    assert.deepEqual([copy.method, copy.bytes], ["POST", body.length]);
    assert.equal(copy.digest, createHash("sha256").update(body).digest("hex"));
    assert.equal(main.digest, copy.digest);
    assert.deepEqual(
      [copy.headers.authorization, copy.headers.cookie, copy.headers["x-kept"]],
      [undefined, undefined, "1"],
    );
    assert.deepEqual([main.headers.authorization, main.headers.cookie], ["Bearer x", "a=b"]);
    assert.equal(copy.headers.host, main.headers.host);
    assert.equal(copy.peer.replace("::ffff:", ""), pod("client").ip4);
    await countsOne("answered", answered);
    const arrived = await recordOf("node-b", "/across/1", "inbound");
    assert.deepEqual([arrived["src.identity"], arrived["dst.workload"], arrived.security], [caller, "shadow", "mtls"]);
    assert.equal((await recordOf("node-a", "/across/1", "outbound")).mirrors, "demo/shadow:80");
  });

  test("between two pods of a node too; a target without endpoints is counted", async () => {
    const without = await mirrored("no-endpoint");
    assert.equal(await ask("/near/1"), "200 far");
    const copy = await told("near", "/near/1");
    assert.equal(copy.peer.replace("::ffff:", ""), pod("client").ip4);
    await countsOne("no-endpoint", without);
    assert.equal((await recordOf("node-a", "/near/1", "outbound")).mirrors, "demo/near:80");
  });

  test("what the target's policy refuses is counted, and the caller is answered as ever", async () => {
    const refused = await mirrored("policy");
    assert.equal(await ask("/near/denied"), "200 far");
    await countsOne("policy", refused);
    const answered = await mirrored("answered");
    assert.equal(await ask("/across/denied"), "200 near");
    await countsOne("answered", answered);
    const arrived = await recordOf("node-b", "/across/denied", "inbound");
    assert.deepEqual([arrived.response_code, arrived["src.identity"]], ["403", caller]);
  });

  test("a share of requests is copied, and the others are not", async () => {
    const before = await mirrored("answered");
    const paths = Array.from({ length: 400 }, (_, nth) => `http://${called.ip4}/some/${nth}`);
    const done = await pod("client").run(
      ["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}\n", ...paths],
      70_000,
    );
    assert.equal(done.stdout.split("\n").filter((status) => status === "200").length, 400);
    // Of 400 a tenth is 40 ± 6: five times that is no chance.
    const count = async (): Promise<number> => (await mirrored("answered")) - before;
    const node = journey.cluster.node("node-a");
    const records = await until("records of all requests", 20_000, () => {
      const found = accessLog(node).filter(({ path = "" }) => path.startsWith("/some/"));
      return found.length >= 400 ? found : undefined;
    });
    const mirrors = records.filter((record) => record.mirrors !== undefined);
    assert.ok(mirrors.length >= 10 && mirrors.length <= 70, `${mirrors.length} copies`);
    await until("all of them", 20_000, async () => ((await count()) === mirrors.length ? true : undefined)).catch(
      async (error: unknown) => {
        throw new Error(`${mirrors.length} copies, ${await count()} answered: ${await page()}`, { cause: error });
      },
    );
  });

  test("nobody waits for a target that hangs", async (t) => {
    const took = async (): Promise<number> => {
      const paths = Array.from({ length: 200 }, () => `http://${called.ip4}/across/hung`);
      const before = performance.now();
      const done = await pod("client").run(
        ["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}\n", ...paths],
        70_000,
      );
      assert.equal(done.stdout.split("\n").filter((status) => status === "200").length, 200);
      return Math.round(performance.now() - before);
    };
    const answering = await took();
    const full = await mirrored("full");
    const app = web.get("shadow");
    assert.ok(app);
    process.kill(app.pid, "SIGSTOP");
    try {
      // All are answered while it says nothing.
      t.diagnostic(`${await took()} ms for 200 requests, before ${answering} ms`);
      await countsOne("full", full);
    } finally {
      process.kill(app.pid, "SIGCONT");
    }
  });

  test("a call of gRPC is copied as a call of gRPC, with credentials where the route says so", async () => {
    const answered = await mirrored("answered");
    const client = new LineCaller<GrpcAsked, GrpcHeard>(pod("client"), supportProgram("grpc-caller"), called.ip4, 90);
    const headers = { authorization: "Bearer x" };
    const heard = await client.ask({ isGrpc: true, path: "/demo.Greeter/Hello", headers });
    assert.deepEqual([heard.status, heard.grpcStatus, heard.name], [200, "0", "near"]);
    const said = await grpc.get("shadow")?.line(15_000, (line) => line.startsWith("{"));
    const copy = JSON.parse(said ?? "") as {
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    };
    assert.equal(copy.body.slice(5), "hey");
    assert.deepEqual(
      [copy.headers[":path"], copy.headers["content-type"], copy.headers.authorization],
      ["/demo.Greeter/Hello", "application/grpc", "Bearer x"],
    );
    await countsOne("answered", answered);
    client.kill();
  });

  test("get routes and explain show who gets copies", async () => {
    const node = journey.cluster.node("node-a");
    assert.match(await orlopOn(node, "get", "routes"), /mirror 10 % to demo\/shadow:80/);
    const said = await orlopOn(node, "explain", "demo/client", `${called.ip4}:80`, "--path", "/near/1");
    assert.match(said, /mirror to demo\/near:80, mirror to demo\/empty:80/);
  });
});
