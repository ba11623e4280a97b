// refusal-lines.ts: how many lines there are, and that none of what was refused is missing from their sum.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RefusalLines } from "./refusal-lines.ts";

test("of each reason a line in ten seconds, which says how many it stands for", () => {
  let now = 5;
  const lines: object[] = [];
  const none = (): void => {};
  const log = {
    debug: none,
    info: none,
    error: none,
    warn: (_: string, fields?: object) => void lines.push({ ...fields }),
  };
  const refusals = new RefusalLines(log, () => now);
  const add = (refused: "pod-not-found" | "busy", at: number): void => {
    now = at;
    refusals.add({ refused, message: `${refused} ${at}` });
  };
  for (let at = 5; at < 20_005; at += 10) add("pod-not-found", at);
  add("busy", 20_005);
  add("pod-not-found", 20_005);
  assert.deepEqual(lines, [
    { reason: "pod-not-found", message: "pod-not-found 5" },
    { reason: "pod-not-found", message: "pod-not-found 10005", alsoRefused: 999 },
    { reason: "busy", message: "busy 20005" },
    { reason: "pod-not-found", message: "pod-not-found 20005", alsoRefused: 999 },
  ]);
});
