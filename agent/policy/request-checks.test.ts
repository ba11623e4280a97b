import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestFacts } from "../mesh/facts.ts";
import type { PathMatch, PolicyAction, Rule } from "../mesh/policies.ts";
import { compileRules } from "./compile-rule.ts";
import { matchesRule } from "./match.ts";
import { condition, facts, operation, policy, request, rule, source, text } from "./policy.fake.ts";

const who = facts({}).sourceIdentity;

/** Whether a policy's rule matches this, as one letter: A in an ALLOW, D in a DENY. */
function matching(of: Rule, read: RequestFacts | "strict" | "lenient"): string {
  const holds = (action: PolicyAction): boolean =>
    compileRules(policy("p", { action, rules: [of] }), "cluster.local").every((compiled) =>
      matchesRule(compiled, facts({ request: read }), who),
    );
  return `${holds("ALLOW") ? "A" : ""}${holds("DENY") ? "D" : ""}`;
}

const template = (value: string): PathMatch => ({ kind: "template", value });
const methods = rule({
  operations: [operation({ methods: [text("GET"), text("P*")] })],
});
const notMethods = rule({
  operations: [operation({ notMethods: [text("GET"), text("P*")] })],
});

test("strict: a field of HTTP matches in a DENY and never in an ALLOW; lenient: the reverse", () => {
  for (const each of [methods, notMethods]) {
    assert.equal(matching(each, "strict"), "D");
    assert.equal(matching(each, "lenient"), "A");
  }
  const mixed = rule({
    operations: [operation({ ports: [8080] }), operation({ methods: [text("GET")] })],
  });
  assert.equal(matching(mixed, "strict"), "D");
  assert.equal(matching(mixed, "lenient"), "AD");
  assert.equal(matching(rule({}), "strict"), "AD");
});

test("a method has a case; a DENY takes the lower case, too", () => {
  const cases = {
    GET: "AD",
    PUT: "AD",
    get: "D",
    post: "D",
    DELETE: "",
    delete: "",
  };
  for (const [method, wanted] of Object.entries(cases)) {
    assert.equal(matching(methods, request({ method })), wanted, method);
  }
  const others = { GET: "", get: "D", put: "D", DELETE: "AD" };
  for (const [method, wanted] of Object.entries(others)) {
    assert.equal(matching(notMethods, request({ method })), wanted, method);
  }
});

test("a rule of a method in lower case: a DENY means the method that clients send, an ALLOW matches it as it is written", () => {
  const is = rule({ operations: [operation({ methods: [text("post"), text("d*")] })] });
  for (const [method, wanted] of [
    ["POST", "D"],
    ["post", "AD"],
    ["DELETE", "D"],
    ["delete", "AD"],
    ["GET", ""],
  ] as const)
    assert.equal(matching(is, request({ method })), wanted, method);
});

test("a host matches without case, trailing dot and port, or with its port", () => {
  const of = rule({
    operations: [operation({ hosts: [text("API.shop"), text("*.Example"), text("db:*")] })],
  });
  const not = rule({
    operations: [
      operation({
        notHosts: [text("API.shop"), text("*.Example"), text("db:*")],
      }),
    ],
  });
  const cases = {
    "api.shop": "AD",
    "Api.Shop.:8080": "AD",
    "x.example:1": "AD",
    "db:5432": "AD",
    db: "",
    "xapi.shop": "",
    "api.shop.evil": "",
  };
  for (const [authority, wanted] of Object.entries(cases)) {
    assert.equal(matching(of, request({ authority })), wanted, authority);
    assert.equal(matching(not, request({ authority })), wanted === "" ? "AD" : "", authority);
  }
  for (const authority of ["", "a@api.shop", "api.shop/x"]) {
    assert.equal(matching(of, request({ authority })), "D", authority);
    assert.equal(matching(not, request({ authority })), "D", authority);
  }
});

test("a DENY takes any reading of a path, an ALLOW needs all of them; an ambiguous path is denied and never allowed", () => {
  const paths = [text("/a"), text("/static/*"), text("*.png"), template("/users/{*}/pets/{**}")];
  const of = rule({ operations: [operation({ paths })] });
  const not = rule({ operations: [operation({ notPaths: paths })] });
  const cases: Readonly<Record<string, readonly [string, string]>> = {
    "/a": ["AD", ""],
    "/a?/b": ["AD", ""],
    "/%61": ["AD", ""],
    "/A": ["", "AD"],
    "/a/": ["D", "D"],
    "/a;v=1": ["D", "D"],
    "/b;v=1/": ["", "AD"],
    "/static/x/": ["AD", ""],
    "/x.png": ["AD", ""],
    "/x.png/": ["D", "D"],
    "/users/1/pets/2/3": ["AD", ""],
    "/users/1/pets": ["", "AD"],
    "/users/1/pets/": ["D", "D"],
    "/a/../b": ["D", "D"],
    "/%2e": ["D", "D"],
    "//": ["D", "D"],
  };
  for (const [target, [wanted, wantedNot]] of Object.entries(cases)) {
    assert.equal(matching(of, request({ target })), wanted, target);
    assert.equal(matching(not, request({ target })), wantedNot, `not ${target}`);
  }
});

test("the paths of a rule are decoded as those of requests are", () => {
  const of = rule({
    operations: [operation({ paths: [text("/%7Eme/*"), text("/%e9")] })],
  });
  assert.equal(matching(of, request({ target: "/~me/x" })), "AD");
  assert.equal(matching(of, request({ target: "/%E9" })), "AD");
});

test("a header that is sent twice: a DENY by any value or the joined form, an ALLOW by the joined form or every value", () => {
  const of = (fields: Parameters<typeof condition>[1]): Rule =>
    rule({
      when: [condition("request.headers[X-Role]", { http: true, ...fields })],
    });
  const is = of({ strings: [text("admin"), text("a,b")] });
  const not = of({ notStrings: [text("admin"), text("a,b")] });
  const cases: readonly (readonly [readonly string[], string, string])[] = [
    [[], "", "AD"],
    [["admin"], "AD", ""],
    [["admin", "admin"], "AD", ""],
    [["admin", "guest"], "D", "D"],
    [["guest", "user"], "", "AD"],
    [["a", "b"], "AD", ""],
    [["a,b", "admin"], "AD", ""],
    [["Admin"], "", "AD"],
    [[""], "", "AD"],
  ];
  for (const [values, wanted, wantedNot] of cases) {
    const read = request({ headers: { "x-role": values } });
    assert.equal(matching(is, read), wanted, values.join());
    assert.equal(matching(not, read), wantedNot, `not ${values.join()}`);
  }
});

test("a path in other escapes: a DENY takes it, an ALLOW asks for the path as it is written", () => {
  const cases: readonly (readonly [PathMatch, string, string, string])[] = [
    [text("*:delete"), "/things/1%3Adelete", "D", "D"],
    [text("*:delete"), "/things/1:delete", "AD", ""],
    [text("/a%3Ab"), "/a:b", "D", "D"],
    [text("/a(b*"), "/a%28b/c", "D", "D"],
    [text("/caf\u00e9"), "/caf%C3%A9", "D", "D"],
    [text("/a b"), "/a%20b", "D", "D"],
    [template("/a(b/{*}"), "/a%28b/c", "D", "D"],
    [text("/a%2Fb"), "/a/b", "", "AD"],
  ];
  for (const [path, target, wanted, wantedNot] of cases) {
    const read = request({ target });
    const is = rule({ operations: [operation({ paths: [path] })] });
    const not = rule({ operations: [operation({ notPaths: [path] })] });
    assert.equal(matching(is, read), wanted, target);
    assert.equal(matching(not, read), wantedNot, `not ${target}`);
  }
});

test("a list that is sent as several fields: a DENY of the list takes it, whatever space its commas have, and of Cookie its semicolons", () => {
  const of = (name: string, value: string): Rule =>
    rule({ when: [condition(`request.headers[${name}]`, { http: true, strings: [text(value)] })] });
  const cases: readonly (readonly [string, string, readonly string[], string])[] = [
    ["x-team", "red, blue", ["red", "blue"], "D"],
    ["x-team", "red,blue", ["red", "blue"], "AD"],
    ["x-team", "red, b*", ["red", "blue"], "D"],
    ["x-team", "*, blue", ["red", "blue"], "D"],
    ["x-team", "red; blue", ["red", "blue"], ""],
    ["x-team", "red, blue", ["blue", "red"], ""],
    ["cookie", "a=1; b=2", ["a=1", "b=2"], "D"],
    ["cookie", "a=1; b=2", ["a=1; b=2"], "AD"],
  ];
  for (const [name, value, sent, wanted] of cases)
    assert.equal(matching(of(name, value), request({ headers: { [name]: sent } })), wanted, `${value} ${sent}`);
});

test("a name with another sign: a DENY takes it, an ALLOW asks for the name itself and for nothing else beside it", () => {
  const of = (fields: Parameters<typeof condition>[1]): Rule =>
    rule({
      when: [condition("request.headers[x-role]", { http: true, ...fields })],
    });
  const is = of({ strings: [text("admin")] });
  const there = of({ strings: [text("*")] });
  const not = of({ notStrings: [text("admin")] });
  const cases: readonly (readonly [Readonly<Record<string, readonly string[]>>, string, string, string])[] = [
    [{ x_role: ["admin"] }, "D", "D", "D"],
    [{ "x.role": ["admin"] }, "D", "D", "D"],
    [{ "x-role": ["admin"], x_role: ["admin"] }, "AD", "AD", ""],
    [{ "x-role": ["admin"], x_role: ["guest"] }, "D", "AD", "D"],
    [{ "x-role": ["guest"], x_role: ["admin"] }, "D", "AD", "D"],
    [{ "x-role": ["admin"], x_role: [""] }, "D", "AD", "D"],
    [{ x_role: ["guest"] }, "", "D", "AD"],
    [{ "x-roles": ["admin"], xrole: ["admin"], "x-role-": ["admin"] }, "", "", "AD"],
  ];
  for (const [headers, wanted, wantedThere, wantedNot] of cases) {
    const read = request({ headers });
    assert.equal(matching(is, read), wanted, JSON.stringify(headers));
    assert.equal(matching(there, read), wantedThere, `there ${JSON.stringify(headers)}`);
    assert.equal(matching(not, read), wantedNot, `not ${JSON.stringify(headers)}`);
  }
});

test("a header's value above ASCII: a DENY takes it in UTF-8 and in Latin-1, an ALLOW in UTF-8 as Envoy does", () => {
  const of = (value: string): Rule =>
    rule({ when: [condition("request.headers[x-team]", { http: true, strings: [text(value)] })] });
  const cases: readonly (readonly [string, string, string])[] = [
    ["caf\u00e9", "caf\u00c3\u00a9", "AD"],
    ["caf\u00e9", "caf\u00e9", "D"],
    ["caf\u00e9*", "caf\u00c3\u00a9s", "AD"],
    ["*\u20ac", "1\u00e2\u0082\u00ac", "AD"],
    ["*\u20ac", "1\u00ac", ""],
  ];
  for (const [value, sent, wanted] of cases)
    assert.equal(matching(of(value), request({ headers: { "x-team": [sent] } })), wanted, `${value} ${sent}`);
});

test("a condition on the field Host: a DENY takes each spelling of the host, an ALLOW the field as it is written", () => {
  const of = (fields: Parameters<typeof condition>[1]): Rule =>
    rule({ when: [condition("request.headers[Host]", { http: true, ...fields })] });
  for (const [authority, wanted, wantedNot] of [
    ["api", "AD", ""],
    ["API", "D", "D"],
    ["api:8080", "D", "D"],
    ["Api.", "D", "D"],
    ["api@evil", "D", "D"],
    ["web", "", "AD"],
  ] as const) {
    const read = request({ authority, headers: { host: [authority] } });
    assert.equal(matching(of({ strings: [text("api")] }), read), wanted, authority);
    assert.equal(matching(of({ notStrings: [text("api")] }), read), wantedNot, `not ${authority}`);
  }
});

test("a header with an empty value is present for a DENY, and absent for an ALLOW", () => {
  const is = rule({
    when: [condition("request.headers[x]", { http: true, strings: [text("*")] })],
  });
  const not = rule({
    when: [condition("request.headers[x]", { http: true, notStrings: [text("*")] })],
  });
  const empty = request({ headers: { x: [""] } });
  assert.equal(matching(is, empty), "D");
  assert.equal(matching(not, empty), "D");
  assert.equal(matching(is, request({})), "");
  assert.equal(matching(not, request({})), "AD");
});

test("what no request shows keeps the strict reading: it matches in a DENY and never in an ALLOW", () => {
  const http = { http: true, strings: [text("*")] };
  const unseen: readonly Rule[] = [
    rule({ sources: [source({ requestPrincipals: [text("*")] })] }),
    rule({
      sources: [source({}), source({ namespaces: [text("shop")] }), source({ notRequestPrincipals: [text("x")] })],
    }),
    rule({
      operations: [operation({ paths: [text("/a"), template("/{x}")] })],
    }),
    rule({ operations: [operation({ notPaths: [template("/a{*}")] })] }),
    rule({ operations: [operation({ ports: [8080], unreadable: ["newer"] })] }),
    rule({ when: [condition("request.headers[x][y]", http)] }),
    rule({ when: [condition("request.headers[:path]", http)] }),
    rule({ when: [condition("request.headers[x]", { strings: [text("*")] })] }),
    rule({ when: [condition("request.headers[x]", { http: true })] }),
    rule({ when: [condition("request.headers[x]", { ...http, ports: [80] })] }),
    rule({ when: [condition("request.auth.claims[x]", http)] }),
    rule({ when: [condition("remote.ip", { http: true })] }),
    rule({ when: [condition("connection.sni", http)] }),
    rule({ unreadable: ["from"] }),
  ];
  const reads = [request({ headers: { x: ["1"] } }), "strict", "lenient"] as const;
  for (const each of unseen) {
    for (const read of reads) assert.equal(matching(each, read), "D", JSON.stringify(each));
  }
});

test("what a check got is fit for a log: no value of a header, no control character, no endless text", () => {
  const of = rule({
    operations: [
      operation({
        methods: [text("GET")],
        hosts: [text("x")],
        paths: [text("/a")],
      }),
    ],
    when: [
      condition("request.headers[authorization]", {
        http: true,
        strings: [text("secret")],
      }),
    ],
  });
  const read = request({
    method: "P\u001b[2JUT",
    target: `/${"b".repeat(1_000)}`,
    headers: { authorization: ["Bearer hidden"] },
  });
  const [compiled] = compileRules(policy("p", { rules: [of] }), "cluster.local");
  const got = [...(compiled?.when ?? []), ...(compiled?.operations.flat() ?? [])].map((check) =>
    check.got(facts({ request: read }), who),
  );
  assert.deepEqual(got, ["another value", "P?[2JUT", "api", `/${"b".repeat(199)}…`]);
});
