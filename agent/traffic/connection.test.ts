import assert from "node:assert/strict";
import { test } from "node:test";
import type { CloseCause } from "../engine/events.ts";
import { connectionRecord, type Outcome } from "../observe/record.ts";
import { Recorder } from "../observe/recorder.ts";
import type { Decision } from "../policy/decision.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import { Connection } from "./connection.ts";

const ref = { conn: 3, generation: 2 };
const ends = { source: { address: "10.0.0.1", port: 1 }, destination: { address: "10.0.0.2", port: 80 } };

function setUp() {
  const outcomes: Outcome[] = [];
  const recorder = new Recorder({
    ...{ thread: 0, labelSets: 10, now: () => 0 },
    log: (_record, outcome) => outcomes.push(outcome),
  });
  const draft = connectionRecord({ reporter: "source", podIdx: 1, ...ends });
  const connection = new Connection(ref, draft, recorder);
  const close = (cause: CloseCause): void =>
    connection.closed(
      { ...ref, type: "closed", cause, detail: 0, message: "", sentBytes: 1, receivedBytes: 2, durationUs: 3 },
      null,
    );
  return { connection, outcomes, recorder, close };
}
const denial: Decision = deny("no-allow-matched");

test("however it goes, one record and one release", () => {
  const { connection, outcomes, recorder, close } = setUp();
  const released: string[] = [];
  connection.opened(allow, { release: () => void released.push("first") });
  connection.opened(allow, { release: () => void released.push("second") });
  connection.established({ address: "10.0.0.9", port: 15_008 });
  assert.equal(recorder.connections(9)[0]?.record.destination.address, "10.0.0.9");
  close("finished");
  close("finished");
  assert.equal(outcomes.length, 1);
  assert.deepEqual(released, ["first", "second"], "what was taken is given back when the connection is decided anew");
});

test("a refusal is the reason only when the engine acted on it; a peer that reset first ended the connection itself", () => {
  const acted = setUp();
  assert.deepEqual(acted.connection.refuse("policy", denial), { type: "refuse", ...ref, status: 401 });
  acted.close("refused");
  assert.partialDeepStrictEqual(acted.outcomes[0], { flag: "DENY", cause: "policy" });
  const reset = setUp();
  reset.connection.opened(allow);
  assert.deepEqual(reset.connection.cut("policy", denial), { type: "close", ...ref });
  reset.close("reset-by-downstream");
  assert.equal(reset.outcomes[0]?.flag, "-");
  assert.equal(reset.outcomes[0]?.decision, undefined);
});

test("a later judgement replaces the first decision in the record of the end", () => {
  const { connection, outcomes, close } = setUp();
  connection.opened(allow);
  connection.cut("policy", denial);
  close("closed-by-answer");
  assert.partialDeepStrictEqual(outcomes[0], { flag: "DENY", cause: "policy", decision: { verdict: "deny" } });
});

test("a connection that ends before it was decided is recorded, too", () => {
  const { outcomes, recorder, close } = setUp();
  close("reset-by-downstream");
  assert.equal(outcomes.length, 1);
  assert.deepEqual(recorder.connections(9), []);
});
