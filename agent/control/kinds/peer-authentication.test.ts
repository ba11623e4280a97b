// PeerAuthentication → mesh value, and selectors in the root namespace.
import assert from "node:assert/strict";
import { test } from "node:test";
import { findings, PEERS, peers } from "./translate.fake.ts";

test("peer authentication, with its ports", () => {
  const value = peers(
    PEERS(
      '\n  selector: {matchLabels: {a: b}}\n  mtls: {mode: STRICT}\n  portLevelMtls:\n    8080: {mode: DISABLE}\n    "9090": {mode: PERMISSIVE}',
    ),
  );
  assert.deepEqual(
    [value.mode, value.portLevel, value.selector],
    ["STRICT", { 8080: "DISABLE", 9090: "PERMISSIVE" }, { a: "b" }],
  );
  assert.equal(peers(PEERS(" {}")).mode, "UNSET");
});

test("a selector in the root namespace selects there alone, and that is said", () => {
  const selecting = PEERS("\n  selector: {matchLabels: {a: b}}\n  mtls: {mode: STRICT}");
  const inRoot = (text: string): string => text.replace("namespace: shop", "namespace: istio-system");
  assert.match(
    findings(inRoot(selecting)).join(),
    /^f\.yaml:1:1 ORL4106 .*istio-system\/p selects .* istio-system alone$/,
  );
  assert.deepEqual(findings(selecting), []);
  assert.deepEqual(findings(inRoot(PEERS("\n  selector: {matchLabels: {}}\n  mtls: {mode: STRICT}"))), []);
  assert.deepEqual(findings(inRoot(PEERS("\n  mtls: {mode: STRICT}"))), []);
});
