// Plain documents are read without the YAML library, which takes 3 MB of an agent. A file of its own: what a process has loaded it keeps.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { parseYaml } from "./parse.ts";

test("the library is loaded with the first document that is not plain", () => {
  const { cache } = createRequire(import.meta.url);
  const isLoaded = (): boolean => Object.keys(cache).some((file) => file.includes("/node_modules/yaml/"));
  assert.equal(parseYaml("mesh.yaml", "kind: Namespace\nmetadata: {name: shop}\n---\nkind: Service\n").length, 2);
  assert.equal(isLoaded(), false);
  assert.equal(parseYaml("mesh.yaml", "kind: &anchor Namespace\nalso: *anchor\n").length, 1);
  assert.equal(isLoaded(), true);
});
