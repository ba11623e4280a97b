import assert from "node:assert/strict";
import { test } from "node:test";
import { findings, policy, refusals } from "./translate.fake.ts";

const document = (hosts: string, action = "DENY"): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec: {action: ${action}, rules: [{to: [{operation: {hosts: [${JSON.stringify(hosts)}]}}]}]}
`;
const readAs = (host: string): unknown => policy(document(host)).rules[0]?.operations[0]?.hosts;

test("a host above ASCII is compared as callers send it, label for label", () => {
  for (const [host, kind, value] of [
    ["b\u00fccher.example", "exact", "xn--bcher-kva.example"],
    ["B\u00dcCHER.Example:8080", "exact", "xn--bcher-kva.example:8080"],
    ["b\u00fccher.example.", "exact", "xn--bcher-kva.example."],
    ["stra\u00dfe.example", "exact", "xn--strae-oqa.example"],
    ["b\u00fccher\u3002example", "exact", "xn--bcher-kva.example"],
    ["_x.\u4f8b\u3048.test", "exact", "_x.xn--r8jz45g.test"],
    ["*.b\u00fccher.example", "suffix", ".xn--bcher-kva.example"],
    ["*-v2.b\u00fccher.example", "suffix", "-v2.xn--bcher-kva.example"],
    ["b\u00fccher.*", "prefix", "xn--bcher-kva."],
    ["b\u00fccher.v*", "prefix", "xn--bcher-kva.v"],
    ["Plain.example", "exact", "Plain.example"],
  ])
    assert.deepEqual(readAs(host ?? ""), [{ kind, value }], host);
});

test("a host above ASCII of which callers would send another form is refused with its place, and a DENY loses nothing by it", () => {
  for (const host of [
    "*\u00fccher.example",
    "b\u00fc*",
    "*\u00fc",
    "b\u00fccher example",
    "https://b\u00fccher.example/a",
    "b\u00fccher.example@api",
    "b\u00fccher.example:99999999",
    "\u200db\u00fccher.example",
    "b\u00fccher..example",
    "\u00ad",
  ])
    assert.match(refusals(document(host)).join(), /^f\.yaml:4:\d+ ORL4104 .*hosts\[0\]: .* cannot be written/, host);
});

test("a host of ASCII that no request can have is pointed out", () => {
  for (const host of ["https://api.example", "api example", "user@api", "api:99999"])
    assert.match(findings(document(host)).join(), /is no host of a request/, host);
  for (const host of ["api", "api.example:8080", "[fd00::1]:80", "*.example", "a_b.example."])
    assert.deepEqual(findings(document(host)), [], host);
});
