// What an agent counts over its threads.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentCounts } from "./agent-counts.ts";

test("what counts as denied, open and dropped is added up over threads", () => {
  const written: string[] = [];
  const line = (text: string) => ({ bytes: Buffer.from(text), lines: 1, dropped: 1 });
  const counts = new AgentCounts({ add: (bytes) => void written.push(Buffer.from(bytes).toString()), dropped: 4 });
  const deltas = {
    fresh: [],
    rows: new Float64Array(),
    dropped: [],
    overflowed: 0,
    dryRunDenied: {},
    audited: {},
    requests: { fresh: [], rows: new Float64Array(), dropped: [], overflowed: 0 },
    httpRefused: {},
    retried: {},
    mirrored: {},
  };
  counts.counted(0, { ...deltas, open: 3, decisions: { "deny|policy|x": 2, "allow|none|y": 5 } }, line("a\n"));
  counts.counted(-1, { ...deltas, open: 1, decisions: { "deny|mtls|z": 1 } }, line("b\n"));
  counts.counted(0, { ...deltas, open: 2, decisions: {} }, line("c\n"));
  assert.deepEqual([counts.denied, counts.openConnections, counts.linesDropped], [3, 3, 4 + 3]);
  assert.deepEqual(written, ["a\n", "b\n", "c\n"]);
});
