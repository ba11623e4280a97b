import assert from "node:assert/strict";
import { test } from "node:test";
import { Drain } from "./drain.ts";
import { FakeClock } from "./traffic.fake.ts";

function setUp(open: number) {
  const clock = new FakeClock();
  const state = { open, taking: true, cut: 0, done: 0 };
  const drain = new Drain({
    now: () => clock.nowMs,
    after: (ms, call) => clock.after(ms, call),
    open: () => state.open,
    stopTaking: () => {
      state.taking = false;
    },
    cutAll: () => {
      state.cut += 1;
    },
  });
  const done = (): void => {
    state.done += 1;
  };
  return { clock, state, drain, done };
}

test("nothing open: drained at once, and no timer is left", () => {
  const { clock, state, drain, done } = setUp(0);
  drain.begin(5_000, done);
  assert.deepEqual([drain.state.kind, state.taking, state.done, clock.pending], ["drained", false, 1, 0]);
});

test("what is open may end until the deadline; the last end drains", () => {
  const { clock, state, drain, done } = setUp(2);
  drain.begin(5_000, done);
  drain.begin(9_000, done);
  assert.deepEqual(drain.state, { kind: "draining", deadlineMs: 5_000 });
  for (const left of [1, 0]) {
    state.open = left;
    drain.connectionEnded();
  }
  assert.deepEqual([drain.state.kind, state.cut, state.done, clock.pending], ["drained", 0, 2, 0]);
});

test("at the deadline the rest is cut, once; an engine that does not report the ends is waited for a second", () => {
  const { clock, state, drain, done } = setUp(1);
  drain.begin(5_000, done);
  clock.advance(5_000);
  assert.deepEqual([drain.state.kind, state.cut, state.done], ["cutting", 1, 0]);
  clock.advance(1_000);
  assert.deepEqual([drain.state.kind, state.cut, state.done], ["drained", 1, 1]);
});
