import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalEscapes, canonicalHost, canonicalPath, decodedPath, type PathAmbiguity } from "./canonical.ts";

test("a path is decoded as far as no application differs, and read as it may be read", () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["/", ["/"]],
    ["*", ["*"]],
    ["/a/b.txt", ["/a/b.txt"]],
    ["/%61dmin/%7euser", ["/admin/~user"]],
    ["/caf%c3%a9", ["/caf%C3%A9"]],
    ["/a b".replace(" ", "%20"), ["/a%20b"]],
    ["/100%25", ["/100%25"]],
    ["/.well-known/x", ["/.well-known/x"]],
    ["/a...b/...", ["/a...b/..."]],
    ["/a/", ["/a/", "/a"]],
    ["/a;v=1/b", ["/a;v=1/b", "/a/b"]],
    ["/a%3bv=1/b", ["/a%3Bv=1/b", "/a/b"]],
    ["/a;v=1/", ["/a;v=1/", "/a/", "/a;v=1", "/a"]],
    ["/a/;v", ["/a/;v", "/a/", "/a"]],
    ["/;v", ["/;v", "/"]],
  ];
  for (const [path, readings] of cases) {
    assert.deepEqual(canonicalPath(path), { text: readings[0], readings, ambiguity: null }, path);
  }
});

test("a path that applications read differently is ambiguous", () => {
  const cases: Readonly<Record<PathAmbiguity, readonly string[]>> = {
    "not-a-path": ["", "a", "http://h/a", "/a b", "/a#b", "/a?b", "/a\u0000", "/a\u007f", "/é", "**"],
    backslash: ["/a\\b", "/\\..\\b"],
    "bad-escape": ["/%", "/%4", "/%zz", "/%u002f", "/%2%66"],
    "encoded-separator": ["/a%2fb", "/a%2Fb", "/a%5cb", "/%2e%2e/b", "/a%2Etxt"],
    "encoded-control": ["/a%00", "/a%0d%0ab", "/%7f"],
    overlong: ["/%c0%af", "/%C1%9C", "/%e0%80%af", "/%F0%80%80%af"],
    "double-encoding": ["/%252f", "/%25%32%66", "/%2541"],
    "empty-segment": ["//", "//a", "/a//b", "/a//"],
    "dot-segment": ["/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a/..;/b", "/a/.;x", "/a/..%3bx/b"],
    parameters: ["/;x/b", "/a/;x/b"],
  };
  for (const [ambiguity, paths] of Object.entries(cases)) {
    for (const path of paths) assert.deepEqual(canonicalPath(path), { text: path, readings: [], ambiguity }, path);
  }
});

test("a host has no case, no trailing dot, and a port only beside its name", () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["API.Shop.svc", ["api.shop.svc"]],
    ["api.", ["api"]],
    ["api:8080", ["api", "api:8080"]],
    ["api.:080", ["api", "api:80"]],
    ["api:", ["api"]],
    ["my_api", ["my_api"]],
    ["10.0.0.1:80", ["10.0.0.1", "10.0.0.1:80"]],
    ["[FD00:0::1]:80", ["[fd00::1]", "[fd00::1]:80"]],
  ];
  for (const [host, readings] of cases) {
    assert.deepEqual(canonicalHost(host), { text: readings[0], readings, ambiguity: null }, host);
  }
});

test("what is no host is ambiguous", () => {
  const long = "a".repeat(254);
  for (const host of [
    ...["", ".", "..", ".a", "a..", "a..b", "a b", "u@a", "a/b", "a:b", "a:1:2", "a:65536", "a:123456", "é", "%61"],
    ...["[::1", "::1", "[10.0.0.1]", "[::z]", "[::1]a", "a\u0000", long],
  ]) {
    assert.deepEqual(canonicalHost(host), { text: host, readings: [], ambiguity: "not-a-host" }, host);
  }
});

test("the text of a rule is decoded as a path is", () => {
  assert.equal(canonicalEscapes("/%7Euser%2f%e9%"), "/~user%2F%E9%");
});

test("a path as an application decodes it: what the path of a request cannot have stays as it is", () => {
  assert.equal(decodedPath("/a%3ab%20%28c%29%c3%a9"), "/a:b (c)\u00c3\u00a9");
  assert.equal(decodedPath("/caf\u00e9"), decodedPath("/caf%C3%A9"));
  assert.equal(decodedPath("/a%2fb%5cc%25%00%7f%"), "/a%2Fb%5Cc%25%00%7F%");
});
