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

test("endpoints to which nothing is open are forgotten once there are many, and what is open is not", () => {
  const load = new EndpointLoad();
  const held = load.take("10.0.0.1", 80);
  for (let index = 0; index < 5_000; index += 1) load.take(`10.1.${index >> 8}.${index & 255}`, 80).release();
  assert.ok(load.size <= 1_001, `${load.size}`);
  assert.equal(load.of("10.0.0.1", 80), 1);
  held.release();
  assert.equal(load.of("10.0.0.1", 80), 0);
  load.take("10.0.0.1", 80);
  assert.equal(load.of("10.0.0.1", 80), 1);
});
