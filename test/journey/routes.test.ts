// Routes on a whole mesh: curl in pods calls a Service's address, real servers answer, across nodes and on one node. The rule chooses who
// answers and what it gets; the callee's policy judges what arrives; what no rule takes is answered by the caller's node.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type AccessEntry, accessLog, until, view } from "../../demo/mesh-run.ts";
import type { Cluster, Host, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses, wireAddresses } from "../box/network.ts";
import { tail } from "../box/process.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const HTTP = 9080;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near" }, { name: "deaf" }] },
  { name: "node-b", pods: [{ name: "far" }, { name: "guarded" }, { name: "mute" }] },
];
const called = serviceAddresses(1);
const services = ["api", "near", "far", "guarded", "empty", "some"];
/** Endpoints of `some`: two of them serve nothing. */
const some = ["far", "deaf", "mute"];

/** `failsDirect`: the Service with the route may be reached past it while no agent lives. */
type Given = {
  readonly rules?: string;
  readonly policies?: string;
  readonly failsDirect?: boolean;
  readonly fault?: object;
};

const everyRule = `
    - name: weighted
      matches: [{path: {value: /split}}]
      backendRefs: [{name: far, port: 80, weight: 90}, {name: near, port: 80, weight: 10}]
    - name: header
      matches: [{path: {value: /who}, headers: [{name: x-tester, value: "yes"}]}]
      backendRefs: [{name: near, port: 80}]
    - name: plain
      matches: [{path: {value: /who}}]
      backendRefs: [{name: far, port: 80}]
    - name: rewrite
      matches: [{path: {value: /old}}]
      filters:
        - type: URLRewrite
          urlRewrite: {hostname: far.shop, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}
        - type: RequestHeaderModifier
          requestHeaderModifier: {set: [{name: x-set, value: "2"}], add: [{name: x-add, value: b}], remove: [x-gone]}
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: x-route, value: rewrite}], remove: [server]}
      backendRefs: [{name: far, port: 80}]
    - name: moved
      matches: [{path: {value: /moved}}]
      filters: [{type: RequestRedirect, requestRedirect: {hostname: other.example, statusCode: 301}}]
    - name: empty
      matches: [{path: {value: /empty}}]
      backendRefs: [{name: empty, port: 80}]
    - name: none
      matches: [{path: {value: /none}}]
      backendRefs: [{name: nobody, port: 80}]
    - name: version
      matches: [{path: {type: RegularExpression, value: "/v[0-9]+/.*"}}]
      backendRefs: [{name: near, port: 80}]
    - name: shared
      matches: [{path: {value: /shared}}]
      filters: [{type: CORS, cors: {allowOrigins: ["https://*.example"], allowMethods: [PUT], allowHeaders: [x-a]}}]
      backendRefs: [{name: far, port: 80}]
    - name: some
      matches: [{path: {value: /some}}]
      timeouts: {request: 10s}
      backendRefs: [{name: some, port: 80}]
    - name: flaky
      matches: [{path: {value: /flaky}}]
      retry: {codes: [503], attempts: 3, backoff: 1ms}
      backendRefs: [{name: far, port: 80}]
    - name: slow
      matches: [{path: {value: /slow}}]
      timeouts: {request: 300ms}
      backendRefs: [{name: far, port: 80}]
    - name: sticky
      matches: [{path: {value: /sticky}}]
      sessionPersistence: {sessionName: stick}
      backendRefs: [{name: far, port: 80}, {name: near, port: 80}]
    - name: guarded-far
      matches: [{path: {value: /far}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
      backendRefs: [{name: guarded, port: 80}]
    - name: guarded-near
      matches: [{path: {value: /near}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
      backendRefs: [{name: near, port: 80}]
`;

/** Who may ask what of `guarded` and of `near`: not POST, and nothing of `/secret`. */
const guards = ["guarded", "near"].map(
  (app) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: guard-${app}, namespace: demo}
spec:
  selector: {matchLabels: {app: ${app}}}
  action: DENY
  rules: [{to: [{operation: {paths: [/secret]}}, {operation: {methods: [POST]}}]}]
`,
);

function meshText(cluster: Cluster, given: Given = {}): string {
  const { rules = everyRule, policies = guards.join("---\n"), failsDirect = false, fault } = given;
  const workloads = cluster.nodes.flatMap((node) =>
    node.pods.map(
      (pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${pod.name}, namespace: demo, uid: ${pod.uid}, labels: {app: ${pod.name}, some: "${some.includes(pod.name)}"}}
spec: {addresses: ["${pod.ip4}", "${pod.ip6}"], node: ${node.name}, serviceAccount: ${pod.name}}
`,
    ),
  );
  const service = (name: string, index: number): string => {
    const { ip4, ip6 } = serviceAddresses(index + 1);
    // The Service that is called has no endpoints of its own when no route is about it.
    const app = name === "api" ? "far" : name;
    return `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: demo, annotations: {orlop.dev/fail-direct: "${failsDirect && name === "api"}"}}
spec:
  clusterIP: ${ip4}
  clusterIPs: ["${ip4}", "${ip6}"]
  selector: ${name === "some" ? '{some: "true"}' : `{app: ${app}}`}
  ports: [{name: http, port: 80, targetPort: ${HTTP}}]
`;
  };
  const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: demo, annotations: {${fault === undefined ? "" : `orlop.dev/fault: '${JSON.stringify(fault)}'`}}}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 80}]
  rules:${rules}`;
  return [
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {orlop.dev/dataplane-mode: ambient}}\n",
    ...workloads,
    ...services.map(service),
    ...(policies === "" ? [] : [policies]),
    ...(rules === "" ? [] : [route]),
  ].join("---\n");
}

let journey: Journey;
const echo = fileURLToPath(new URL("../support/echo-http.ts", import.meta.url));
const pod = (name: string): Host => journey.cluster.pod(name);
before(async () => {
  journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) => meshText(cluster));
  for (const name of ["near", "far", "guarded"]) {
    const app = pod(name).start([process.execPath, echo, String(HTTP), name]);
    await app.line(20_000, (line) => line === "listening");
  }
});
after(() => journey?.close());

async function write(given: Given): Promise<void> {
  const applied = async (): Promise<readonly string[]> =>
    Promise.all(journey.cluster.nodes.map(async (node) => (await view(node, "status")).source.appliedAt));
  const before = await applied();
  journey.cluster.writeMesh(meshText(journey.cluster, given));
  await until("the new mesh", 20_000, async () =>
    (await applied()).every((at, index) => at !== before[index]) ? true : undefined,
  );
}

type Said = {
  readonly name: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly peer: string;
  readonly port: number;
  readonly bytes: number;
};
type Answered = {
  readonly status: number;
  readonly said: Said | null;
  readonly body: string;
  readonly headers: ReadonlyMap<string, string>;
};

const MARK = "-- end of an answer --";

/** curl, which keeps its connection for all of the targets. */
async function curl(
  targets: readonly string[],
  args: readonly string[] = [],
  host = called.ip4,
  from = pod("client"),
): Promise<Answered[]> {
  const at = host.includes(":") ? `[${host}]` : host;
  const urls = targets.flatMap((target) => [`http://${at}${target}`]);
  const ask = ["curl", "-sS", "-i", "-m", "20", "--path-as-is", "-w", `\n${MARK}\n`, ...args, ...urls];
  const done = await from.run(ask, 60_000);
  assert.equal(done.status, 0, `curl ended with ${done.status}: ${tail(done.stderr)}`);
  return done.stdout
    .split(`${MARK}\n`)
    .filter((text) => text.trim() !== "")
    .map(answerOf);
}

function answerOf(text: string): Answered {
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const body = text.slice(end + 4).trim();
  const headers = new Map(
    lines.map((each) => [each.slice(0, each.indexOf(":")).toLowerCase(), each.slice(each.indexOf(":") + 1).trim()]),
  );
  const said = body.startsWith("{") ? (JSON.parse(body) as Said) : null;
  return { status: Number(first.split(" ")[1]), said, body, headers };
}

async function one(
  target: string,
  args: readonly string[] = [],
  host = called.ip4,
  from = pod("client"),
): Promise<Answered> {
  const [answer] = await curl([target], args, host, from);
  assert.ok(answer);
  return answer;
}

async function recordOf(node: string, path: string): Promise<AccessEntry> {
  return until(`a record of ${path}`, 10_000, () =>
    accessLog(journey.cluster.node(node)).find((entry) => entry.message === "request complete" && entry.path === path),
  );
}

describe("a Service with a route", { concurrency: 1 }, () => {
  test("shares are 90 to 10, request by request on one connection", async () => {
    const asked = 400;
    const answers = await curl(Array.from({ length: asked }, () => "/split"));
    assert.equal(answers.length, asked);
    const far = answers.filter(({ said }) => said?.name === "far").length;
    const near = answers.filter(({ said }) => said?.name === "near").length;
    assert.equal(far + near, asked, JSON.stringify(answers.find(({ said }) => said === null)));
    // Five standard deviations.
    assert.ok(Math.abs(near - asked * 0.1) <= 30, `${near} of ${asked} went to the backend of 10 %`);
    for (const { said } of answers) assert.equal(said?.peer?.replace("::ffff:", ""), pod("client").ip4);
  });

  test("a header chooses, over IPv4 and IPv6", async () => {
    for (const host of [called.ip4, called.ip6]) {
      assert.equal((await one("/who", [], host)).said?.name, "far");
      assert.equal((await one("/who", ["-H", "X-Tester: yes"], host)).said?.name, "near");
      assert.equal((await one("/who", ["-H", "X-Tester: no"], host)).said?.name, "far");
    }
  });

  test("target, host and fields are rewritten, and the response's fields", async () => {
    const { said, headers } = await one("/old/a%2Bb?c=d", ["-H", "x-set: 1", "-H", "x-add: a", "-H", "x-gone: 1"]);
    assert.deepEqual([said?.url, said?.headers.host], ["/new/a%2Bb?c=d", "far.shop"]);
    assert.deepEqual(
      [said?.headers["x-set"], said?.headers["x-add"], said?.headers["x-gone"]],
      ["2", "a, b", undefined],
    );
    assert.deepEqual([headers.get("x-route"), headers.get("server")], ["rewrite", undefined]);
  });

  test("a regular expression takes whole paths", async () => {
    assert.equal((await one("/v12/a")).said?.name, "near");
    assert.equal((await one("/v12")).status, 404);
  });

  test("a preflight is answered by the caller's node, and what is shared says with whom", async () => {
    const asks = (origin: string): readonly string[] => [
      ...["-X", "OPTIONS", "-H", `Origin: ${origin}`, "-H", "Access-Control-Request-Method: PUT"],
    ];
    const allowed = await one("/shared", asks("https://a.b.example"));
    assert.deepEqual([allowed.status, allowed.said, allowed.body], [204, null, ""]);
    const field = (name: string): string | undefined => allowed.headers.get(`access-control-${name}`);
    assert.deepEqual(
      [field("allow-origin"), field("allow-methods"), field("allow-headers"), field("max-age")],
      ["https://a.b.example", "PUT", "x-a", "5"],
    );
    const [refused, on] = await curl(["/shared?1", "/shared?2"], asks("https://evil.test"));
    assert.deepEqual(
      [refused?.status, on?.status, refused?.headers.has("access-control-allow-origin")],
      [403, 403, false],
    );
    const answer = await one("/shared", ["-H", "Origin: https://a.example"]);
    assert.equal(answer.said?.name, "far");
    assert.deepEqual(
      [answer.headers.get("access-control-allow-origin"), answer.headers.get("vary")],
      ["https://a.example", "Origin"],
    );
  });

  test("what goes nowhere is answered: redirect, 404, 500, 503, 504; and the connection lives on", async () => {
    const answers = await curl(["/moved/a?b", "/nothing", "/none", "/empty", "/slow", "/who"]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [301, 404, 500, 503, 504, 200],
    );
    assert.equal(answers[0]?.headers.get("location"), "http://other.example/moved/a?b");
    const record = await recordOf("node-a", "/nothing");
    assert.deepEqual([record.response_flags, record.direction], ["NR", "outbound"]);
    assert.equal((await recordOf("node-a", "/slow")).response_flags, "UT");
  });

  test("an endpoint that nobody serves costs no request, of whatever method: another endpoint has it", async () => {
    for (const args of [[], ["-d", "body"], ["-T", "/etc/passwd", "-H", "Expect:"]]) {
      const answers = await curl(
        Array.from({ length: 20 }, () => "/some"),
        args,
      );
      assert.deepEqual([...new Set(answers.map(({ status, said }) => `${status} ${said?.name}`))], ["200 far"]);
    }
    const attemptsOf = ({ attempts = "1" }: AccessEntry): number => Number(attempts);
    // Lines are written a moment after their requests.
    const tries = await until("records of all of them", 10_000, () => {
      const found = accessLog(journey.cluster.node("node-a")).filter(({ path }) => path === "/some");
      return found.length >= 60 ? found : undefined;
    });
    const most = Math.max(...tries.map(attemptsOf));
    assert.ok(most > 1 && most <= 3, `${most}`);
    assert.ok(
      tries.every((entry) => entry["dst.workload"] === "far"),
      JSON.stringify(tries),
    );
  });

  test("a tenth that fails is hidden by the rule's retry, but for methods that may not be repeated", async () => {
    const failed = async (path: string, args: readonly string[]): Promise<number> =>
      (
        await curl(
          Array.from({ length: 100 }, () => path),
          args,
        )
      ).filter(({ status }) => status !== 200).length;
    assert.equal(await failed("/flaky", []), 0);
    assert.equal(await failed("/flaky/post", ["-d", "body"]), 10);
    const of = (path: string): readonly AccessEntry[] =>
      accessLog(journey.cluster.node("node-a")).filter((each) => each.path === path);
    const all = ["/flaky", "/flaky/post"];
    await until("records of all of them", 10_000, () => all.every((path) => of(path).length >= 100) || undefined);
    const again = (path: string): number => of(path).filter(({ attempts }) => attempts === "2").length;
    // Of 111 answers the tenth, the twentieth and so on.
    assert.deepEqual([again("/flaky"), again("/flaky/post")], [11, 0]);
    const explained = await orlop("explain", "demo/client", "demo/api:80", "--path", "/flaky");
    assert.match(explained, /tried up to 3 times more on 503 or without a response, after 1 ms or longer/);
  });

  for (const [way, prefix, name] of [
    ["across nodes", "/far", "guarded"],
    ["on one node", "/near", "near"],
  ] as const) {
    test(`the callee's policy judges what arrives, ${way}`, async () => {
      const [open, secret, hidden] = await curl([`${prefix}/open`, `${prefix}/secret`, `${prefix}/%73ecret`]);
      assert.deepEqual([open?.said?.name, open?.said?.url], [name, "/open"]);
      assert.deepEqual([secret?.status, secret?.body], [403, "RBAC: access denied"]);
      assert.equal(hidden?.status, 403);
      assert.equal((await one(`${prefix}/open`, ["-d", "x"])).status, 403);
    });
  }

  test("the rule is in the caller's log, and orlop explain and get routes say it", async () => {
    const record = await recordOf("node-a", "/split");
    assert.equal(record.route_name, "demo/api[0]");
    const explained = await orlop(
      "explain",
      "demo/client",
      "demo/api:80",
      "--path",
      "/who",
      "--header",
      "x-tester=yes",
    );
    assert.match(explained, /^ALLOW/);
    assert.match(explained, /route +HTTPRoute demo\/api\[1\] "header" at \S+: \/who\/\* with x-tester=yes: takes it/);
    assert.match(await orlop("get", "routes"), /demo +api +HTTPRoute +demo\/api:80 +producer +15 /);
  });

  test("a pod's own address goes past the route", async () => {
    const answer = await one(`:${HTTP}/nothing`, [], pod("far").ip4);
    assert.deepEqual([answer.status, answer.said?.name], [200, "far"]);
  });

  test("large bodies pass both ways, in chunks and by length", async () => {
    const sent = 3_000_000;
    for (const [of, path] of [
      ["-H 'Transfer-Encoding: chunked'", "/split/big"],
      ["-H 'Expect:'", "/who/big"],
    ] as const) {
      const got = "-o /dev/null -w '%{http_code} %{size_download} %header{x-bytes}'";
      const ask = `head -c ${sent} /dev/zero | curl -sS -m 20 -X PUT --data-binary @- ${of} ${got} http://${called.ip4}${path}`;
      const done = await pod("client").run(["bash", "-c", ask], 30_000);
      const [status, downloaded, uploaded] = done.stdout.split(" ").map(Number);
      assert.deepEqual([status, uploaded], [200, sent], done.stderr);
      assert.ok((downloaded ?? 0) > 3_000_000, done.stdout);
    }
  });

  test("a connection to an endpoint is kept for the pod's next connection, and for no other pod", async () => {
    const portOf = async (from: Host): Promise<number> => (await one("/who", [], called.ip4, from)).said?.port ?? 0;
    const first = await portOf(pod("client"));
    assert.equal(await portOf(pod("client")), first);
    assert.notEqual(await portOf(pod("near")), first);
  });

  test("an upgraded connection goes both ways", async () => {
    const upgrade =
      "GET /who HTTP/1.1\\r\\nHost: api\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\nhello\\n";
    const talk = `exec 3<> /dev/tcp/${called.ip4}/80; printf '${upgrade}' >&3; timeout 10 sed /^hello/q <&3`;
    const upgraded = await pod("client").run(["bash", "-c", talk], 20_000);
    assert.match(upgraded.stdout, /^HTTP\/1\.1 101 [\s\S]*\r\n\r\nhello\n$/, upgraded.stderr);
  });

  test("a session stays with its endpoint: curl's own cookies, by the response's word", async () => {
    const names = new Set<string>();
    for (let nth = 0; nth < 12; nth += 1) {
      // Each call of curl is a caller with a jar of its own.
      const jar = ["-b", `/tmp/orlop-none-${process.pid}`];
      const answers = await curl(
        Array.from({ length: 8 }, (_, at) => `/sticky/${at}`),
        jar,
      );
      const of = new Set(answers.map(({ said }) => said?.name));
      assert.equal(of.size, 1, [...of].join());
      assert.match(
        answers[0]?.headers.get("set-cookie") ?? "",
        /^stick=[\w-]{22}; Path=\/sticky; HttpOnly; SameSite=Lax$/,
      );
      assert.ok(answers.slice(1).every(({ headers }) => !headers.has("set-cookie")));
      names.add(answers[0]?.said?.name ?? "");
    }
    assert.deepEqual(names, new Set(["far", "near"]));
  });

  test("a fault delays, answers and resets, until it expires; what a page of another origin gets of it, it may read", async () => {
    const soon = new Date(Date.now() + 60_000).toISOString();
    const delay = { fixed: "700ms" };
    await write({ fault: { rule: "plain", delay, abort: { status: 418 }, expires: soon } });
    const timed = async (path: string): Promise<readonly [number, number]> => {
      const before = performance.now();
      return [(await one(path)).status, performance.now() - before];
    };
    const [status, took] = await timed("/who");
    assert.ok(status === 418 && took >= 690, `${status} after ${took} ms`);
    assert.equal((await timed("/split"))[0], 200);
    await until("its flag", 10_000, () =>
      accessLog(journey.cluster.node("node-a")).find((line) => line.path === "/who" && line.response_flags === "DI,FI"),
    );
    // Of HTTP/2 requests wait and are answered alike.
    const http2 = [
      "curl",
      "-sS",
      "-m",
      "10",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code} %{time_total}",
      "--http2-prior-knowledge",
    ];
    const [code, seconds] = (await pod("client").run([...http2, `http://${called.ip4}/who`], 20_000)).stdout.split(" ");
    assert.ok(code === "418" && Number(seconds) >= 0.69, `${code} ${seconds}`);
    await write({ fault: { rule: "shared", abort: { status: 503 }, expires: soon } });
    const shared = await one("/shared", ["-H", "Origin: https://a.example"]);
    assert.deepEqual([shared.status, shared.headers.get("access-control-allow-origin")], [503, "https://a.example"]);
    await write({ fault: { rule: "plain", reset: {}, expires: soon } });
    const reset = await pod("client").run(["curl", "-sS", "-m", "10", `http://${called.ip4}/who`], 20_000);
    assert.deepEqual([reset.status, reset.stdout], [56, ""]);
    await write({ fault: { reset: {}, expires: new Date(Date.now() - 1_000).toISOString() } });
    assert.equal((await one("/who")).status, 200);
    await write({});
  });

  test("a changed rule holds from the next request; without a route the Service is as it was", async () => {
    await write({ rules: "\n    - backendRefs: [{name: near, port: 80}]\n" });
    assert.equal((await one("/who")).said?.name, "near");
    await write({ rules: "" });
    assert.equal((await one("/nothing")).said?.name, "far");
    await write({});
    assert.equal((await one("/nothing")).status, 404);
  });
});

describe("while no agent lives", () => {
  test("a port with a route whose Service fails direct is reached past its routes, as the cluster sends what is for its address", async () => {
    // What a cluster's nodes do for a Service's address, the way through the nodes does here.
    const [a, b] = journey.cluster.nodes;
    const ways = [
      { host: pod("far"), line: ["addr", "add", `${called.ip4}/32`, "dev", "lo"] },
      { host: b, line: ["route", "add", called.ip4, "via", pod("far").ip4] },
      { host: a, line: ["route", "add", called.ip4, "via", wireAddresses(2).ip4] },
    ];
    for (const { host, line } of ways) assert.equal((await host?.run(["ip", ...line], 10_000))?.status, 0, `${line}`);
    const app = pod("far").start([process.execPath, echo, "80", "past the routes"]);
    await app.line(20_000, (line) => line === "listening");
    await write({ failsDirect: true });
    assert.equal((await one("/nothing")).status, 404);
    const agent = Number(readFileSync(join(journey.cluster.node("node-a").runDir, "agent.pid"), "utf8"));
    process.kill(agent, "SIGSTOP");
    try {
      const answer = await until("an answer past the routes", 30_000, async () => {
        const ask = ["curl", "-sS", "-m", "2", `http://${called.ip4}/nothing`];
        const done = await pod("client").run(ask, 10_000);
        return done.status === 0 ? (JSON.parse(done.stdout) as Said) : undefined;
      });
      assert.deepEqual([answer.name, answer.peer.replace("::ffff:", "")], ["past the routes", pod("client").ip4]);
    } finally {
      process.kill(agent, "SIGCONT");
      await app.stop();
    }
    await until("an answer", 30_000, async () => ((await one("/nothing")).status === 404 ? true : undefined));
    await write({});
  });

  test("a port with a route refuses, and a pod's own address without a policy does not", async () => {
    const node = journey.cluster.node("node-a");
    const agent = Number(readFileSync(join(node.runDir, "agent.pid"), "utf8"));
    /** What the kernel says of the call; empty: it is connected. */
    const dial = async (address: string, port: number): Promise<string> =>
      (await pod("client").run(["timeout", "5", "bash", "-c", `exec 3<> /dev/tcp/${address}/${port}`], 10_000)).stderr;
    process.kill(agent, "SIGSTOP");
    try {
      await until("a refusal", 30_000, async () =>
        (await dial(called.ip4, 80)).includes("Connection refused") ? true : undefined,
      );
      assert.equal(await dial(pod("far").ip4, HTTP), "");
      // Of the same endpoints, without a route: it goes direct, where nobody has this address.
      const unrouted = await dial(serviceAddresses(services.indexOf("far") + 1).ip4, 80);
      assert.doesNotMatch(unrouted, /Connection refused/);
      assert.notEqual(unrouted, "");
    } finally {
      process.kill(agent, "SIGCONT");
    }
    await until("an answer", 30_000, async () => ((await one("/who")).status === 200 ? true : undefined));
  });
});

async function orlop(...args: readonly string[]): Promise<string> {
  const node = journey.cluster.node("node-a");
  const running = node.orlop([...args, "--socket", `${node.runDir}/agent.sock`]);
  running.endInput();
  const done = await running.wait(20_000);
  assert.equal(done.status, 0, tail(done.stderr));
  return done.stdout;
}
