// HTTPRoute → mesh value: what each field becomes, and each mistake and each field that is not honoured with its place.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseYaml } from "../static-file/parse.ts";
import { head, read, rule, withRules } from "./http-route.fake.ts";
import { isOfServices } from "./route-parts.ts";

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
