// Parts of a large batch follow each other as they are taken, and nothing overtakes them.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { ToDataThread } from "./messages.ts";
import { ThreadOutbox } from "./thread-outbox.ts";

const many = (count: number): MeshUpdate[] =>
  Array.from({ length: count }, (_, nth) => ({ kind: "workload", op: "remove", key: String(nth) }));

test("a small batch goes at once, a large one in parts, and what is said after it comes after it", () => {
  const posted: ToDataThread[] = [];
  const outbox = new ThreadOutbox((message) => void posted.push(message));
  const kinds = (): string[] =>
    posted.map((one) => (one.op === "updates" ? `${one.updates.length}${one.more ? "+" : ""}` : one.op));
  outbox.send({ op: "updates", updates: many(1_000), more: false });
  assert.deepEqual(kinds(), ["1000"]);
  outbox.send({ op: "updates", updates: many(3_500), more: false });
  outbox.send({ op: "close" });
  assert.deepEqual(kinds(), ["1000", "1000+", "1000+"]);
  outbox.taken();
  assert.deepEqual(kinds(), ["1000", "1000+", "1000+", "1000+"]);
  outbox.taken();
  assert.deepEqual(kinds(), ["1000", "1000+", "1000+", "1000+", "500", "close"]);
  const all = posted.flatMap((one) => (one.op === "updates" ? one.updates : []));
  assert.deepEqual(all, [...many(1_000), ...many(3_500)]);
  outbox.taken();
  outbox.send({ op: "drain", limitMs: 1 });
  assert.equal(kinds().at(-1), "drain");
});
