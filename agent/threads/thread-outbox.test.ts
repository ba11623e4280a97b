// thread-outbox.ts: the parts of a large batch follow each other as the thread reads them, and no message overtakes them.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { MainMessage } from "./messages.ts";
import { ThreadOutbox } from "./thread-outbox.ts";

const many = (count: number): MeshUpdate[] =>
  Array.from({ length: count }, (_, nth) => ({ kind: "workload", op: "remove", key: String(nth) }));

test("a small batch goes at once, a large one in parts, and a later message comes after it", () => {
  const posted: MainMessage[] = [];
  const outbox = new ThreadOutbox((message) => void posted.push(message));
  const kinds = (): string[] =>
    posted.map((sent) => (sent.op === "updates" ? `${sent.updates.length}${sent.more ? "+" : ""}` : sent.op));
  outbox.send({ op: "updates", updates: many(1_000), more: false });
  assert.deepEqual(kinds(), ["1000"]);
  outbox.send({ op: "updates", updates: many(3_500), more: false });
  outbox.send({ op: "close" });
  assert.deepEqual(kinds(), ["1000", "1000+", "1000+"]);
  outbox.taken();
  assert.deepEqual(kinds(), ["1000", "1000+", "1000+", "1000+"]);
  outbox.taken();
  assert.deepEqual(kinds(), ["1000", "1000+", "1000+", "1000+", "500", "close"]);
  const all = posted.flatMap((message) => (message.op === "updates" ? message.updates : []));
  assert.deepEqual(all, [...many(1_000), ...many(3_500)]);
  outbox.taken();
  outbox.send({ op: "drain", limitMs: 1 });
  assert.equal(kinds().at(-1), "drain");
});
