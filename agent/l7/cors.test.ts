// Cross-origin sharing: which origins are allowed, what a preflight is answered, and what the response to another request gets.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cors, FieldEdits } from "../mesh/http-rule.ts";
import { canonicalOrigin, type Shared, sharedBy } from "./cors.ts";

const none: Cors = { origins: [], credentials: false, methods: [], headers: [], exposes: [], maxAgeSeconds: 5 };
type Sent = Readonly<Record<string, string>>;

function shared(cors: Partial<Cors>, method: string, sent: Sent): Shared {
  const header = (name: string): readonly string[] => {
    const value = sent[name];
    return value === undefined ? [] : [value];
  };
  return sharedBy({ ...none, ...cors }, { method, header });
}

const setOf = ({ set }: FieldEdits): Sent =>
  Object.fromEntries(set.map(({ name, value }) => [name.replace("access-control-", ""), value]));
const preflight = (cors: Partial<Cors>, sent: Sent = {}): Shared =>
  shared(cors, "OPTIONS", { origin: "https://a.example", "access-control-request-method": "PUT", ...sent });

test("an origin is its scheme, host and port, and the usual port is not written", () => {
  assert.equal(canonicalOrigin("https://A.example:443"), "https://a.example");
  assert.equal(canonicalOrigin("http://a.example:0080"), "http://a.example");
  assert.equal(canonicalOrigin("http://a.example:443"), "http://a.example:443");
  assert.equal(canonicalOrigin("https://[2001:db8::1]:8443"), "https://[2001:db8::1]:8443");
  for (const text of ["null", "ftp://a", "https://a/", "https://a b", "https://", `https://${"a".repeat(300)}`])
    assert.equal(canonicalOrigin(text), undefined, text);
});

test("which origins are allowed", () => {
  const rows: readonly (readonly [allowed: string, sent: string, isAllowed: boolean])[] = [
    ["https://a.example", "https://a.example", true],
    ["https://a.example", "https://A.example:443", true],
    ["https://a.example", "http://a.example", false],
    ["https://a.example", "https://a.example:8443", false],
    ["https://a.example", "https://a.example.evil", false],
    ["https://a.example", "null", false],
    ["https://*.example", "https://a.example", true],
    ["https://*.example", "https://a.b.example", true],
    ["https://*.example", "https://example", false],
    ["https://*.example", "https://.example", false],
    ["https://*.example", "https://evilexample", false],
    ["https://*.example", "https://a.example:8443", false],
    ["https://*.example:8443", "https://a.example:8443", true],
    ["https://*", "https://a.example", true],
    ["https://*", "https://[::1]", true],
    ["https://*", "https://a.example:8443", false],
    ["https://*:8443", "https://a.example:8443", true],
    ["https://*", "http://a.example", false],
  ];
  for (const [allowed, origin, isAllowed] of rows) {
    const { kind, edits } = shared({ origins: [allowed] }, "GET", { origin });
    assert.equal(kind, "response");
    assert.equal(setOf(edits)["allow-origin"], isAllowed ? origin : undefined, `${allowed} ${origin}`);
    assert.deepEqual(edits.add, [{ name: "vary", value: "Origin" }]);
  }
});

test("all origins: a star without credentials, the origin itself with them", () => {
  assert.deepEqual(setOf(shared({ origins: ["*"] }, "GET", { origin: "x" }).edits), { "allow-origin": "*" });
  const credentials = { origins: ["*"], credentials: true };
  assert.deepEqual(setOf(shared(credentials, "GET", { origin: "https://a.example" }).edits), {
    ...{ "allow-origin": "https://a.example", "allow-credentials": "true" },
  });
  for (const origin of ["null", "https://a\u00e9", "x", `https://${"a".repeat(400)}`])
    assert.deepEqual(setOf(shared(credentials, "GET", { origin }).edits), {}, origin);
});

test("what is not allowed is not, whatever the application says", () => {
  const { edits } = shared({ origins: ["https://a.example"] }, "GET", { origin: "https://b.example" });
  assert.deepEqual(edits.remove, ["access-control-allow-origin", "access-control-allow-credentials"]);
  assert.deepEqual(shared({ origins: ["https://a.example"] }, "GET", {}).edits.set, []);
});

test("a preflight is answered with what the rule allows", () => {
  const { kind, edits, ...rest } = preflight({
    origins: ["https://a.example"],
    credentials: true,
    ...{ methods: ["GET", "PUT"], headers: ["x-a", "x-b"], exposes: ["x-c"], maxAgeSeconds: 60 },
  });
  assert.equal(kind, "preflight");
  assert.deepEqual(rest, { status: 204 });
  assert.deepEqual(setOf(edits), {
    ...{ "allow-origin": "https://a.example", "allow-credentials": "true", "expose-headers": "x-c" },
    ...{ "allow-methods": "GET, PUT", "allow-headers": "x-a, x-b", "max-age": "60" },
  });
});

test("a star is answered as such, and with credentials as what was asked for", () => {
  const stars = { origins: ["*"], methods: ["*"], headers: ["*"], exposes: ["*"] };
  const asked = { "access-control-request-headers": "x-a, x-b" };
  assert.deepEqual(setOf(preflight(stars, asked).edits), {
    ...{ "allow-origin": "*", "expose-headers": "*", "allow-methods": "*", "allow-headers": "*", "max-age": "5" },
  });
  const credentials = { ...stars, credentials: true };
  const common = { "allow-origin": "https://a.example", "allow-credentials": "true", "max-age": "5" };
  assert.deepEqual(setOf(preflight(credentials, asked).edits), {
    ...{ ...common, "allow-methods": "PUT", "allow-headers": "x-a, x-b" },
  });
  assert.deepEqual(setOf(preflight(credentials).edits), { ...common, "allow-methods": "PUT" });
  const odd = { "access-control-request-method": "PUT\r\nx", "access-control-request-headers": "a;b" };
  assert.deepEqual(setOf(preflight(credentials, odd).edits), common);
});

test("a preflight of another origin is refused, and OPTIONS without its fields is none", () => {
  const { kind, edits, ...rest } = preflight({ origins: ["https://b.example"] });
  assert.equal(kind, "preflight");
  assert.deepEqual(rest, { status: 403 });
  assert.deepEqual(setOf(edits), {});
  assert.equal(shared({ origins: ["*"] }, "OPTIONS", { origin: "https://a.example" }).kind, "response");
  assert.equal(shared({ origins: ["*"] }, "OPTIONS", { "access-control-request-method": "PUT" }).kind, "response");
});
