// After an outage pods wait for what may protect them, and not for ever.
import assert from "node:assert/strict";
import { test } from "node:test";
import { packed } from "./copy-file.ts";
import { HeldChanges } from "./held-changes.ts";

/** A clock that the test turns: each wait ends when its time has come. */
function held() {
  const passed: string[] = [];
  const timers = new Set<{ readonly dueMs: number; readonly call: () => void }>();
  let nowMs = 0;
  const changes = new HeldChanges({
    pass: (some) => passed.push(...some.map(({ key }) => key)),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const timer = { dueMs: nowMs + ms, call: resolve };
        timers.add(timer);
        signal.addEventListener("abort", () => {
          timers.delete(timer);
          reject(signal.reason);
        });
      }),
  });
  const advance = async (ms: number): Promise<void> => {
    nowMs += ms;
    for (const timer of timers) {
      if (timer.dueMs > nowMs) continue;
      timers.delete(timer);
      timer.call();
    }
    await new Promise(setImmediate);
  };
  const take = (kind: string, name: string): void =>
    changes.take(kind, [packed({ op: "deleted", object: { kind, namespace: "shop", name } })]);
  return { changes, passed, advance, take, timers };
}

test("without an outage nothing waits", () => {
  const { changes, passed, take, timers } = held();
  take("Pod", "a");
  changes.gapBegins("Service");
  take("Pod", "b");
  assert.deepEqual([passed, timers.size], [["Pod shop/a", "Pod shop/b"], 0]);
});

test("pods wait for their policies, in their order, and policies wait for nothing", async () => {
  const { changes, passed, advance, take, timers } = held();
  changes.gapBegins("AuthorizationPolicy");
  changes.gapBegins("Namespace");
  take("Pod", "a");
  changes.gapEnds("Namespace");
  await advance(1_000);
  take("AuthorizationPolicy", "deny");
  changes.gapEnds("AuthorizationPolicy");
  take("Service", "b");
  assert.deepEqual(passed, ["AuthorizationPolicy shop/deny"]);
  // What the watch missed comes a moment after it is answered.
  await advance(200);
  take("AuthorizationPolicy", "more");
  await advance(300);
  assert.deepEqual(passed.slice(1), ["AuthorizationPolicy shop/more", "Pod shop/a", "Service shop/b"]);
  take("Pod", "c");
  assert.equal(passed.at(-1), "Pod shop/c");
  assert.equal(timers.size, 0);
});

test("a policy kind that stays away keeps no pod out of the mesh, and waits begin anew with the next outage", async () => {
  const { changes, passed, advance, take } = held();
  changes.gapBegins("PeerAuthentication");
  take("Pod", "a");
  await advance(4_999);
  assert.deepEqual(passed, []);
  await advance(1);
  take("Pod", "b");
  assert.deepEqual(passed, ["Pod shop/a", "Pod shop/b"]);
  changes.gapEnds("PeerAuthentication");
  changes.gapBegins("PeerAuthentication");
  await advance(500);
  take("Pod", "c");
  assert.equal(passed.length, 3, "it is the same outage");
  changes.gapEnds("PeerAuthentication");
  await advance(500);
  changes.gapBegins("PeerAuthentication");
  take("Pod", "d");
  assert.equal(passed.length, 3);
  changes.close();
  await advance(10_000);
  assert.equal(passed.length, 3);
});
