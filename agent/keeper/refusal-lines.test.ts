// refusal-lines.ts: how many lines there are, and that none of what was refused is missing from their sum.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RefusalLines } from "./refusal-lines.ts";

test("of each reason a line in ten seconds, which says how many it stands for", () => {
  let now = 5;
  const lines: object[] = [];
  const log = { warn: (_: string, fields: object) => void lines.push({ ...fields }) };
  const refusals = new RefusalLines("refused", log, () => now);
  const add = (refused: "pod-not-found" | "busy", at: number): void => {
    now = at;
    refusals.add({ key: refused, fields: { why: `${refused} ${at}` } });
  };
  for (let at = 5; at < 20_005; at += 10) add("pod-not-found", at);
  add("busy", 20_005);
  add("pod-not-found", 20_005);
  assert.deepEqual(lines, [
    { why: "pod-not-found 5" },
    { why: "pod-not-found 10005", alsoRefused: 999 },
    { why: "busy 20005" },
    { why: "pod-not-found 20005", alsoRefused: 999 },
  ]);
});
