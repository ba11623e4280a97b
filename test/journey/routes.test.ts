// Routes on a whole mesh: curl in pods calls a Service's address, real servers answer, across nodes and on one node. The rule chooses who
// answers and what it gets; the callee's policy judges what arrives; what no rule takes is answered by the caller's node.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Host } from "../box/cluster.ts";
import { orlopOn, requestRecord } from "../support/journey-acts.ts";
import { called, HTTP, RoutedJourney } from "../support/routed-journey.ts";

const rules = `    - name: weighted
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
    - name: slow
      matches: [{path: {value: /slow}}]
      timeouts: {request: 300ms}
      backendRefs: [{name: far, port: 80}]
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

let journey: RoutedJourney;
before(async () => {
  journey = await RoutedJourney.start({ rules, policies: guards.join("---\n") });
});
after(() => journey?.close());

const orlop = (...words: readonly string[]): Promise<string> => orlopOn(journey.cluster.node("node-a"), ...words);
const recordOf = (path: string) => requestRecord(journey.cluster.node("node-a"), path);

describe("a Service with a route", { concurrency: 1 }, () => {
  test("shares are 90 to 10, request by request on one connection", async () => {
    const asked = 400;
    const answers = await journey.curl(Array.from({ length: asked }, () => "/split"));
    assert.equal(answers.length, asked);
    const far = answers.filter(({ said }) => said?.name === "far").length;
    const near = answers.filter(({ said }) => said?.name === "near").length;
    assert.equal(far + near, asked, JSON.stringify(answers.find(({ said }) => said === null)));
    // Five standard deviations.
    assert.ok(Math.abs(near - asked * 0.1) <= 30, `${near} of ${asked} went to the backend of 10 %`);
    for (const { said } of answers) assert.equal(said?.peer?.replace("::ffff:", ""), journey.pod("client").ip4);
  });

  test("a header chooses, over IPv4 and IPv6", async () => {
    for (const host of [called.ip4, called.ip6]) {
      assert.equal((await journey.one("/who", [], host)).said?.name, "far");
      assert.equal((await journey.one("/who", ["-H", "X-Tester: yes"], host)).said?.name, "near");
      assert.equal((await journey.one("/who", ["-H", "X-Tester: no"], host)).said?.name, "far");
    }
  });

  test("target, host and fields are rewritten, and the response's fields", async () => {
    const { said, headers } = await journey.one("/old/a%2Bb?c=d", [
      "-H",
      "x-set: 1",
      "-H",
      "x-add: a",
      "-H",
      "x-gone: 1",
    ]);
    assert.deepEqual([said?.url, said?.headers.host], ["/new/a%2Bb?c=d", "far.shop"]);
    assert.deepEqual(
      [said?.headers["x-set"], said?.headers["x-add"], said?.headers["x-gone"]],
      ["2", "a, b", undefined],
    );
    assert.deepEqual([headers.get("x-route"), headers.get("server")], ["rewrite", undefined]);
  });

  test("a regular expression takes whole paths", async () => {
    assert.equal((await journey.one("/v12/a")).said?.name, "near");
    assert.equal((await journey.one("/v12")).status, 404);
  });

  test("a preflight is answered by the caller's node, and what is shared says with whom", async () => {
    const asks = (origin: string): readonly string[] => [
      ...["-X", "OPTIONS", "-H", `Origin: ${origin}`, "-H", "Access-Control-Request-Method: PUT"],
    ];
    const allowed = await journey.one("/shared", asks("https://a.b.example"));
    assert.deepEqual([allowed.status, allowed.said, allowed.body], [204, null, ""]);
    const field = (name: string): string | undefined => allowed.headers.get(`access-control-${name}`);
    assert.deepEqual(
      [field("allow-origin"), field("allow-methods"), field("allow-headers"), field("max-age")],
      ["https://a.b.example", "PUT", "x-a", "5"],
    );
    const [refused, on] = await journey.curl(["/shared?1", "/shared?2"], asks("https://evil.test"));
    assert.deepEqual(
      [refused?.status, on?.status, refused?.headers.has("access-control-allow-origin")],
      [403, 403, false],
    );
    const answer = await journey.one("/shared", ["-H", "Origin: https://a.example"]);
    assert.equal(answer.said?.name, "far");
    assert.deepEqual(
      [answer.headers.get("access-control-allow-origin"), answer.headers.get("vary")],
      ["https://a.example", "Origin"],
    );
  });

  test("what goes nowhere is answered: redirect, 404, 500, 503, 504; and the connection lives on", async () => {
    const answers = await journey.curl(["/moved/a?b", "/nothing", "/none", "/empty", "/slow", "/who"]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [301, 404, 500, 503, 504, 200],
    );
    assert.equal(answers[0]?.headers.get("location"), "http://other.example/moved/a?b");
    const record = await recordOf("/nothing");
    assert.deepEqual([record.response_flags, record.direction], ["NR", "outbound"]);
    assert.equal((await recordOf("/slow")).response_flags, "UT");
  });

  for (const [way, prefix, name] of [
    ["across nodes", "/far", "guarded"],
    ["on one node", "/near", "near"],
  ] as const) {
    test(`the callee's policy judges what arrives, ${way}`, async () => {
      const [open, secret, hidden] = await journey.curl([`${prefix}/open`, `${prefix}/secret`, `${prefix}/%73ecret`]);
      assert.deepEqual([open?.said?.name, open?.said?.url], [name, "/open"]);
      assert.deepEqual([secret?.status, secret?.body], [403, "RBAC: access denied"]);
      assert.equal(hidden?.status, 403);
      assert.equal((await journey.one(`${prefix}/open`, ["-d", "x"])).status, 403);
    });
  }

  test("the rule is in the caller's log, and orlop explain and get routes say it", async () => {
    const record = await recordOf("/split");
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
    assert.match(await orlop("get", "routes"), /demo +api +HTTPRoute +demo\/api:80 +producer +12 /);
  });

  test("a pod's own address goes past the route", async () => {
    const answer = await journey.one(`:${HTTP}/nothing`, [], journey.pod("far").ip4);
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
      const done = await journey.pod("client").run(["bash", "-c", ask], 30_000);
      const [status, downloaded, uploaded] = done.stdout.split(" ").map(Number);
      assert.deepEqual([status, uploaded], [200, sent], done.stderr);
      assert.ok((downloaded ?? 0) > 3_000_000, done.stdout);
    }
  });

  test("a connection to an endpoint is kept for the pod's next connection, and for no other pod", async () => {
    const portOf = async (from: Host): Promise<number> =>
      (await journey.one("/who", [], called.ip4, from)).said?.port ?? 0;
    const first = await portOf(journey.pod("client"));
    assert.equal(await portOf(journey.pod("client")), first);
    assert.notEqual(await portOf(journey.pod("near")), first);
  });

  test("an upgraded connection goes both ways", async () => {
    const upgrade =
      "GET /who HTTP/1.1\\r\\nHost: api\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\nhello\\n";
    const talk = `exec 3<> /dev/tcp/${called.ip4}/80; printf '${upgrade}' >&3; timeout 10 sed /^hello/q <&3`;
    const upgraded = await journey.pod("client").run(["bash", "-c", talk], 20_000);
    assert.match(upgraded.stdout, /^HTTP\/1\.1 101 [\s\S]*\r\n\r\nhello\n$/, upgraded.stderr);
  });

  test("a changed rule holds from the next request; without a route the Service is as it was", async () => {
    await journey.write({ rules: "    - backendRefs: [{name: near, port: 80}]\n" });
    assert.equal((await journey.one("/who")).said?.name, "near");
    await journey.write({ rules: "" });
    assert.equal((await journey.one("/nothing")).said?.name, "far");
    await journey.write({});
    assert.equal((await journey.one("/nothing")).status, 404);
  });
});
