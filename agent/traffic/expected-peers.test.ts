import assert from "node:assert/strict";
import { test } from "node:test";
import { ExpectedPeers } from "./expected-peers.ts";

test("equal sets have one integer, whatever their order", () => {
  const expected = new ExpectedPeers();
  const one = expected.intern(["a", "b"]);
  assert.equal(expected.intern(["b", "a", "a"]), one);
  assert.notEqual(expected.intern(["a"]), one);
  assert.ok(expected.admits(one, "b"));
  assert.equal(expected.admits(one, "c"), false);
  assert.equal(expected.admits(0, "a"), false);
});

test("an empty set admits nobody", () => {
  const expected = new ExpectedPeers();
  assert.equal(expected.admits(expected.intern([]), ""), false);
});

test("the set longest unused is forgotten first, and then admits nobody", () => {
  const expected = new ExpectedPeers(2);
  const a = expected.intern(["a"]);
  const b = expected.intern(["b"]);
  expected.intern(["a"]);
  const c = expected.intern(["c"]);
  assert.ok(expected.admits(a, "a"));
  assert.equal(expected.admits(b, "b"), false);
  assert.ok(expected.admits(c, "c"));
  assert.notEqual(expected.intern(["b"]), b);
});
