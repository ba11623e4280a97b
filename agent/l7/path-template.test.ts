import assert from "node:assert/strict";
import { test } from "node:test";
import { pathTemplate } from "./path-template.ts";

test("an operator is a whole segment, or everything", () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["/{*}", ["/a", "/a.b"], ["/", "/a/", "/a/b", "a"]],
    ["/a/{*}/c", ["/a/b/c"], ["/a//c", "/a/c", "/a/b/b/c", "/a/b/cc", "/aa/b/c", "/a/b/c/"]],
    ["/a/{*}/", ["/a/b/"], ["/a/b", "/a//"]],
    ["/{**}", ["/", "/a", "/a/b/"], [""]],
    ["/a/{**}", ["/a/", "/a/b", "/a/b/c"], ["/a", "/ab", "/b/a/b"]],
    ["/a/{**}/", ["/a/b/", "/a/b/c/", "/a//"], ["/a/", "/a/b"]],
    ["/a/{*}/c/{**}/e", ["/a/b/c/d/e", "/a/b/c/d/d/e"], ["/a/b/c/e", "/a/b/c/d/ee", "/a/b/d/c/e", "/a/b/c/d/e/"]],
    ["/%61/{*}", ["/a/b"], ["/%61/b"]],
  ];
  for (const [template, matching, others] of cases) {
    const matches = pathTemplate(template);
    assert.ok(matches, template);
    for (const path of matching) assert.ok(matches(path), `${template} ${path}`);
    for (const path of others) assert.ok(!matches(path), `${template} ${path}`);
  }
});

test("what Istio refuses is no template", () => {
  for (const written of [
    ...["", "{*}", "a/{*}", "/a{*}", "/{*}b", "/{x}", "/{*}{*}", "/{", "/a/*", "/{***}", "/{**}/{*}", "/{**}/{**}"],
  ]) {
    assert.equal(pathTemplate(written), undefined, written);
  }
});
