// HTTPRoute → mesh value: what each field becomes, and each mistake and each field that is not honoured with its place.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpRoute, HttpRule } from "../../mesh/http-rule.ts";
import { positionText } from "../../mesh/source-ref.ts";
import { parseYaml } from "../static-file/parse.ts";
import { httpRouteKind, toHttpRoute } from "./http-route.ts";
import { isOfServices } from "./route-parts.ts";
import { Report } from "./value.ts";

type Found = { readonly route: HttpRoute | undefined; readonly problems: string[]; readonly findings: string[] };

function read(text: string): Found {
  const report = new Report();
  const [document] = parseYaml("f.yaml", text);
  assert.ok(document);
  const written = httpRouteKind(document, "", report);
  const route = written && toHttpRoute(written, document, report);
  const said = (all: Report["problems"]): string[] =>
    all.map(({ from, code, what }) => `${positionText(from)} ${code} ${what}`);
  return { route, problems: said(report.problems), findings: said(report.findings) };
}

const head = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: api }]
`;
/** The rules begin in line 7, column 5. */
const withRules = (rules: string): string => `${head}  rules:\n    - ${rules.replaceAll("\n", "\n      ")}\n`;

function rule(text: string): HttpRule {
  const { route, problems } = read(withRules(text));
  assert.deepEqual(problems, [], text);
  const [first] = route?.rules ?? [];
  assert.ok(first);
  return first;
}

test("a route without rules takes everything, and has no backend", () => {
  const { route } = read(head);
  assert.equal(route?.namespace, "shop");
  assert.deepEqual(route?.parents, [{ service: "shop/api", port: null, portName: null }]);
  assert.deepEqual(route?.rules[0]?.matches, [
    { path: { kind: "prefix", value: "" }, method: null, headers: [], query: [] },
  ]);
  assert.deepEqual(route?.rules[0]?.backends, []);
});

test("parents are Services of any namespace, by port and by its name; the age is the API server's", () => {
  const { route } = read(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api, creationTimestamp: "2026-01-02T03:04:05Z" }
spec:
  parentRefs:
    - { group: "", kind: Service, name: api, namespace: shop, port: 80 }
    - { group: core, kind: Service, name: web, sectionName: http }
    - { name: some-gateway }
`);
  assert.deepEqual(route?.parents, [
    { service: "shop/api", port: 80, portName: null },
    { service: "default/web", port: null, portName: "http" },
  ]);
  assert.equal(route?.createdMs, Date.UTC(2026, 0, 2, 3, 4, 5));
});

test("whose route it is shows before its fields are read", () => {
  const is = (spec: string): boolean => {
    const [document] = parseYaml("f.yaml", `kind: HTTPRoute\nspec: ${spec}\n`);
    return document !== undefined && isOfServices(document);
  };
  assert.equal(is("{ parentRefs: [{ kind: Service, name: a }] }"), true);
  assert.equal(is("{ parentRefs: [{ name: g }, { kind: Service, name: a }] }"), true);
  assert.equal(is("{ parentRefs: [{ name: g }] }"), false);
  assert.equal(is("{}"), false);
  assert.equal(is("7"), false);
});

test("each condition of a match", () => {
  const { matches } = rule(`matches:
  - path: { type: Exact, value: /a%7e/ }
    method: GET
    headers: [{ name: X-Role, value: admin }, { name: x-role, value: other }]
    queryParams: [{ name: page, value: "2" }]
  - path: { value: /a/ }
  - { path: { type: PathPrefix, value: / } }`);
  assert.deepEqual(matches, [
    {
      path: { kind: "exact", value: "/a~/" },
      method: "GET",
      headers: [{ kind: "exact", name: "x-role", value: "admin" }],
      query: [{ kind: "exact", name: "page", value: "2" }],
    },
    { path: { kind: "prefix", value: "/a" }, method: null, headers: [], query: [] },
    { path: { kind: "prefix", value: "" }, method: null, headers: [], query: [] },
  ]);
});

test("each filter, weights and timeouts", () => {
  const found = rule(`name: main
filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: { set: [{ name: X-A, value: "1" }], add: [{ name: b, value: "" }], remove: [C] }
  - type: ResponseHeaderModifier
    responseHeaderModifier: { remove: [server] }
  - type: URLRewrite
    urlRewrite: { hostname: other.shop, path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } }
timeouts: { request: 1m30s, backendRequest: 250ms }
backendRefs:
  - { name: api, port: 80, weight: 90 }
  - name: api-v2
    namespace: next
    port: 8080
    filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [d] } }]`);
  assert.deepEqual(found.requestEdits, {
    set: [{ name: "x-a", value: "1" }],
    add: [{ name: "b", value: "" }],
    remove: ["c"],
  });
  assert.deepEqual(found.responseEdits, { set: [], add: [], remove: ["server"] });
  assert.deepEqual(found.rewrite, { hostname: "other.shop", path: { kind: "prefix", value: "/b" } });
  assert.deepEqual([found.name, found.timeoutMs, found.tryTimeoutMs], ["main", 90_000, 250]);
  const none = { set: [], add: [], remove: [] };
  assert.deepEqual(found.backends, [
    { service: "shop/api", port: 80, weight: 90, requestEdits: none, responseEdits: none },
    {
      ...{ service: "next/api-v2", port: 8080, weight: 1, responseEdits: none },
      requestEdits: { set: [], add: [], remove: ["d"] },
    },
  ]);
});

test("retry has the API's fields; what is not written is ours", () => {
  const backends = "backendRefs: [{ name: a, port: 1 }]";
  assert.equal(rule(backends).retry, null);
  assert.deepEqual(rule(`retry: {}\n${backends}`).retry, { codes: [], attempts: 2, backoffMs: 25 });
  const all = `retry: { codes: [500, 503], attempts: 4, backoff: 1s500ms }\n${backends}`;
  assert.deepEqual(rule(all).retry, { codes: [500, 503], attempts: 4, backoffMs: 1_500 });
});

test("a redirect has the status 302 unless another is written", () => {
  const { redirect } = rule("filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, port: 8443 } }]");
  assert.deepEqual(redirect, { scheme: "https", hostname: null, path: null, port: 8443, status: 302 });
});

test("CORS: origins as they are compared, names in lower case, and a maximum age of its own", () => {
  const { cors } = rule(`filters:
  - type: CORS
    cors:
      allowOrigins: ["https://Shop.example:443", "https://*.bar.com", "http://*:8080", "https://star-.example"]
      allowMethods: [GET, PATCH]
      allowHeaders: [X-A]
      exposeHeaders: ["*"]
      allowCredentials: true`);
  assert.deepEqual(cors, {
    origins: ["https://shop.example", "https://*.bar.com", "http://*:8080", "https://star-.example"],
    ...{ credentials: true, methods: ["GET", "PATCH"], headers: ["x-a"], exposes: ["*"], maxAgeSeconds: 5 },
  });
  const refused: readonly (readonly [string, RegExp])[] = [
    ["allowOrigins: [a.example]", /^f\.yaml:7:54 ORL4104 .*cors\.allowOrigins\[0\]: "a.example" is not an origin/],
    ["allowOrigins: ['https://a.*.b']", /is not an origin/],
    ["allowOrigins: ['*', 'https://a']", /cors has \* beside others/],
    ["allowMethods: [get]", /"get" is not one of/],
    ["allowHeaders: ['a b']", /"a b" is not the name of a field/],
    ["maxAge: 0", /0 is not a whole number/],
  ];
  for (const [text, said] of refused)
    assert.match(read(withRules(`filters: [{ type: CORS, cors: { ${text} } }]`)).problems[0] ?? "", said, text);
});

const mirror = (more: string): string =>
  `filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 1 }${more} } }]`;

test("mirrors: several of a rule, each with its share; credentials stay behind unless the route says otherwise", () => {
  const shareOf = (more: string): readonly (readonly [number, number])[] | undefined =>
    rule(mirror(more)).mirrors?.map(({ numerator, denominator }) => [numerator, denominator]);
  assert.deepEqual(shareOf(""), [[100, 100]]);
  assert.deepEqual(shareOf(", percent: 7"), [[7, 100]]);
  assert.deepEqual(shareOf(", percent: 0"), [[0, 100]]);
  assert.deepEqual(shareOf(", fraction: { numerator: 1 }"), [[1, 100]]);
  assert.deepEqual(shareOf(", fraction: { numerator: 5, denominator: 1000 }"), [[5, 1_000]]);
  assert.equal(rule("name: a").mirrors, undefined);
  const both = `${mirror("").slice(0, -1)}, { type: RequestMirror, requestMirror: { backendRef: { name: c, namespace: other, port: 2 } } }]`;
  const [first, second] = rule(both).mirrors ?? [];
  assert.deepEqual([first?.backend.service, first?.backend.port], ["shop/b", 1]);
  assert.deepEqual([second?.backend.service, second?.backend.port], ["other/c", 2]);
  const removed = ["authorization", "cookie", "proxy-authorization"];
  assert.deepEqual(first?.backend.requestEdits.remove.slice(0, 3), removed);
  for (const [value, kept] of [
    ["true", true],
    ["yes", false],
  ] as const) {
    const annotated = withRules(mirror("")).replace(
      "namespace: shop }",
      `namespace: shop, annotations: { orlop.dev/mirror-credentials: "${value}" } }`,
    );
    const [only] = read(annotated).route?.rules[0]?.mirrors ?? [];
    assert.equal(only?.backend.requestEdits.remove.length === 0, kept, value);
  }
});

test("a mirror's mistakes have their place, and a target that is no Service gets nothing", () => {
  const rows: readonly (readonly [string, RegExp])[] = [
    [mirror(", percent: 101"), /^f\.yaml:7:\d+ ORL4104 .*requestMirror\.percent/],
    [mirror(", percent: 1, fraction: { numerator: 1 }"), /has percent and fraction/],
    [mirror(", fraction: { numerator: 3, denominator: 2 }"), /has the fraction 3\/2/],
    [mirror(", fraction: { numerator: 0, denominator: 0 }"), /has the fraction 0\/0/],
    [mirror(", fraction: { denominator: 2 }"), /lacks "numerator"/],
    [mirror(", host: a"), /ORL4102/],
    ["filters: [{ type: RequestMirror }]", /is no filter that is honoured/],
    [
      "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 1 } }, cors: { allowOrigins: ['*'] } }]",
      /is no filter that is honoured/,
    ],
    [
      `${mirror("").slice(0, -1)}, { type: RequestRedirect, requestRedirect: { port: 1 } }]`,
      /has a RequestRedirect and a RequestMirror/,
    ],
  ];
  for (const [text, said] of rows) {
    const { route, problems } = read(withRules(text));
    assert.equal(route, undefined, text);
    assert.match(problems.join("\n"), said, text);
  }
  const { route, findings } = read(
    withRules(
      "filters: [{ type: RequestMirror, requestMirror: { backendRef: { kind: Gate, group: x.io, name: b } } }]",
    ),
  );
  assert.equal(route?.rules[0]?.mirrors?.[0]?.backend.service, null);
  assert.match(findings.join("\n"), /the target of a RequestMirror names a Gate/);
});

test("what is not honoured refuses the route, with its place", () => {
  const rows: readonly (readonly [string, string])[] = [
    [
      "sessionPersistence: { idleTimeout: 1m }",
      "f.yaml:7:42 ORL4106 spec.rules[0].sessionPersistence.idleTimeout is not honoured",
    ],
    [
      "backendRefs: [{ name: a, port: 1, filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 1 } } }] }]",
      "f.yaml:7:21 ORL4106 spec.rules[0].backendRefs: RequestMirror, RequestRedirect, URLRewrite and CORS of a single backend are not honoured",
    ],
    [
      "backendRefs: [{ name: a, port: 1, filters: [{ type: URLRewrite, urlRewrite: {} }] }]",
      "f.yaml:7:21 ORL4106 spec.rules[0].backendRefs: RequestMirror, RequestRedirect, URLRewrite and CORS of a single backend are not honoured",
    ],
  ];
  for (const [text, said] of rows) {
    const { route, problems } = read(withRules(text));
    assert.equal(route, undefined, text);
    assert.ok(problems[0]?.startsWith(said), `${text}: ${problems.join("\n")}`);
  }
});

test("each mistake has its place", () => {
  const rows: readonly (readonly [string, RegExp])[] = [
    ["matches: [{ path: { value: a } }]", /^f\.yaml:7:34 ORL4104 .*path\.value: "a" is not a path/],
    [
      "matches: [{ path: { type: RegularExpression, value: '/a(?=b)' } }]",
      /^f\.yaml:7:59 ORL4104 spec\.rules\[0\]\.matches\[0\]\.path\.value: the expression cannot be honoured, at its character 3/,
    ],
    [
      "matches: [{ headers: [{ type: RegularExpression, name: a, value: '.*a.{30}' }] }]",
      /^f\.yaml:7:72 ORL4104 .*headers\[0\]\.value: .*larger automaton/,
    ],
    [
      `matches: [${"{ path: { type: RegularExpression, value: /a } }, ".repeat(65)}]`,
      /^f\.yaml:1:1 ORL4104 the route has more than 64 regular expressions/,
    ],
    ["matches: [{ path: { value: /a//b } }]", /ORL4104/],
    ["matches: [{ path: { value: /a/../b } }]", /ORL4104/],
    ["matches: [{ path: { value: '/a?b' } }]", /ORL4104/],
    ["matches: [{ path: { value: /a%2fb } }]", /ORL4104/],
    ["matches: [{ method: get }]", /^f\.yaml:7:27 ORL4104 .*"get" is not one of/],
    ["matches: [{ headers: [{ name: 'a b', value: c }] }]", /ORL4104 .*"a b" is not the name of a field/],
    ["matches: [{ headers: [{ name: a, value: '' }] }]", /ORL4104/],
    ["matches: [{ queryParams: [{ name: a }] }]", /ORL4103 .*lacks "value"/],
    ["matches: [{ grpc: {} }]", /ORL4102 .*no field "grpc"/],
    ["filters: [{ type: Unknown }]", /^f\.yaml:7:25 ORL4104 .*"Unknown" is no filter/],
    ["filters: [{ type: URLRewrite }]", /ORL4104/],
    ["filters: [{ type: URLRewrite, urlRewrite: {}, requestRedirect: {} }]", /ORL4104/],
    [
      "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Host, value: a }] } }]",
      /not for a route to change/,
    ],
    [
      "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [Content-Length] } }]",
      /not for a route to change/,
    ],
    [
      'filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: "b\\u00e9" }] } }]',
      /ORL4104/,
    ],
    ["filters: [{ type: RequestRedirect, requestRedirect: { statusCode: 304 } }]", /304 is no redirect/],
    [
      "filters: [{ type: RequestRedirect, requestRedirect: {} }]\nbackendRefs: [{ name: a, port: 1 }]",
      /ORL4105 .*a RequestRedirect and backendRefs/,
    ],
    ["filters: [{ type: RequestRedirect, requestRedirect: {} }, { type: URLRewrite, urlRewrite: {} }]", /ORL4105/],
    ["filters: [{ type: URLRewrite, urlRewrite: {} }, { type: URLRewrite, urlRewrite: {} }]", /ORL4105 .*twice/],
    [
      "matches: [{ path: { type: Exact, value: /a } }]\nfilters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } } }]",
      /ORL4105 .*replaces a prefix/,
    ],
    [
      "filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replacePrefixMatch: /b } } }]",
      /no path that ReplaceFullPath could write/,
    ],
    ["timeouts: { request: 1s, backendRequest: 2s }", /ORL4105 .*longer than that of the request/],
    ["retry: { codes: [399] }", /^f\.yaml:7:24 ORL4104 .*retry\.codes\[0\]: 399 is not a whole number from 400/],
    ["retry: { attempts: -1 }", /ORL4104/],
    ["retry: { backoff: soon }", /ORL4104/],
    ["retry: { on: [reset] }", /ORL4102 .*no field "on"/],
    ["timeouts: { request: 1.5s }", /"1\.5s" is not a duration/],
    ["backendRefs: [{ name: a, port: 0 }]", /ORL4104/],
    ["backendRefs: [{ name: a, port: 1, weight: -1 }]", /ORL4104/],
  ];
  for (const [text, said] of rows) {
    const { route, problems } = read(withRules(text));
    assert.equal(route, undefined, text);
    assert.match(problems[0] ?? "nothing", said, text);
  }
});

test("a backend that is no Service, or has no port, is taken, and reported: its share is answered 500", () => {
  const { route, findings } = read(withRules("backendRefs: [{ name: a }, { kind: Bucket, name: b, port: 1 }]"));
  assert.deepEqual(
    route?.rules[0]?.backends.map(({ service, port }) => [service, port]),
    [
      ["shop/a", null],
      [null, 1],
    ],
  );
  assert.equal(findings.length, 2);
  const hosts = read(head.replace("spec:", "spec:\n  hostnames: [api.example]"));
  assert.match(hosts.findings[0] ?? "", /hostnames is not honoured/);
});

test("a fault is of a rule by its name, or of all; a mistake in it refuses the route", () => {
  const faulty = (fault: string): Found => {
    const annotations = `annotations: { orlop.dev/fault: '${fault}' }`;
    const named = head.replace("namespace: shop }", `namespace: shop, ${annotations} }`);
    return read(`${named}  rules: [{ name: a }, { name: b }]\n`);
  };
  const expires = '"expires": "2026-12-01T18:00:00+01:00"';
  const whole = `{ "rule": "b", "delay": { "fixed": "1s", "percent": 10 }, "abort": { "status": 503 }, "reset": {}, ${expires} }`;
  const { route, problems } = faulty(whole);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    route?.rules.map(({ fault }) => fault),
    [
      undefined,
      {
        ...{ expiresMs: Date.parse("2026-12-01T17:00:00Z"), delay: { fixed: 1_000, percent: 10 } },
        ...{ abort: { status: 503, percent: 100 }, reset: { percent: 100 } },
      },
    ],
  );
  assert.equal(
    faulty(`{ "reset": {}, ${expires} }`).route?.rules.every(({ fault }) => fault !== undefined),
    true,
  );
  for (const [fault, said] of [
    ["{", /is no JSON/],
    ['{ "reset": {} }', /expires/],
    ['{ "reset": {}, "expires": "tomorrow" }', /expires/],
    ['{ "reset": {}, "expires": "2026-12-01" }', /expires/],
    [`{ ${expires} }`, /names no fault/],
    [`{ "reset": { "percent": 0 }, ${expires} }`, /percent/],
    [`{ "reset": { "percent": 101 }, ${expires} }`, /percent/],
    [`{ "delay": { "fixed": "6s" }, ${expires} }`, /6000 ms is no delay/],
    [`{ "delay": { "fixed": "0s" }, ${expires} }`, /0 ms is no delay/],
    [`{ "abort": { "status": 100 }, ${expires} }`, /status/],
    [`{ "reset": {}, "newer": 1, ${expires} }`, /has no field "newer"/],
    [`{ "rule": "c", "reset": {}, ${expires} }`, /names the rule "c"/],
  ] as const) {
    const found = faulty(fault);
    assert.equal(found.route, undefined, fault);
    assert.match(found.problems.join("\n"), said, fault);
  }
});

test("sessions: by a cookie or a header, with or without an end", () => {
  const session = (text: string): unknown => rule(`sessionPersistence: ${text}`).session;
  assert.deepEqual(session("{}"), { by: "cookie", name: null, lastsMs: 0, isPermanent: false });
  assert.deepEqual(session("{ sessionName: Shop, absoluteTimeout: 1h, cookieConfig: { lifetimeType: Permanent } }"), {
    by: "cookie",
    name: "Shop",
    lastsMs: 3_600_000,
    isPermanent: true,
  });
  assert.deepEqual(session("{ type: Header, sessionName: X-Session }"), {
    ...{ by: "header", name: "x-session", lastsMs: 0, isPermanent: false },
  });
  for (const [text, said] of [
    ["{ type: Header, cookieConfig: {} }", /has a cookieConfig/],
    ["{ cookieConfig: { lifetimeType: Permanent } }", /Permanent without an absoluteTimeout/],
    ['{ sessionName: "a b" }', /"a b" is no name of a cookie/],
    ["{ type: Header, sessionName: Host }", /host is not for a route to change/],
    ["{ newer: 1 }", /has no field "newer"/],
  ] as const) {
    const { route, problems } = read(withRules(`sessionPersistence: ${text}`));
    assert.equal(route, undefined, text);
    assert.match(problems.join("\n"), said, text);
  }
});
