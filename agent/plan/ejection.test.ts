import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { OutlierDetection } from "../mesh/traffic-policy.ts";
import { afterProbe, afterRequest, blank, type EjectionState, inUse, isDue, mostOut, probing } from "./ejection.ts";

const policy: OutlierDetection = {
  ...{ consecutive5xx: 5, consecutiveGateway: 0, baseMs: 1_000, maxEjected: 50, minHealthy: 0 },
};
const outAt = (sinceMs: number): EjectionState => ({
  ...{ phase: "consecutive-5xx", failures: 0, gatewayFailures: 0, times: 1, atMs: sinceMs + policy.baseMs },
});

function failing(times: number, given: Partial<OutlierDetection> = {}, shown: "failed" | "gateway" = "failed") {
  let state = blank;
  for (let nth = 0; nth < times; nth += 1) state = afterRequest(state, shown, { ...policy, ...given }, 100 + nth);
  return state;
}

describe("an endpoint", () => {
  test("is left out with the failure that is too much, and no failure before or other than in a row counts", () => {
    assert.equal(failing(4).phase, "in");
    assert.deepEqual(failing(5), { ...outAt(104) });
    const served = afterRequest(failing(4), "served", policy, 200);
    assert.equal(served.failures, 0);
    assert.equal(afterRequest(served, "failed", policy, 201).phase, "in");
    assert.equal(failing(255, { consecutive5xx: 0 }).phase, "in");
    assert.equal(afterRequest(blank, "served", policy, 1), blank);
  });

  test("gateway failures count for both; another failure ends their row", () => {
    const both = { consecutive5xx: 5, consecutiveGateway: 3 };
    assert.equal(failing(3, both, "gateway").phase, "consecutive-gateway");
    let state = failing(2, both, "gateway");
    for (const shown of ["failed", "gateway"] as const) state = afterRequest(state, shown, { ...policy, ...both }, 300);
    assert.deepEqual([state.phase, state.failures, state.gatewayFailures], ["in", 4, 1]);
    assert.equal(afterRequest(state, "gateway", { ...policy, ...both }, 301).phase, "consecutive-5xx");
  });

  test("comes back by a probe alone; each time that it fails lasts longer, up to 300 s, and time that it serves takes that back", () => {
    let state = failing(5);
    assert.ok(!isDue(state, 1_103) && isDue(state, 1_104));
    assert.equal(afterRequest(state, "served", policy, 1_200), state, "a request from before changes nothing");
    const lasted: number[] = [];
    let now = state.atMs;
    for (let nth = 0; nth < 400; nth += 1) {
      const probe = probing(state, now);
      assert.ok(!isDue(probe, now + 1));
      state = afterProbe(probe, "failed", policy, now);
      lasted.push(state.atMs - now);
      now = state.atMs;
    }
    assert.deepEqual(lasted.slice(0, 3), [2_000, 3_000, 4_000]);
    assert.ok(Math.max(...lasted) <= 300_000);
    const back = afterProbe(probing(state, now), "served", policy, now);
    assert.deepEqual([back.phase, back.failures], ["in", 0]);
    const again = (waitMs: number): EjectionState => {
      let failed = back;
      for (let nth = 0; nth < 5; nth += 1) failed = afterRequest(failed, "failed", policy, now + waitMs);
      return failed;
    };
    assert.equal(again(0).times, 31);
    assert.equal(again(10_500).times, 22);
    assert.equal(again(600_000).times, 1);
    assert.equal(
      afterProbe(probing(state, now), null, policy, now).atMs,
      now,
      "who has shown nothing leaves it to the next",
    );
  });
});

describe("of the endpoints of a Service", () => {
  const look = (states: readonly EjectionState[], nowMs: number, given: Partial<OutlierDetection> = {}) => {
    const names = states.map((_, index) => index);
    return inUse(names, (index) => states[index] ?? blank, { ...policy, ...given }, nowMs);
  };

  test("as many are left out as may be, the first that failed first", () => {
    const states = [outAt(30), outAt(10), blank, outAt(20)];
    assert.deepEqual(look(states, 500).used, [0, 2]);
    assert.deepEqual(look(states, 500, { maxEjected: 10 }).used, [0, 2, 3]);
    assert.deepEqual(look(states, 500, { maxEjected: 0 }).used, [0, 1, 2, 3]);
    assert.deepEqual(look(states, 500, { maxEjected: 100 }).used, [2]);
  });

  test("of few endpoints one may be left out, and the only one only where all may", () => {
    const most = (count: number, maxEjected: number): number => mostOut(count, { ...policy, maxEjected });
    assert.deepEqual(
      [most(1, 10), most(1, 99), most(1, 100), most(2, 10), most(10, 10), most(10, 35), most(3, 0)],
      [0, 0, 1, 1, 1, 3, 0],
    );
    assert.deepEqual(look([outAt(10)], 500, { maxEjected: 100 }).used, []);
  });

  test("panic: where fewer are healthy than the rule wants, all are used", () => {
    const states = [outAt(10), outAt(20), outAt(30), blank];
    assert.deepEqual(look(states, 500, { maxEjected: 100, minHealthy: 25 }), {
      ...{ used: [3], probe: null, isPanic: false },
    });
    assert.deepEqual(look(states, 500, { maxEjected: 100, minHealthy: 26 }), {
      ...{ used: [0, 1, 2, 3], probe: null, isPanic: true },
    });
  });

  test("who is due is asked by a single request, and nobody else goes there meanwhile, whoever else fails", () => {
    const states = [outAt(10), outAt(2_000), blank];
    assert.deepEqual(look(states, 1_010), { used: [0], probe: 0, isPanic: false });
    const probed = [probing(outAt(10), 1_010), outAt(20), blank];
    // A single endpoint may be left out: it stays the probed endpoint, though the other's time is over, too.
    assert.deepEqual(look(probed, 1_500).used, [1, 2]);
    assert.equal(look(probed, 1_010 + 30_000).probe, 0, "nobody said how the probe ended");
  });
});
