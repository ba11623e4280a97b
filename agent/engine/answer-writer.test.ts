// Answers lie in the arena as the engine reads them, whatever an earlier answer has left there.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as abi from "../abi.ts";
import { AnswerWriter } from "./answer-writer.ts";
import type { Answer } from "./answers.ts";

test("a forward says whether other proxies' fields are taken out, also where a dial was written before", () => {
  const arena = new ArrayBuffer(4_096);
  const writer = new AnswerWriter(arena, { records: 0, text: 1_024, textSize: 1_024 });
  const ref = { conn: 7, generation: 3 };
  const dial: Answer = {
    ...{ ...ref, type: "dial", podIdx: 1, from: null, baggage: "", reading: "or-end" },
    to: { address: "10.0.0.1", port: 80 },
  };
  const bitsOf = (answer: Answer): number => {
    writer.restart();
    assert.ok(writer.write(answer));
    return new DataView(arena).getUint32(abi.orlopEngineAnswer.requests, true);
  };
  const forward: Answer = { ...ref, type: "forward", request: 1, target: "" };
  assert.equal(bitsOf(dial), abi.httpReadings.indexOf("or-end"));
  assert.equal(bitsOf(forward), 0);
  assert.equal(bitsOf({ ...forward, removesProxyHeaders: true }), abi.ORLOP_FORWARD_WITHOUT_PROXY_HEADERS);
  assert.equal(bitsOf({ ...forward, removesProxyHeaders: false }), 0);
});
