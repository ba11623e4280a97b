import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./traffic.fake.ts";
import { type Missing, WAIT_LIMIT_MS, WaitingConnections } from "./waiting.ts";

function bench() {
  const clock = new FakeClock();
  const waiting = new WaitingConnections({ now: () => clock.nowMs, after: (ms, call) => clock.after(ms, call) });
  const gaveUp: number[] = [];
  const park = (conn: number, attempt: () => Missing | undefined = () => "no-certificate"): void =>
    waiting.park({ conn, generation: 1 }, "no-certificate", attempt, () => gaveUp.push(conn));
  return { clock, waiting, gaveUp, park };
}

test("each waits its own five seconds, on one timer", () => {
  const { clock, waiting, gaveUp, park } = bench();
  park(1);
  clock.advance(3000);
  park(2);
  assert.equal(clock.pending, 1);
  clock.advance(WAIT_LIMIT_MS - 3000);
  assert.deepEqual(gaveUp, [1]);
  clock.advance(3000);
  assert.deepEqual(gaveUp, [1, 2]);
  assert.equal(waiting.size + clock.pending, 0);
});

test("a retry answers who is ready and leaves the rest", () => {
  const { clock, waiting, gaveUp, park } = bench();
  let ready = false;
  park(1, () => (ready ? undefined : "no-certificate"));
  park(2);
  waiting.retry();
  assert.equal(waiting.size, 2);
  ready = true;
  waiting.retry();
  assert.equal(waiting.size, 1);
  clock.advance(WAIT_LIMIT_MS);
  assert.deepEqual(gaveUp, [2]);
});

test("the reason of giving up is what was missing last", () => {
  const { clock, waiting } = bench();
  const reasons: Missing[] = [];
  waiting.park(
    { conn: 1, generation: 1 },
    "unknown-source",
    () => "no-certificate",
    (missing) => reasons.push(missing),
  );
  waiting.retry();
  clock.advance(WAIT_LIMIT_MS);
  assert.deepEqual(reasons, ["no-certificate"]);
});

test("whoever ended is forgotten; another generation of the slot is not", () => {
  const { clock, waiting, gaveUp, park } = bench();
  park(1);
  assert.equal(waiting.forget({ conn: 1, generation: 2 }), null);
  assert.equal(waiting.size, 1);
  assert.equal(waiting.forget({ conn: 1, generation: 1 }), "no-certificate");
  assert.equal(waiting.size + clock.pending, 0);
  clock.advance(WAIT_LIMIT_MS);
  assert.deepEqual(gaveUp, []);
});

test("more than can wait are refused at once", () => {
  const { waiting, gaveUp, park } = bench();
  for (let conn = 0; conn < 4097; conn += 1) park(conn);
  assert.equal(waiting.size, 4096);
  assert.deepEqual(gaveUp, [4096]);
  waiting.close();
  assert.equal(waiting.size, 0);
  assert.equal(gaveUp.length, 4097);
});
