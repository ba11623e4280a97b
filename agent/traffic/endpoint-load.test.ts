import assert from "node:assert/strict";
import { test } from "node:test";
import { EndpointLoad } from "./endpoint-load.ts";

test("each connection counts until it is given back", () => {
  const load = new EndpointLoad();
  const [first, second] = [load.take("10.0.0.1", 80), load.take("10.0.0.1", 80)];
  load.take("10.0.0.1", 81);
  assert.deepEqual([load.of("10.0.0.1", 80), load.of("10.0.0.1", 81), load.of("10.0.0.2", 80)], [2, 1, 0]);
  first.release();
  assert.equal(load.of("10.0.0.1", 80), 1);
  second.release();
  assert.equal(load.of("10.0.0.1", 80), 0);
});
