// Parts of a node end in reverse.
import assert from "node:assert/strict";
import { test } from "node:test";
import { keepOn } from "./built.ts";

test("parts on a stack end in reverse, each after the parts that were built later", async () => {
  const ends: string[] = [];
  const part = (name: string) => ({ thing: name, close: async () => void ends.push(name) });
  const stack = new AsyncDisposableStack();
  assert.equal(keepOn(stack, part("first")), "first");
  keepOn(stack, part("second"));
  await stack.disposeAsync();
  await stack.disposeAsync();
  assert.deepEqual(ends, ["second", "first"]);
});
