import assert from "node:assert/strict";
import { test } from "node:test";
import { answersOf } from "./answers.ts";

test("of each request what it asked, where the answer leads and what arrived", () => {
  const printed = `=== RUN   TestConformance/MeshHTTPRouteRedirectPath
    pod.go:70: 2026-11-29T16:44:34.588973191Z: Got resp RawContent:       [0] Url=http://echo/path-and-status
        [0] StatusCode=301
        [0] ResponseHeader=Location:http://echo/replacement-prefix
        URL:              
    pod.go:70: 2026-11-29T16:44:43.417849017Z: Got resp RawContent:       [0] Url=http://echo/prefix/one/two
        [0] StatusCode=200
        [0 body] URL=/one/two
        URL:              /one/two
        Response Headers: map[Location:[http://elsewhere/]]
`;
  assert.deepEqual(answersOf(printed), [
    { asked: "http://echo/path-and-status", location: "http://echo/replacement-prefix" },
    { asked: "http://echo/prefix/one/two", arrived: "/one/two" },
  ]);
});
