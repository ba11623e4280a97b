// Requests of HTTP/1.1 are judged, each for itself, with the caller's proved identity: on one node, across nodes, and in plaintext.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Asked, Heard } from "../../demo/app/http-caller.ts";
import { call, startPing } from "../../demo/app/roles.ts";
import { type AccessEntry, accessLog, until, view } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Host, NodeSpec } from "../box/cluster.ts";
import { isJoined } from "../support/joined-mesh.ts";
import { LineCaller, rewriteMesh, serve } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { ambientNamespace, meshOf, workloadsOf } from "../support/mesh-documents.ts";

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

type Given = {
  /** What `client` may ask of those that serve HTTP; default: to read. */
  readonly to?: readonly string[];
  readonly annotations?: string;
  /** With an AUDIT and a dry-run policy. They keep the connections that they watch out of the kernel's path. */
  readonly watched?: true;
};

function meshText(cluster: Cluster, { to = [reading], annotations = "", watched }: Given = {}): string {
  const policy = (name: string, serves: string, rules: string, action = "ALLOW", metadata = ""): string =>
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: demo${metadata}}
spec: {selector: {matchLabels: {serves: ${serves}}}, action: ${action}, rules: [${rules}]}
`;
  const client = 'from: [{source: {principals: ["cluster.local/ns/demo/sa/client"]}}]';
  const watching = [
    policy("watch", "http", `{to: [{operation: {ports: ["${HTTP}"], paths: ["/open/watched"]}}]}`, "AUDIT"),
    policy(
      ...(["trial", "http"] as const),
      ...([`{to: [{operation: {ports: ["${HTTP}"], paths: ["/open/watched", "/open/tried"]}}]}`, "DENY"] as const),
      ', annotations: {istio.io/dry-run: "true"}',
    ),
  ];
  return meshOf([
    ambientNamespace(`, annotations: {${annotations}}`),
    ...workloadsOf(cluster, ({ labels }) => labels),
    policy(
      "http",
      "http",
      `{${client}, to: [${to.join(", ")}]}, {${client}, to: [{operation: {ports: ["${ECHO}"]}}]}, {${client}, to: [{operation: {ports: ["${HTTP}"]}}], when: [{key: "request.headers[x-role]", values: [teller]}]}`,
    ),
    policy("public", "all", '{to: [{operation: {paths: ["/public"]}}]}'),
    ...(watched === undefined ? [] : watching),
  ]);
}

let journey: Journey;
const program = (name: string): string => fileURLToPath(new URL(`../../demo/app/${name}.ts`, import.meta.url));
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) => meshText(cluster));
  for (const name of ["near", "far", "public"]) await serve(pod(name), program("http-app"), HTTP);
});
after(() => journey?.close());

const pod = (name: string) => journey.cluster.pod(name);

class Caller extends LineCaller<Asked, Heard> {
  constructor(from: Host, host: string) {
    super(from, program("http-caller"), host, HTTP);
  }
}

/** The lines of the access log about requests to this path, when there are as many as asked for. */
async function recordsOf(node: string, path: string, wanted = 1): Promise<readonly AccessEntry[]> {
  const found = (): readonly AccessEntry[] =>
    accessLog(journey.cluster.node(node)).filter(
      (entry) => entry.message === "request complete" && entry.path === path,
    );
  await until(`${wanted} records of ${path}`, 10_000, () => (found().length >= wanted ? true : undefined));
  return found();
}

async function metrics(node: string): Promise<string> {
  const ask = 'exec 3<> /dev/tcp/127.0.0.1/15020 && printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3';
  return (await journey.cluster.node(node).run(["bash", "--norc", "-c", ask])).stdout;
}

const write = (given: Given = {}): Promise<void> => rewriteMesh(journey.cluster, meshText(journey.cluster, given));

for (const [way, name, home] of [
  ["on one node", "near", "node-a"],
  ["across nodes", "far", "node-b"],
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
      await write({ to: [writing] });
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
      await write({ to: [reading, writing] });
      await write({ to: [writing] });
      const ended = await caller.heard();
      assert.ok(ended.error !== undefined, JSON.stringify(ended));
      await write();
      caller.end();
    });

    test("each has one record, with the rule that decided and what AUDIT and dry-run policies say of it", async () => {
      await write({ watched: true });
      const caller = new Caller(pod("client"), pod(name).ip4);
      const statuses: (number | undefined)[] = [];
      const headers = { "x-request-id": "7f3c" };
      for (const path of ["/open/plain", "/open/watched?q=secret", "/open/tried", "/shut"])
        statuses.push((await caller.ask({ method: "GET", path, headers })).status);
      assert.deepEqual(statuses, [200, 200, 200, 403]);
      caller.end();
      await write();
      const ends = {
        "src.workload": "client",
        "dst.workload": name,
        direction: "inbound",
        method: "GET",
        request_id: "7f3c",
      };
      const rows = {
        "/open/plain": { response_code: "200", response_code_details: "via_upstream", policy: "demo/http[0]" },
        "/open/watched": { response_code: "200", audited: "demo/watch[0]", dry_run_denied: "demo/trial[0]" },
        "/open/tried": { response_code: "200", dry_run_denied: "demo/trial[0]" },
        "/shut": {
          ...{ response_code: "403", reason: "no-allow-matched", level: "error" },
          response_code_details: "rbac_access_denied_matched_policy[none]",
        },
      };
      for (const [path, wanted] of Object.entries(rows)) {
        const found = await recordsOf(home, path);
        assert.equal(found.length, 1, path);
        assert.partialDeepStrictEqual(found[0], { response_flags: "-", ...ends, ...wanted });
      }
      const other = home === "node-a" ? "node-b" : "node-a";
      const elsewhere = accessLog(journey.cluster.node(other)).filter((entry) => entry["dst.workload"] === name);
      assert.ok(!elsewhere.some(({ path }) => path === "/shut"), "the caller's node reads nothing");
      const of = `reporter="destination",source_workload="client",.*destination_workload="${name}",.*response_code="403",grpc_response_status=""`;
      const line = new RegExp(`^istio_(requests_total|request_duration_milliseconds_count)\\{${of}\\} (\\d+)$`, "gm");
      const counts = await until("the metrics", 10_000, async () => {
        const found = [...(await metrics(home)).matchAll(line)].map(([, metric, value]) => [metric, Number(value)]);
        return found.length === 2 ? found : undefined;
      });
      assert.equal(counts[0]?.[1], counts[1]?.[1], JSON.stringify(counts));
    });

    test("get connections shows the request that is open", async () => {
      const caller = new Caller(pod("client"), pod(name).ip4);
      await caller.ask({ method: "GET", path: "/open/before" });
      await caller.ask({ method: "GET", path: "/stream" });
      const shown = await until("the open request", 10_000, async () =>
        (await view(journey.cluster.node(home), "connections")).items.find(({ openRequest }) => openRequest !== null),
      );
      assert.deepEqual(
        [shown.application, shown.requests, shown.openRequest?.method, shown.openRequest?.path],
        ["http/1.1", 2, "GET", "/stream"],
      );
      await write({ to: [writing] });
      assert.ok((await caller.heard()).error !== undefined);
      await write();
      caller.end();
      await until("its end", 10_000, async () =>
        (await view(journey.cluster.node(home), "connections")).items.some(({ openRequest }) => openRequest !== null)
          ? undefined
          : true,
      );
    });

    test("a caller that is killed while it is answered has left: its application's end is no fault of the application", async () => {
      const caller = new Caller(pod("client"), pod(name).ip4);
      const headers = { "x-request-id": "killed" };
      assert.equal((await caller.ask({ method: "GET", path: "/stream", headers })).begun, true);
      caller.kill();
      const record = await until("its record", 10_000, async () =>
        accessLog(journey.cluster.node(home)).find(({ request_id }) => request_id === "killed"),
      );
      assert.deepEqual(
        [record.response_code, record.response_flags, record.response_code_details],
        ["200", "DC", "downstream_remote_disconnect"],
      );
    });

    test("other proxies' fields pass, until the namespace takes them out", async () => {
      const caller = new Caller(pod("client"), pod(name).ip4);
      const headers = { "x-forwarded-client-cert": "By=x", "X-Envoy-Attempt-Count": "1", "x-kept": "yes" };
      const seen = async (): Promise<readonly unknown[]> => {
        const { body = "" } = await caller.ask({ method: "GET", path: "/open/fields", headers });
        const got = JSON.parse(body).headers;
        return [got["x-forwarded-client-cert"], got["x-envoy-attempt-count"], got["x-kept"]];
      };
      // A data thread hears of a mesh some milliseconds after the main thread has applied it.
      const sees = (...fields: readonly unknown[]): Promise<unknown> =>
        until(`fields ${fields.join()}`, 10_000, async () => isDeepStrictEqual(await seen(), fields) || undefined);
      assert.deepEqual(await seen(), ["By=x", "1", "yes"]);
      await write({ annotations: 'orlop.dev/remove-proxy-headers: "true"' });
      await sees(undefined, undefined, "yes");
      await write();
      await sees("By=x", "1", "yes");
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
