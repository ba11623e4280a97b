import assert from "node:assert/strict";
import { test } from "node:test";
import { unreachable } from "./unreachable.ts";

test("a registry that does not answer is told from a build that failed", () => {
  for (const output of [
    "WARNING: Retrying after connection broken by 'NewConnectionError(...): [Errno -3] Temporary failure in name resolution'",
    "error: download of config.json failed\n  [6] Could not resolve hostname (Could not resolve host: index.invalid)",
    'go: example.org/x@v1.0.0: Get "https://proxy.invalid/x": dial tcp: lookup proxy.invalid: no such host',
    "[ERROR] Could not transfer artifact a:b:pom:1 from/to x: repo.invalid: Unknown host repo.invalid",
    "npm error code EAI_AGAIN",
    "E: Failed to fetch  Temporary failure resolving 'deb.invalid'",
  ]) {
    assert.equal(unreachable(output), true, output);
  }
  for (const output of [
    "ERROR: No matching distribution found for nothing==1",
    "error[E0308]: mismatched types",
    "go: example.org/x@v9.9.9: reading proxy: 404 Not Found",
    "[ERROR] Could not find artifact a:b:jar:1 in x",
    "npm error code E404",
  ]) {
    assert.equal(unreachable(output), false, output);
  }
});
