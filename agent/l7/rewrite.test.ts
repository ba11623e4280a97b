import assert from "node:assert/strict";
import { test } from "node:test";
import type { Redirect } from "../mesh/http-rule.ts";
import { locationOf, replacedTarget } from "./rewrite.ts";

type Said = Omit<Redirect, "path" | "status">;

test("a prefix is replaced as Gateway API's table says", () => {
  // target, prefix as written, replacement → target
  const rows: readonly (readonly [string, string, string, string])[] = [
    ["/foo/bar", "/foo", "/xyz", "/xyz/bar"],
    ["/foo/bar", "/foo", "/xyz/", "/xyz/bar"],
    ["/foo", "/foo", "/xyz", "/xyz"],
    ["/foo/", "/foo", "/xyz", "/xyz/"],
    ["/foo/bar", "/foo", "", "/bar"],
    ["/foo/", "/foo", "", "/"],
    ["/foo", "/foo", "", "/"],
    ["/foo/", "/foo", "/", "/"],
    ["/foo", "/foo", "/", "/"],
    ["/foo/bar?q=/foo", "/foo", "/xyz", "/xyz/bar?q=/foo"],
    ["/bar", "", "/xyz", "/xyz/bar"],
    ["/", "", "/xyz", "/xyz/"],
    ["/?q", "", "", "/?q"],
  ];
  for (const [target, prefix, value, replaced] of rows)
    assert.equal(replacedTarget(target, { kind: "prefix", value }, prefix), replaced, `${target} ${prefix} ${value}`);
});

test("a whole path is replaced, and the query stays", () => {
  assert.equal(replacedTarget("/a/b?c=d", { kind: "full", value: "/e" }, ""), "/e?c=d");
  assert.equal(replacedTarget("/a/b", { kind: "full", value: "/e/" }, "/a"), "/e/");
  assert.equal(replacedTarget("/a?b", null, "/a"), "/a?b");
  assert.equal(replacedTarget("*", { kind: "full", value: "/e" }, ""), "*");
});

test("a redirect takes from the request what it does not say", () => {
  const plain: Said = { scheme: null, hostname: null, port: null };
  const asked = { target: "/a?b=c", authority: "api.shop:8080", port: 8080 };
  const rows: readonly (readonly [Partial<Said>, string])[] = [
    [{}, "http://api.shop:8080/a?b=c"],
    [{ scheme: "https" }, "https://api.shop/a?b=c"],
    [{ scheme: "https", port: 8443 }, "https://api.shop:8443/a?b=c"],
    [{ scheme: "http" }, "http://api.shop/a?b=c"],
    [{ port: 80 }, "http://api.shop/a?b=c"],
    [{ hostname: "other.example" }, "http://other.example:8080/a?b=c"],
  ];
  for (const [said, location] of rows) assert.equal(locationOf({ ...plain, ...said }, asked), location);
  const literal = { ...asked, authority: "[fd00::1]:8080", port: 80 };
  assert.equal(locationOf(plain, literal), "http://[fd00::1]/a?b=c");
});
