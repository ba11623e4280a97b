import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseCongestionControl } from "./congestion.ts";

test("cubic where it is allowed, allowed where it is available, else reno", () => {
  assert.deepEqual(chooseCongestionControl("reno bbr cubic\n", "reno cubic\n"), { name: "cubic" });
  assert.deepEqual(chooseCongestionControl("reno bbr cubic\n", "reno bbr\n"), {
    name: "cubic",
    allow: "reno bbr cubic",
  });
  assert.deepEqual(chooseCongestionControl("reno bbr\n", "reno bbr\n"), { name: "reno" });
});
