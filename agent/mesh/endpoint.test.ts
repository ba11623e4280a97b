import assert from "node:assert/strict";
import { test } from "node:test";
import { endpointText } from "./endpoint.ts";
import { fullName, namespaceOf, ruleName } from "./full-name.ts";

test("IPv6 is in brackets before a port, IPv4 is not", () => {
  assert.equal(endpointText({ address: "10.0.0.1", port: 80 }), "10.0.0.1:80");
  assert.equal(endpointText({ address: "fd00::1", port: 80 }), "[fd00::1]:80");
});

test("a full name gives its namespace back; a rule of an object has its index, the object as a whole has none", () => {
  const policy = { namespace: "shop", name: "callers.v1" };
  assert.equal(namespaceOf(fullName(policy)), "shop");
  assert.equal(ruleName({ ...policy, rule: 2 }), "shop/callers.v1[2]");
  assert.equal(ruleName({ ...policy, rule: -1 }), fullName(policy));
});
