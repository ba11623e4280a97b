// Requests of HTTP/1.1 are judged, each for itself, with the caller's proved identity: on one node, across nodes, and in plaintext.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { accessLog, until, view } from "../../demo/mesh-run.ts";
import { call, startPing } from "../../demo/pods.ts";
import type { Cluster, Host, NodeSpec } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import type { Asked, Heard } from "../support/http-caller.ts";
import { isJoined } from "../support/joined-mesh.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const HTTP = 9080;
const ECHO = 8080;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "stranger" }, { name: "near", labels: { serves: "http" } }] },
  {
    name: "node-b",
    pods: [
      { name: "far", labels: { serves: "http" } },
      { name: "public", labels: { serves: "all" } },
    ],
  },
];

/** What `client` may ask of those that serve HTTP: one entry of `to`. */
const reading = `{operation: {ports: ["${HTTP}"], methods: [GET], paths: ["/open/*", "/stream"]}}`;
const writing = `{operation: {ports: ["${HTTP}"], methods: [POST], paths: ["/open/*"]}}`;

function meshText(cluster: Cluster, to: readonly string[] = [reading]): string {
  const workloads = cluster.nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: demo, uid: ${pod.uid}, labels: ${JSON.stringify(pod.labels)}}
spec: {addresses: ["${pod.ip4}", "${pod.ip6}"], node: ${node.name}, serviceAccount: ${pod.name}}
`,
    ),
  );
  const policy = (name: string, serves: string, rules: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: demo}
spec: {selector: {matchLabels: {serves: ${serves}}}, action: ALLOW, rules: [${rules}]}
`;
  const client = 'from: [{source: {principals: ["cluster.local/ns/demo/sa/client"]}}]';
  return [
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}\n",
    ...workloads,
    policy(
      "http",
      "http",
      `{${client}, to: [${to.join(", ")}]}, {${client}, to: [{operation: {ports: ["${ECHO}"]}}]}, {${client}, to: [{operation: {ports: ["${HTTP}"]}}], when: [{key: "request.headers[x-role]", values: [teller]}]}`,
    ),
    policy("public", "all", '{to: [{operation: {paths: ["/public"]}}]}'),
  ].join("---\n");
}

let journey: Journey;
const callers: Running[] = [];
const program = (name: string): string => fileURLToPath(new URL(`../support/${name}.ts`, import.meta.url));
before(async () => {
  journey = await startJourney({ nodes }, (cluster) => meshText(cluster));
  for (const name of ["near", "far", "public"]) {
    const app = pod(name).start([process.execPath, program("http-app"), String(HTTP)]);
    await app.line(20_000, (line) => line === "listening");
  }
});
after(() => journey?.close());

const pod = (name: string) => journey.cluster.pod(name);

class Caller {
  readonly #running: Running;

  constructor(from: Host, host: string) {
    this.#running = from.start([process.execPath, program("http-caller"), host, String(HTTP)]);
    callers.push(this.#running);
  }

  async ask(asked: Asked): Promise<Heard> {
    this.#running.write(`${JSON.stringify(asked)}\n`);
    return this.heard();
  }

  async heard(): Promise<Heard> {
    return JSON.parse(await this.#running.line(20_000, (line) => line.startsWith("{"))) as Heard;
  }

  end(): void {
    this.#running.endInput();
  }
}

async function write(to?: readonly string[]): Promise<void> {
  const appliedAt = await Promise.all(
    journey.cluster.nodes.map(async (node) => (await view(node, "status")).source.appliedAt),
  );
  journey.cluster.writeMesh(meshText(journey.cluster, to));
  await until("the new mesh", 20_000, async () => {
    const now = await Promise.all(
      journey.cluster.nodes.map(async (node) => (await view(node, "status")).source.appliedAt),
    );
    return now.every((at, index) => at !== appliedAt[index]) ? true : undefined;
  });
}

for (const [way, name] of [
  ["on one node", "near"],
  ["across nodes", "far"],
] as const) {
  describe(way, { concurrency: 1 }, () => {
    test("method, path and header decide, and an identity that a header claims does not", async () => {
      for (const host of [pod(name).ip4, pod(name).ip6]) {
        const caller = new Caller(pod("client"), host);
        const allowed = await caller.ask({
          method: "GET",
          path: "/open/7?q=%61",
          headers: { "x-orlop-identity": "admin" },
        });
        assert.equal(allowed.status, 200, JSON.stringify(allowed));
        const seen = JSON.parse(allowed.body ?? "");
        assert.deepEqual(
          [seen.method, seen.url, seen.headers["x-orlop-identity"]],
          ["GET", "/open/7?q=%61", undefined],
        );
        for (const [asked, status, body] of [
          [{ method: "GET", path: "/closed" }, 403, "RBAC: access denied"],
          [{ method: "POST", path: "/open/7", body: "x" }, 403, "RBAC: access denied"],
          [{ method: "POST", path: "/closed", headers: { "x-role": "teller" }, body: "x" }, 200, undefined],
          [
            { method: "POST", path: "/closed", headers: { "x-role": "tellers" }, body: "x" },
            403,
            "RBAC: access denied",
          ],
          [{ method: "GET", path: "/open/../closed" }, 400, "bad request: ambiguous-path"],
          [{ method: "GET", path: "/ope%6E/7" }, 200, undefined],
        ] as const) {
          const heard = await caller.ask(asked);
          assert.deepEqual([heard.status, heard.from], [status, allowed.from], JSON.stringify([asked, heard]));
          if (body !== undefined) assert.equal(heard.body, body);
          else if (asked.method === "GET") assert.equal(JSON.parse(heard.body ?? "").url, "/open/7", "what was judged");
        }
        caller.end();
      }
      const stranger = new Caller(pod("stranger"), pod(name).ip4);
      const claims = { "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/demo/sa/client" };
      const refused = await stranger.ask({ method: "GET", path: "/open/7", headers: claims });
      assert.ok(refused.error !== undefined, JSON.stringify(refused));
      stranger.end();
    });

    test("a change of policy counts for the next request of a connection that is kept", async () => {
      const caller = new Caller(pod("client"), pod(name).ip4);
      const first = await caller.ask({ method: "GET", path: "/open/1" });
      assert.equal(first.status, 200);
      await write([writing]);
      const second = await caller.ask({ method: "GET", path: "/open/1" });
      const third = await caller.ask({ method: "POST", path: "/open/1", body: "x" });
      assert.deepEqual([second.status, third.status], [403, 200]);
      assert.deepEqual([second.from, third.from], [first.from, first.from], "the same connection");
      await write();
      assert.equal((await caller.ask({ method: "GET", path: "/open/1" })).from, first.from);
      caller.end();
    });

    test("an answer that goes on ends when its request is no longer allowed, and only then", async () => {
      const caller = new Caller(pod("client"), pod(name).ip4);
      const begun = await caller.ask({ method: "GET", path: "/stream" });
      assert.equal(begun.begun, true, JSON.stringify(begun));
      await write([reading, writing]);
      await write([writing]);
      const ended = await caller.heard();
      assert.ok(ended.error !== undefined, JSON.stringify(ended));
      await write();
      caller.end();
    });

    test("what is no HTTP ends on a port whose requests are judged, and lives on another", async () => {
      const host = pod(name).ip4;
      const wrong = await call(pod("client"), { host, port: HTTP }, "no HTTP");
      assert.equal(wrong.reply, undefined, JSON.stringify(wrong));
      const echo = await until("the other port", 10_000, async () => {
        const result = await call(pod("client"), { host, port: ECHO }, "hello");
        return result.reply === undefined || (way === "on one node" && !isJoined(result)) ? undefined : result;
      });
      assert.ok(echo.reply);
    });
  });
}

test("a connection that was relayed ends when its requests are to be judged", async () => {
  const open = meshText(journey.cluster).split("---\napiVersion: security")[0] ?? "";
  journey.cluster.writeMesh(open);
  const ports = { host: pod("far").ip4, port: ECHO };
  const ping = await until("a connection without policy", 20_000, async () => {
    const started = await startPing(pod("client"), ports, 20, "relayed");
    return started;
  });
  journey.cluster.writeMesh(
    meshText(journey.cluster).replaceAll(`ports: ["${ECHO}"]`, `ports: ["${ECHO}"], methods: [GET]`),
  );
  await ping.dead(20_000);
  await until("the record", 10_000, async () =>
    accessLog(journey.cluster.node("node-b")).some(
      ({ error = "" }) => error.startsWith("http-required") || error.includes("policy"),
    )
      ? true
      : undefined,
  );
  await write();
});

test("plaintext from outside is judged by what it asks, too", async () => {
  const caller = new Caller(journey.cluster.outside, pod("public").ip4);
  const allowed = await caller.ask({ method: "GET", path: "/public" });
  const denied = await caller.ask({ method: "GET", path: "/private" });
  assert.deepEqual([allowed.status, denied.status], [200, 403], JSON.stringify([allowed, denied]));
  caller.end();
});
